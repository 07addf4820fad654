"""One step of PPO after another: answer, score, learn; from the start, or exactly on from a checkpoint.

`Trainer` has of TRL's trainers what `training` asks of them, so that callbacks, stop and resume are the same. Of
several processes each answers its share of the prompts; what was found is laid together, and gradients are summed.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from backend.recipes import checkpoints, ppo_loss, together
from backend.recipes.ppo_policy import Answer, Policy

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from backend.recipes.ppo import PpoParams
    from backend.recipes.rewards import Scorer, Text


_KEPT = 2  # checkpoints
_FIGURES = ("loss", "policy_loss", "value_loss", "clip_fraction", "value_clip_fraction", "step_kl")  # of an update


@dataclass(frozen=True)
class Prompt:
    """A prompt as token `ids`, as the data have it (`text`), and the answer that they hold for it, '' for none."""

    ids: list[int]
    text: Text
    reference: str = ""


@dataclass(frozen=True)
class Rollout:
    """Answers to a step's prompts with all that is needed to learn from them: tensors of rows × tokens.

    `answers` are this process's own; the tensors have the rows of all, and ours is every so many-th (see `_ours`).
    """

    answers: list[Answer]
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    figures: dict[str, float]


class Trainer:
    """Learns `policy` on `prompts` towards what `score` says; measures on those that are `held`."""

    def __init__(
        self,
        policy: Policy,
        score: Scorer,
        prompts: Sequence[Prompt],
        held: Sequence[Prompt],
        params: PpoParams,
        accelerator: Accelerator,
        folder: Path,
    ) -> None:
        import torch
        from transformers import TrainerControl, TrainerState, get_scheduler

        self.policy = policy
        self.score = score
        self.model, self.processing_class = policy.model, policy.tokenizer
        self.train_dataset, self.eval_dataset = prompts, held or None
        self.params = params
        self.accelerator = accelerator
        self.folder = folder
        self.callbacks: list[Any] = []
        self.rows = params.per_device_train_batch_size * params.gradient_accumulation_steps * together.many()
        total = params.max_steps or max(1, math.ceil(params.num_train_epochs * len(prompts) / self.rows))
        self.control = TrainerControl()
        self.state = TrainerState(max_steps=total, num_train_epochs=math.ceil(params.num_train_epochs))
        self.kl_coef = params.kl_coef
        self.tokens = 0
        rate = params.learning_rate or params.rates.of(params.adapter)
        optimizer = torch.optim.AdamW(
            [
                {"params": list(policy.trained().values()), "lr": rate},
                {"params": list(policy.head.parameters()), "lr": rate * params.value_lr_scale},
            ],
            weight_decay=params.weight_decay,
            eps=1e-5,  # as in arXiv 2403.17031
        )
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        warmup = params.warmup_steps if params.warmup_steps >= 1 else params.warmup_steps * total
        self.schedule = get_scheduler(params.lr_scheduler_type, optimizer, math.ceil(warmup), total)

    def add_callback(self, callback: Any) -> None:
        """Tell `callback` what happens."""
        self.callbacks.append(callback)

    def remove_callback(self, kind: Any) -> None:
        """It has none but those that were added."""

    def train(self, resume_from_checkpoint: str | None = None) -> SimpleNamespace:
        """All steps, to the last or to a callback's stop."""
        state, control, begun = self.state, self.control, time.perf_counter()
        if resume_from_checkpoint:
            self.load(Path(resume_from_checkpoint))
            state = self.state
        self._tell("on_train_begin")
        while state.global_step < state.max_steps and not control.should_training_stop:
            self._tell("on_step_begin")
            values = self.step(state.global_step)
            state.global_step += 1
            state.epoch = state.global_step * self.rows / len(self.train_dataset)
            self._tell("on_step_end")
            if control.should_log or state.global_step % self.params.logging_steps == 0:
                self._log(values)
            if control.should_evaluate and self.eval_dataset:
                self._log(self.measure(self.eval_dataset))
            if control.should_save:
                self.save(self.folder / f"checkpoint-{state.global_step}")
                self._tell("on_save", model=self.model)
                if together.first():
                    for old in sorted(self.folder.glob("checkpoint-*"), key=checkpoints.step)[:-_KEPT]:
                        shutil.rmtree(old)
        return SimpleNamespace(metrics={"train_runtime": time.perf_counter() - begun})

    def _tell(self, what: str, **more: Any) -> None:
        args = SimpleNamespace(output_dir=str(self.folder), learning_rate=self.params.learning_rate or 0.0)
        for callback in self.callbacks:
            getattr(callback, what)(args, self.state, self.control, **more)

    def _log(self, values: dict[str, float]) -> None:
        self.state.log_history.append({**values, "step": self.state.global_step})
        self._tell("on_log", logs=values)

    # -- a step -------------------------------------------------------------------------------------------------

    def step(self, number: int) -> dict[str, float]:
        """Step `number`, counted from 0: what it measured."""
        rollout = self.roll(self.drawn(number))
        learned = self.learn(rollout)
        if self.params.kl_target:
            horizon = self.params.kl_horizon
            self.kl_coef = ppo_loss.adapted(
                self.kl_coef, rollout.figures["kl"], self.params.kl_target, self.rows, horizon
            )
        rate = self.schedule.get_last_lr()[0]
        self.schedule.step()
        return learned | rollout.figures | {"learning_rate": rate, "num_tokens": float(self.tokens)}

    def drawn(self, number: int) -> list[Prompt]:
        """The prompts of step `number`: each epoch has all of them, in an order of its own that the seed gives."""
        import torch

        found = []
        for place in range(number * self.rows, (number + 1) * self.rows):
            epoch, nth = divmod(place, len(self.train_dataset))
            order = torch.randperm(
                len(self.train_dataset), generator=torch.Generator().manual_seed(self.params.seed + epoch)
            )
            found.append(self.train_dataset[int(order[nth])])
        return sorted(found, key=lambda prompt: len(prompt.ids))  # alike in length side by side: little padding

    def roll(self, prompts: Sequence[Prompt]) -> Rollout:
        """Answer our share of `prompts`, ask what the answers are worth, and lay it all out over their tokens."""
        import torch

        params, policy, device = self.params, self.policy, self.policy.model.device
        prompts = _ours(prompts)
        answers = policy.answers([prompt.ids for prompt in prompts], params.max_completion_length)
        scores = torch.tensor(self.scores(prompts, answers), device=device)
        missing = torch.tensor([not one.ended for one in answers], device=device)
        with torch.no_grad(), self.accelerator.autocast():
            parts = [policy.read(part, entropy=True) for part in self._micro(answers)]
            bases = [policy.read(part, base=True) for part in self._micro(answers)]
        mask = _stacked([part.mask for part in parts])
        logprobs, base = (_stacked([part.logprobs for part in some]) for some in (parts, bases))
        values = _stacked([part.values for part in parts])
        entropy = _stacked([part.entropy for part in parts if part.entropy is not None])
        mask, logprobs, base, values, entropy = map(together.rows, (mask, logprobs, base, values, entropy))
        scores, missing = (together.rows(one[:, None])[:, 0] for one in (scores, missing))
        rewards = ppo_loss.token_rewards(
            scores - params.missing_eos_penalty * missing, logprobs, base, mask, self.kl_coef
        )
        advantages, returns = ppo_loss.advantages_and_returns(rewards, values, mask, params.gamma, params.lam)
        self.tokens += int(mask.sum())
        kl = ((logprobs - base) * mask).sum(1).mean()
        figures = {
            "score": scores.mean(),
            "score_std": scores.std(unbiased=False),
            "reward": rewards.sum(1).mean(),
            "kl": kl,
            "kl_coef": self.kl_coef,
            "entropy": ppo_loss.masked_mean(entropy, mask),
            "explained_variance": ppo_loss.explained_variance(values, returns, mask),
            "completion_length": mask.sum(1).float().mean(),
            "ended": 1 - missing.float().mean(),
        }
        return Rollout(
            answers, mask, logprobs, values, ppo_loss.whiten(advantages, mask), returns,
            {name: float(value) for name, value in figures.items()},
        )  # fmt: skip

    def scores(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[float]:
        """What the reward says of the answers as text."""
        said = self.policy.tokenizer.batch_decode([one.said for one in answers], skip_special_tokens=True)
        return self.score([prompt.text for prompt in prompts], said, [prompt.reference for prompt in prompts])

    def measure(self, prompts: Sequence[Prompt]) -> dict[str, float]:
        """What greedy answers to held-out `prompts` are worth and how long they are, on average."""
        ours = _ours(prompts)
        answers = self.policy.answers([prompt.ids for prompt in ours], self.params.max_completion_length, greedy=True)
        found = together.collected((sum(self.scores(ours, answers)), sum(len(one.said) for one in answers)))
        scores, lengths = (sum(some) / len(prompts) for some in zip(*found, strict=True))
        return {"eval_score": scores, "eval_length": lengths}

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Some epochs over the answers, in minibatches of a new order each: an optimizer step for every minibatch."""
        import torch

        count = len(rollout.mask)
        size = -(-count // self.params.num_mini_batches)
        lengths = rollout.mask.sum(1).tolist()
        seen: list[dict[str, float]] = []
        for _ in range(self.params.num_ppo_epochs):
            order = together.agreed(torch.randperm(count).tolist())
            for start in range(0, count, size):
                seen.append(self._update(rollout, sorted(order[start : start + size], key=lambda i: int(lengths[i]))))
        return {name: sum(one[name] for one in seen) / len(seen) for name in seen[0]}

    def _update(self, rollout: Rollout, rows: Sequence[int]) -> dict[str, float]:
        """One optimizer step on `rows`: each process takes its own, a few at a time. Each token counts alike."""
        import torch

        params, policy, many = self.params, self.policy, together.many()
        tokens = rollout.mask[list(rows)].sum()
        sums = {name: torch.zeros((), device=policy.model.device) for name in _FIGURES}
        ours = [row for row in rows if row % many == together.rank()]
        for start in range(0, len(ours), params.per_device_train_batch_size):
            part = ours[start : start + params.per_device_train_batch_size]
            with self.accelerator.autocast():
                now = policy.read([rollout.answers[i // many] for i in part])
            mask, width = now.mask, now.mask.shape[1]
            old, old_values, advantages, returns = (
                held[part, :width] for held in (rollout.logprobs, rollout.values, rollout.advantages, rollout.returns)
            )
            policy_part, clipped = ppo_loss.policy_loss(now.logprobs, old, advantages, params.cliprange)
            value_part, value_clipped = ppo_loss.value_loss(now.values, old_values, returns, params.cliprange_value)
            loss = ((policy_part + params.vf_coef * value_part) * mask).sum() / tokens
            self.accelerator.backward(loss)
            with torch.no_grad():
                figures = {
                    "loss": policy_part + params.vf_coef * value_part,
                    "policy_loss": policy_part,
                    "value_loss": value_part,
                    "clip_fraction": clipped.float(),
                    "value_clip_fraction": value_clipped.float(),
                    "step_kl": 0.5 * (now.logprobs - old) ** 2,  # from the policy that answered
                }
                for name, value in figures.items():
                    sums[name] += (value * mask).sum() / tokens
        together.add_gradients(policy.parameters())
        length = self.accelerator.clip_grad_norm_(policy.parameters(), params.max_grad_norm or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad()
        found = together.collected([float(value) for value in sums.values()])
        return dict(zip(sums, map(sum, zip(*found, strict=True)), strict=True)) | {"grad_norm": float(length)}

    def _micro(self, answers: Sequence[Answer]) -> list[Sequence[Answer]]:
        size = self.params.per_device_train_batch_size
        return [answers[start : start + size] for start in range(0, len(answers), size)]

    # -- where it stands ----------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, optimizer, schedule, the random states of all and the penalty to `folder`; the first does."""
        import torch

        random = together.collected(_random())
        if not together.first():
            return
        shutil.rmtree(folder, ignore_errors=True)
        self.policy.save(folder)
        self.state.save_to_json(str(folder / "trainer_state.json"))
        scaler = self.accelerator.scaler
        held: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random,
            "scaler": scaler.state_dict() if scaler is not None else {},
        }
        torch.save(held, folder / "optimizer.pt")
        (folder / "loop.json").write_text(json.dumps({"kl_coef": self.kl_coef, "tokens": self.tokens}))

    def load(self, folder: Path) -> None:
        """Go on from what `save` wrote."""
        import torch
        from transformers import TrainerState

        self.policy.load(folder)
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        held = torch.load(folder / "optimizer.pt", weights_only=True)
        self.optimizer.load_state_dict(held["optimizer"])
        self.schedule.load_state_dict(held["schedule"])
        states = held["random"] if isinstance(held["random"], list) else []  # older ones had one state, of one process
        if together.rank() < len(states):  # of more processes than before the new ones begin anew
            torch.set_rng_state(states[together.rank()]["cpu"])
            if (cuda := states[together.rank()]["cuda"]) is not None and torch.cuda.is_available():
                torch.cuda.set_rng_state(cuda)
        if held["scaler"] and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(held["scaler"])
        numbers = json.loads((folder / "loop.json").read_text())
        self.kl_coef, self.tokens = float(numbers["kl_coef"]), int(numbers["tokens"])


def _ours(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    """This process's share: with two, every other one, so that both have some of each length."""
    return prompts[together.rank() :: together.many()]


def _random() -> dict[str, Tensor | None]:
    """The random states of this process."""
    import torch

    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None}


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Rows of parts with different widths, 0 (or false) where one is narrower."""
    import torch
    from torch.nn import functional

    width = max(part.shape[1] for part in parts)
    return torch.cat([functional.pad(part, (0, width - part.shape[1])) for part in parts])

"""PPO on a model of 40,000 weights and a reward that can be counted: what it learns and measures, how it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from backend.recipes.params import check
from backend.recipes.ppo import PpoParams, templated
from backend.recipes.ppo_policy import Policy
from backend.recipes.ppo_trainer import Trainer
from backend.recipes.rewards import Text

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another are slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Watching:
    """Saves at `saves`, stops at `stops`, and remembers what was measured."""

    def __init__(self, saves: Sequence[int] = (), stops: int = 0) -> None:
        self.saves, self.stops = saves, stops
        self.logged: dict[int, dict[str, float]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any) -> None: ...

    def on_step_begin(self, args: Any, state: Any, control: Any) -> None: ...

    def on_step_end(self, args: Any, state: Any, control: Any) -> None:
        control.should_save = control.should_evaluate = state.global_step in self.saves
        control.should_training_stop = state.global_step == self.stops

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float]) -> None:
        self.logged.setdefault(state.global_step, {}).update(logs)

    def on_save(self, args: Any, state: Any, control: Any, model: Any) -> None: ...


def even(prompts: Sequence[Text], completions: Sequence[Text], references: Sequence[str]) -> list[float]:
    """The share of characters with an even code."""
    return [sum(ord(c) % 2 == 0 for c in said) / max(1, len(said)) for said in completions]


def trainer(tiny: Path, folder: Path, score: Any = even, **more: Any) -> Trainer:
    from accelerate import Accelerator
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings = {
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_completion_length": 8,
        "learning_rate": 0.01,
        "missing_eos_penalty": 0,
        "num_ppo_epochs": 2,
    }
    params = check(PpoParams, settings | more)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    config = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.1)
    policy = Policy(get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config), tokenizer, params.temperature)
    rows = [{"prompt": [{"role": "user", "content": "x" * (1 + n % 4)}], "reference": f"{n}"} for n in range(13)]
    prompts = templated(rows, tokenizer, 100)
    return Trainer(policy, score, prompts[:10], prompts[10:], params, Accelerator(cpu=True), folder)


def train(one: Trainer, watching: Watching, checkpoint: Path | None = None) -> Watching:
    one.add_callback(watching)
    one.train(str(checkpoint) if checkpoint else None)
    return watching


def test_it_learns_to_be_rewarded(tiny: Path, tmp_path: Path) -> None:
    """Half of what it writes becomes most of it, and a higher price of leaving the base keeps it nearer."""
    found = []
    for kl_coef in (0.01, 0.2):
        more = {"learning_rate": 0.003, "num_ppo_epochs": 4, "gradient_accumulation_steps": 8, "kl_coef": kl_coef}
        one = trainer(tiny, tmp_path, max_steps=25, **more)
        with torch.no_grad():
            one.model.get_output_embeddings().weight *= 15  # new weights say everything with the same chance
        logged = train(one, Watching()).logged
        found.append(
            [
                sum(logged[step][name] for step in steps) / 5
                for name in ("score", "kl")
                for steps in (range(1, 6), range(21, 26))
            ]
        )
    (before, after, _, far), (_, _, _, near) = found
    assert after > before + 0.15
    assert 0 < near < 0.7 * far


def test_at_the_first_step_nothing_has_moved(tiny: Path, tmp_path: Path) -> None:
    """The policy is the base, expects nothing, and each token is as probable as when it was drawn."""
    logged = train(trainer(tiny, tmp_path, max_steps=1, num_ppo_epochs=1), Watching()).logged[1]
    assert logged["kl"] == 0
    assert logged["reward"] == pytest.approx(logged["score"])
    assert logged["clip_fraction"] == 0
    assert logged["step_kl"] == pytest.approx(0, abs=1e-9)
    assert logged["policy_loss"] == pytest.approx(0, abs=1e-5)  # the mean of white advantages
    assert logged["explained_variance"] <= 0
    assert logged.keys() >= {
        "loss",
        "entropy",
        "value_loss",
        "grad_norm",
        "learning_rate",
        "completion_length",
        "ended",
    }


def test_an_epoch_has_each_prompt_once_and_the_seed_gives_the_order(tiny: Path, tmp_path: Path) -> None:
    one = trainer(tiny, tmp_path)
    first = [prompt for number in range(5) for prompt in one.drawn(number)]
    assert sorted(prompt.reference for prompt in first) == sorted(
        4 * [prompt.reference for prompt in one.train_dataset]
    )
    assert first == [prompt for number in range(5) for prompt in trainer(tiny, tmp_path).drawn(number)]
    other = trainer(tiny, tmp_path, seed=1)
    assert first != [prompt for number in range(5) for prompt in other.drawn(number)]


@pytest.mark.parametrize("micro", [1, 3, 8])
def test_how_many_rows_fit_at_a_time_changes_nothing(tiny: Path, tmp_path: Path, micro: int) -> None:
    """Gradients of one update, with the batch taken whole and in parts: every token counts alike."""
    one = trainer(tiny, tmp_path, per_device_train_batch_size=8, gradient_accumulation_steps=1, max_grad_norm=0)
    rollout = one.roll(one.drawn(0))
    one.params = one.params.model_copy(update={"per_device_train_batch_size": micro})
    grads: list[torch.Tensor] = []
    one.optimizer = SimpleNamespace(
        step=lambda: grads.extend(w.grad.clone() for w in one.policy.parameters()), zero_grad=lambda: None
    )
    figures = one._update(rollout, range(8))
    read = one.policy.read(rollout.answers)
    ratio = (read.logprobs - rollout.logprobs).exp()
    loss = torch.maximum(-rollout.advantages * ratio, -rollout.advantages * ratio.clamp(0.8, 1.2))
    error = 0.5 * (read.values - rollout.returns) ** 2  # within the clip: nothing has moved
    for weight in one.policy.parameters():
        weight.grad = None
    whole = ((loss + 0.1 * error) * read.mask).sum() / read.mask.sum()
    whole.backward()
    assert figures["loss"] == pytest.approx(whole.item(), abs=1e-5)
    for found, weight in zip(grads, one.policy.parameters(), strict=True):
        assert weight.grad is not None
        assert torch.allclose(found, weight.grad, atol=1e-6)


def test_an_answer_that_is_cut_off_loses(tiny: Path, tmp_path: Path) -> None:
    one = trainer(tiny, tmp_path, score=lambda *_: [0.0] * 8, missing_eos_penalty=2, max_completion_length=1, kl_coef=0)
    rollout = one.roll(one.drawn(0))
    earned = [0.0 if answer.ended else -2.0 for answer in rollout.answers]
    assert rollout.returns[:, 0].tolist() == pytest.approx(earned)
    assert rollout.figures["ended"] == earned.count(0) / 8


def test_the_penalty_adapts_when_it_has_a_target(tiny: Path, tmp_path: Path) -> None:
    fixed = train(trainer(tiny, tmp_path, max_steps=3), Watching()).logged
    assert {row["kl_coef"] for row in fixed.values()} == {0.05}
    adapting = train(trainer(tiny, tmp_path, max_steps=3, kl_target=5, kl_horizon=8), Watching()).logged
    assert adapting[2]["kl_coef"] == pytest.approx(0.05 * 0.8)  # the first step was no distance at all


def test_a_stopped_run_goes_on_exactly(tiny: Path, tmp_path: Path) -> None:
    """Same answers, same figures, same weights: random state, optimizer, schedule, penalty and place in the data."""
    more = {"kl_target": 1.0, "kl_horizon": 16, "num_mini_batches": 2}
    one = trainer(tiny, tmp_path / "whole", **more)
    whole = train(one, Watching(saves=(2, 6))).logged
    first = train(trainer(tiny, tmp_path / "a", **more), Watching(saves=(3,), stops=3)).logged
    assert list(first) == [1, 2, 3]
    other = trainer(tiny, tmp_path / "a", **more)
    torch.manual_seed(99)
    second = train(other, Watching(saves=(6,)), tmp_path / "a" / "checkpoint-3").logged
    assert list(second) == [4, 5, 6]
    for step, row in (first | second).items():
        for name, value in row.items():
            if not name.startswith("eval_") or step == 6:
                assert value == pytest.approx(whole[step][name], rel=1e-5, abs=1e-7), (step, name)
    for weight, same in zip(other.policy.parameters(), one.policy.parameters(), strict=True):
        assert torch.equal(weight, same)
    assert other.state.log_history[-1]["step"] == 6
    assert [row["step"] for row in other.state.log_history if "score" in row] == [1, 2, 3, 4, 5, 6]


def test_only_the_two_newest_checkpoints_stay(tiny: Path, tmp_path: Path) -> None:
    train(trainer(tiny, tmp_path), Watching(saves=range(1, 7)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-5", "checkpoint-6"]

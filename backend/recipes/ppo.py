"""Proximal policy optimisation: answers, has a reward judge them, and learns to be rewarded. Runs alone:

    mkdir -p /tmp/first && echo '{"reward": "overlap", "max_steps": 20}' > /tmp/first/params.json
    python -m backend.recipes.ppo /tmp/first/params.json

Each step draws answers to some prompts, scores them by a named reward or a reward model (see `rewards`), takes off what
they left the base by, and improves policy and values on them for a few epochs (see `ppo_loss` for the papers and the
arithmetic, `ppo_policy` for the model, `ppo_trainer` for the step). TRL had this up to its version 1.12; it is
written anew here, on transformers, PEFT and Accelerate, so that it stops, saves and goes on as the other recipes do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from backend.errors import BadInput
from backend.recipes import data, limits, process, rewards, together, training
from backend.recipes.params import DATASET, Rates, TrainParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from backend.recipes.ppo_trainer import Prompt, Trainer

WANTS: tuple[data.Kind, ...] = ("prompt-only",)


class PpoParams(TrainParams):
    """What all recipes take, and PPO's own by the names that TRL gave them."""

    rates: ClassVar[Rates] = Rates(full=3e-6, lora=1e-4, ia3=1e-3, prompts=1e-2)

    dataset: str = Field(DATASET, title="Dataset", description="A sample, an upload, a file or a Hub id")
    gradient_accumulation_steps: int = Field(
        4, ge=1, le=4096, title="Gradient accumulation", description="Batches of answers in a step"
    )
    reward: str = Field(
        "overlap", title="Reward", description="A name such as exact or length:20, or run/ID of a reward run"
    )
    max_completion_length: int = Field(
        32, ge=1, le=8192, title="Length of an answer", description="Tokens; longer answers are cut off"
    )
    temperature: float = Field(1.0, gt=0, le=10, title="Temperature", description="How freely answers are drawn")
    num_ppo_epochs: int = Field(4, ge=1, le=64, title="PPO epochs", description="Times that a step's answers are used")
    num_mini_batches: int = Field(1, ge=1, le=64, title="Minibatches", description="Optimizer steps in a PPO epoch")
    kl_coef: float = Field(0.05, ge=0, le=100, title="KL penalty", description="Price of leaving the base, per nat")
    kl_target: float | None = Field(
        None, gt=0, le=1e4, title="KL target", description="Nats an answer; the penalty follows it. Empty: it is fixed"
    )
    kl_horizon: int = Field(10_000, ge=1, title="KL horizon", description="Answers in which the penalty adapts")
    cliprange: float = Field(0.2, gt=0, lt=1, title="Clip range", description="How far a step may move the policy")
    cliprange_value: float = Field(0.2, gt=0, le=100, title="Value clip range", description="The same for values")
    vf_coef: float = Field(0.1, ge=0, le=100, title="Value loss", description="Its weight beside the policy's")
    value_lr_scale: float = Field(
        1.0, gt=0, le=1e4, title="Value learning rate", description="Of the value head, times the learning rate"
    )
    gamma: float = Field(1.0, gt=0, le=1, title="Discount", description="What a reward one token later is worth")
    lam: float = Field(0.95, ge=0, le=1, title="GAE lambda", description="0 trusts values, 1 trusts rewards")
    missing_eos_penalty: float = Field(
        1.0, ge=0, le=100, title="Missing end", description="Taken off the score of an answer that is cut off"
    )


Params = PpoParams


def preflight(params: PpoParams) -> None:
    """See `limits.check`. Raises what `rewards.check` raises, too."""
    rows = params.per_device_train_batch_size * params.gradient_accumulation_steps
    if params.num_mini_batches > rows:
        raise BadInput(
            f"num_mini_batches is {params.num_mini_batches}, and a step has {rows} answers.", f"Use at most {rows}."
        )
    if params.max_completion_length >= params.max_length:
        raise BadInput(
            f"max_completion_length is {params.max_completion_length}, which leaves no room for a prompt in max_length "
            f"{params.max_length}.",
            "Use a larger max_length.",
        )
    if params.report_to != "none":
        raise BadInput(
            f"report_to is {params.report_to}; PPO's figures go to the run view alone.", "Use none, or GRPO or RLOO."
        )
    limits.check(params, WANTS, reference=True)
    rewards.fits(params.reward, params, WANTS)


def run(params: PpoParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, _trainer, WANTS)


def _trainer(work: training.Work) -> Trainer:
    from accelerate import Accelerator
    from peft import get_peft_model

    from backend.recipes.ppo_policy import Policy
    from backend.recipes.ppo_trainer import Trainer

    params, device, parts = work.params, work.device, work.parts
    assert isinstance(params, PpoParams)
    mixed = device.precision if device.autocast and device.precision != "fp32" else "no"
    accelerator = Accelerator(cpu=device.device == "cpu", mixed_precision=mixed)
    model = parts["model"]
    if parts["peft_config"] is not None:
        model = get_peft_model(model, parts["peft_config"])
    if params.adapter != "qlora":
        model = model.to(accelerator.device)
    if device.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    policy = Policy(model, work.tokenizer, params.temperature, starts_trained=parts["peft_config"] is None)
    room = params.max_length - params.max_completion_length
    learn, held = (
        templated(rows or (), work.tokenizer, room) for rows in (parts["train_dataset"], parts["eval_dataset"])
    )
    score = rewards.scorer(params.reward, device)
    together.begin_alike(policy.parameters(), params.seed)
    return Trainer(policy, score, learn, held, params, accelerator, Path(work.options["output_dir"]))


def templated(rows: Iterable[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, room: int) -> list[Prompt]:
    """Each row's prompt as tokens, the last `room` of them, and the answer that the data hold."""
    from backend.recipes.ppo_trainer import Prompt

    found = []
    for row in rows:
        prompt, plain = row["prompt"], isinstance(row["prompt"], str)
        text = prompt if plain else tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=plain)["input_ids"][-room:]
        found.append(Prompt(ids, prompt, row.get("reference") or ""))
    return found


if __name__ == "__main__":
    process.leave(process.main(Params, run))

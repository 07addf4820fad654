"""What GRPO and RLOO share: several answers to a prompt, each worth what it is beside the others."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from backend.recipes import data, limits, rewards, training
from backend.recipes.params import DATASET, Rates, TrainParams

WANTS: tuple[data.Kind, ...] = ("prompt-only",)


class GroupParams(TrainParams):
    """The reward, and the answers that are tried."""

    rates: ClassVar[Rates] = Rates(full=1e-6, lora=1e-3, ia3=1e-3, prompts=1e-2)

    dataset: str = Field(DATASET, title="Dataset", description="A sample, an upload, a file or a Hub id")
    reward: str = Field(
        "overlap",
        title="Reward",
        description="A name such as exact or length:20, or run/ID of a reward run",
    )
    num_generations: int = Field(4, ge=2, le=64, title="Answers a prompt", description="Compared with one another")
    max_completion_length: int = Field(32, ge=1, le=8192, title="Answer length", description="Tokens at most")
    temperature: float = Field(1.0, gt=0, le=5, title="Temperature", description="Of the answers that are tried")
    beta: float = Field(0.0, ge=0, le=10, title="Beta", description="Pull towards the base; 0 is none")
    per_device_train_batch_size: int = Field(
        8, ge=2, le=1024, title="Batch size", description="Answers per device; a multiple of the answers a prompt"
    )

    @model_validator(mode="before")
    @classmethod
    def _group(cls, values: Any) -> Any:
        return limits.group(values)


def preflight(params: GroupParams) -> None:
    """See `limits.check`. Raises what `rewards.check` raises, too."""
    limits.answers(params, params.num_generations)
    limits.check(params, WANTS, reference=params.beta > 0)
    rewards.fits(params.reward, params, WANTS)


def options(params: GroupParams) -> dict[str, Any]:
    """What TRL's configurations take besides what every method's takes."""
    return {
        "num_generations": params.num_generations,
        "max_completion_length": params.max_completion_length,
        "temperature": params.temperature,
        "beta": params.beta,
    }


def trainer(work: training.Work, kind: Any, config: Any, chosen: dict[str, Any]) -> Any:
    """TRL's trainer `kind` with its `config` of the options `chosen`; it cuts no rows, so it has no length of them."""
    params = work.params
    assert isinstance(params, GroupParams)
    given = {name: value for name, value in work.options.items() if name != "max_length"}
    score = rewards.for_trl(rewards.scorer(params.reward, work.device), params.reward)
    return training.steady(kind)(args=config(**given, **chosen), reward_funcs=score, **work.parts)

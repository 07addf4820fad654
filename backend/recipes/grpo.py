"""Group relative policy optimisation (2402.03300): tries several answers, learns from those above the others' mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from backend.recipes import data, limits, process, rewards, training
from backend.recipes.params import DATASET, Rates, TrainParams

if TYPE_CHECKING:
    from trl import GRPOTrainer

WANTS: tuple[data.Kind, ...] = ("prompt-only",)


class GrpoParams(TrainParams):
    """The reward, the answers that are tried, and how far it may go."""

    rates: ClassVar[Rates] = Rates(full=1e-6, lora=1e-5, ia3=1e-3, prompts=1e-2)

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
    loss_type: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = Field(
        "dapo", title="Loss", description="How tokens of short and long answers are weighed"
    )

    @model_validator(mode="before")
    @classmethod
    def _group(cls, values: Any) -> Any:
        return limits.group(values)


Params = GrpoParams


def preflight(params: GrpoParams) -> None:
    """See `limits.check`. Raises what `rewards.check` raises, too."""
    limits.answers(params, params.num_generations)
    limits.check(params, WANTS, reference=params.beta > 0)
    rewards.fits(params.reward, params, WANTS)


def run(params: GrpoParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def options(params: GrpoParams) -> dict[str, Any]:
    """What TRL's configuration takes besides what every method's takes."""
    return {
        "num_generations": params.num_generations,
        "max_completion_length": params.max_completion_length,
        "temperature": params.temperature,
        "beta": params.beta,
        "loss_type": params.loss_type,
    }


def trainer(work: training.Work) -> GRPOTrainer:
    from trl import GRPOConfig, GRPOTrainer

    params = work.params
    assert isinstance(params, GrpoParams)
    given = {name: value for name, value in work.options.items() if name != "max_length"}
    config = GRPOConfig(**given, **options(params))
    score = rewards.for_trl(rewards.scorer(params.reward, work.device), params.reward)
    return training.steady(GRPOTrainer)(args=config, reward_funcs=score, **work.parts)


if __name__ == "__main__":
    process.leave(process.main(Params, run))

"""Reward modelling (2203.02155): learns to score answers, so that the preferred one gets more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from backend.recipes import adapters, data, limits, process, training
from backend.recipes.params import PREFERENCES, Rates, TrainParams

if TYPE_CHECKING:
    from trl import RewardTrainer

WANTS: tuple[data.Kind, ...] = ("preference",)


class RewardParams(TrainParams):
    """Whether scores are drawn towards 0."""

    rates: ClassVar[Rates] = Rates(full=1e-4, lora=1e-3, ia3=1e-2, prompts=1e-2)

    dataset: str = Field(PREFERENCES, title="Dataset", description="A sample, an upload, a file or a Hub id")
    center_rewards_coefficient: float | None = Field(
        None, ge=0, le=1, title="Centring", description="Draws scores towards 0, such as 0.01; empty does not"
    )
    sample_prompts: int = Field(0, ge=0, le=0, title="Sample answers", description="None: it scores, it does not write")


Params = RewardParams


def preflight(params: RewardParams) -> None:
    """See `limits.check`."""
    limits.check(params, WANTS, adapters.SCORES)


def run(params: RewardParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS, adapters.SCORES)


def options(params: RewardParams) -> dict[str, Any]:
    """What TRL's configuration takes besides what every method's takes."""
    return {"center_rewards_coefficient": params.center_rewards_coefficient}


def trainer(work: training.Work) -> RewardTrainer:
    from trl import RewardConfig, RewardTrainer

    params = work.params
    assert isinstance(params, RewardParams)
    config = RewardConfig(**work.options, **options(params))
    return training.steady(RewardTrainer)(args=config, **work.parts)


if __name__ == "__main__":
    process.leave(process.main(Params, run))

"""Kahneman-Tversky optimisation (2402.01306): learns from answers that are each liked or not, without pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from backend.recipes import data, limits, process, training
from backend.recipes.params import PREFERENCES, Rates, TrainParams

if TYPE_CHECKING:
    from trl import KTOTrainer

WANTS: tuple[data.Kind, ...] = ("unpaired",)


class KtoParams(TrainParams):
    """How far it may go from where it began, and what liked and disliked answers weigh."""

    rates: ClassVar[Rates] = Rates(full=1e-6, lora=1e-3, ia3=1e-3, prompts=1e-2)

    dataset: str = Field(PREFERENCES, title="Dataset", description="A sample, an upload, a file or a Hub id")
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="Higher stays closer to the base")
    desirable_weight: float = Field(1.0, ge=0, le=100, title="Weight of liked", description="Of liked answers")
    undesirable_weight: float = Field(
        1.0, ge=0, le=100, title="Weight of disliked", description="Of those that are not"
    )


Params = KtoParams


def preflight(params: KtoParams) -> None:
    """See `limits.check`."""
    limits.check(params, WANTS, reference=True)


def run(params: KtoParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def options(params: KtoParams) -> dict[str, Any]:
    """What TRL's configuration takes besides what every method's takes."""
    return {
        "beta": params.beta,
        "desirable_weight": params.desirable_weight,
        "undesirable_weight": params.undesirable_weight,
        "precompute_ref_log_probs": params.adapter == "full",  # so that no second model is held in memory
    }


def trainer(work: training.Work) -> KTOTrainer:
    from trl import KTOConfig, KTOTrainer

    params = work.params
    assert isinstance(params, KtoParams)
    config = KTOConfig(**work.options, **options(params))
    return training.steady(KTOTrainer)(args=config, **work.parts)


if __name__ == "__main__":
    process.leave(process.main(Params, run))

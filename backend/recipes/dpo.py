"""Direct preference optimisation (2305.18290): of two answers, learns to prefer the one that people preferred."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from backend.recipes import data, limits, process, training
from backend.recipes.params import PREFERENCES, Rates, TrainParams

if TYPE_CHECKING:
    from trl import DPOTrainer

WANTS: tuple[data.Kind, ...] = ("preference",)


class DpoParams(TrainParams):
    """How far it may go from where it began, and how a preference is counted."""

    # LoRA: after 20 steps on the sample, 1e-5 tells 62 % of held-out pairs apart, 1e-4 all, 5e-4 all and goes ten times
    # as far from where it began (margins of 0.01, 0.32 and 3.4).
    rates: ClassVar[Rates] = Rates(full=1e-6, lora=1e-4, ia3=1e-3, prompts=1e-2)

    dataset: str = Field(PREFERENCES, title="Dataset", description="A sample, an upload, a file or a Hub id")
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="Higher stays closer to the base")
    loss_type: Literal["sigmoid", "ipo", "hinge", "robust", "apo_zero", "apo_down", "discopop"] = Field(
        "sigmoid", title="Loss", description="Sigmoid is DPO's own"
    )


Params = DpoParams


def preflight(params: DpoParams) -> None:
    """See `limits.check`."""
    limits.check(params, WANTS, reference=True)


def run(params: DpoParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def options(params: DpoParams) -> dict[str, Any]:
    """What TRL's configuration takes besides what every method's takes."""
    return {
        "beta": params.beta,
        "loss_type": params.loss_type,
        "precompute_ref_log_probs": params.adapter == "full",  # so that no second model is held in memory
    }


def trainer(work: training.Work) -> DPOTrainer:
    """No reference model is held in memory: it is the base with the adapter off, or its figures are taken first."""
    from trl import DPOConfig, DPOTrainer

    params = work.params
    assert isinstance(params, DpoParams)
    config = DPOConfig(**work.options, **options(params))
    return training.steady(DPOTrainer)(args=config, **work.parts)


if __name__ == "__main__":
    process.leave(process.main(Params, run))

"""Group relative policy optimisation (2402.03300): tries several answers, learns from those above the others' mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from backend.recipes import groups, process, training
from backend.recipes.groups import WANTS, GroupParams, preflight

if TYPE_CHECKING:
    from trl import GRPOTrainer

__all__ = ["WANTS", "GrpoParams", "Params", "options", "preflight", "run", "trainer"]


class GrpoParams(GroupParams):
    """And how tokens are weighed."""

    loss_type: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = Field(
        "dapo", title="Loss", description="How tokens of short and long answers are weighed"
    )


Params = GrpoParams


def run(params: GrpoParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def options(params: GrpoParams) -> dict[str, Any]:
    """See `groups.options`."""
    return groups.options(params) | {"loss_type": params.loss_type}


def trainer(work: training.Work) -> GRPOTrainer:
    from trl import GRPOConfig, GRPOTrainer

    params = work.params
    assert isinstance(params, GrpoParams)
    made: GRPOTrainer = groups.trainer(work, GRPOTrainer, GRPOConfig, options(params))
    return made


if __name__ == "__main__":
    process.leave(process.main(Params, run))

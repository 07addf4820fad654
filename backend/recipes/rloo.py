"""REINFORCE leave-one-out (2402.14740): each answer is measured against the mean of the others to its prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from backend.recipes import groups, process, training
from backend.recipes.groups import WANTS, GroupParams, options, preflight

if TYPE_CHECKING:
    from trl import RLOOTrainer

__all__ = ["WANTS", "Params", "RlooParams", "options", "preflight", "run", "trainer"]


class RlooParams(GroupParams):
    """And how far it may go."""

    beta: float = Field(0.05, ge=0, le=10, title="Beta", description="Pull towards the base; 0 is none")


Params = RlooParams


def run(params: RlooParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def trainer(work: training.Work) -> RLOOTrainer:
    from trl import RLOOConfig, RLOOTrainer

    params = work.params
    assert isinstance(params, RlooParams)
    made: RLOOTrainer = groups.trainer(work, RLOOTrainer, RLOOConfig, options(params))
    return made


if __name__ == "__main__":
    process.leave(process.main(Params, run))

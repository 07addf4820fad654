"""Odds ratio preference optimisation (2403.07691): fine-tuning and preference in one, without a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from backend.recipes import data, limits, process, training
from backend.recipes.params import PREFERENCES, PROMPTS, Rates, TrainParams

if TYPE_CHECKING:
    from trl.experimental.orpo import ORPOTrainer

WANTS: tuple[data.Kind, ...] = ("preference",)


class OrpoParams(TrainParams):
    """What the preference weighs beside the fine-tuning."""

    rates: ClassVar[Rates] = Rates(full=1e-5, lora=1e-4, ia3=1e-2, prompts=1e-2)

    dataset: str = Field(PREFERENCES, title="Dataset", description="A sample, an upload, a file or a Hub id")
    beta: float = Field(0.1, gt=0, le=10, title="Beta", description="Weight of the preference; lambda in the paper")


Params = OrpoParams


def preflight(params: OrpoParams) -> None:
    """See `limits.check`."""
    limits.check(params, WANTS)


def run(params: OrpoParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def options(params: OrpoParams) -> dict[str, Any]:
    """What TRL's configuration takes besides what every method's takes."""
    return {"beta": params.beta, "remove_unused_columns": False}  # its collator needs them


def trainer(work: training.Work) -> ORPOTrainer:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    params = work.params
    assert isinstance(params, OrpoParams)
    made = training.steady(ORPOTrainer)(args=ORPOConfig(**work.options, **options(params)), **work.parts)
    if params.adapter in PROMPTS:
        made.model.register_forward_hook(_real_tokens, with_kwargs=True)
    return made


def _real_tokens(model: Any, given: Any, named: dict[str, Any], output: Any) -> Any:
    """The virtual tokens of an adapter come out, too; ORPO compares with the real ones, which are the last."""
    real = named["input_ids"] if "input_ids" in named else given[0]
    output.logits = output.logits[:, -real.shape[1] :]
    return output


if __name__ == "__main__":
    process.leave(process.main(Params, run))

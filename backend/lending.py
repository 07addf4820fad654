"""What a page asks about ZeroGPU: its runs' next slice, what is left of a visitor's time, what things cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.door import door
from backend.errors import BadInput
from backend.quota import span
from backend.recipes import METHODS
from backend.slices import plan, words
from backend.starter import MODEL_ID

if TYPE_CHECKING:
    from backend.answers import Answers
    from backend.lab import Lab
    from backend.targets.zerogpu import ZeroGPU

HERE = "No extra cost: it runs where this page is served."


class Lending:
    """Off elsewhere than on ZeroGPU: then nothing is asked and nothing costs."""

    def __init__(self, lab: Lab) -> None:
        target: Any = lab.targets.get("zerogpu")
        engine: Any = lab.engine
        self._env = lab.settings.env
        self._target: ZeroGPU | None = target
        self._answers: Answers | None = engine if target else None
        if target:
            target.quotas.token = lambda owner: lab.token(owner)

    @property
    def _duplicate(self) -> list[str]:
        """Where a visitor of a Space gets a machine of their own."""
        space = self._env.get("SPACE_ID")
        address = f"huggingface.co/spaces/{space}?duplicate=true"
        return [f"A copy of this Space with a GPU that you pay for is quicker: {address}"] if space else []

    @property
    def on(self) -> bool:
        return self._target is not None

    def takes(self, recipe: str, target: str) -> None:
        """Raises BadInput for what can't be cut into slices."""
        if target == "zerogpu" and recipe not in METHODS:
            raise BadInput(f"{recipe} does not run on ZeroGPU, only training does.", "Choose this machine.", "cell.off")

    @door
    def turn(self, owner: str) -> str:
        """A page of `owner` is open and asks, with its request at hand: see `ZeroGPU.turn`. The run's id, or ''."""
        return self._target.turn(owner) if self._target else ""

    @door
    def left(self, owner: str) -> str:
        """For the header: `ZeroGPU: 3 min 10 s of your 5 min left today · an answer asks for 12 s`; '' elsewhere."""
        if not self._target or not self._answers:
            return ""
        quota = self._target.quotas.of(owner)
        seconds = self._answers.seconds({"model": MODEL_ID})
        if seconds > quota.left:
            return f"ZeroGPU: {quota.words}, so the CPU answers. {quota.more}".strip()
        return f"ZeroGPU: {quota.words} · an answer asks for {span(seconds)}"

    @door
    def refused(self, owner: str) -> dict[str, str]:
        """{run, why}: the owner's run that waits since ZeroGPU refused it, and why; {} for none."""
        found = self._target.refused(owner) if self._target else None
        return {"run": found[0], "why": found[1].message} if found else {}

    def price(self, target: str, training: float | None, owner: str) -> list[str]:
        """What a run costs there, in lines."""
        if target != "zerogpu" or not self._target:
            return [HERE, *self._duplicate] if target == "local" else []
        return words(plan(training, self._target.slice_seconds), self._target.quotas.of(owner))

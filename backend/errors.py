"""The errors a person can meet. Each names the value, the rule and the next step.

LabError
├── BadInput          a value that breaks a rule
│   └── BadData       a dataset that can't be used as asked
├── NotFound          a model, dataset, run or recipe that isn't there
├── NotYours          somebody else's run or upload
├── HubError          the Hub refused or can't be reached
│   └── Gated         the repository wants terms accepted or a sign-in
├── NoRoom            memory or disk ran out
├── Refused           ZeroGPU lends no GPU for this now
├── HomeInUse         another server works on the same data folder
└── Broken            the unknown, caught once, logged with its traceback
"""

from __future__ import annotations


class LabError(Exception):
    """What went wrong (`message`), what to do next (`hint`), and a stable `code` for programs."""

    code = "error"

    def __init__(self, message: str, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadInput(LabError):
    """A value breaks a rule."""

    code = "input.invalid"


class BadData(BadInput):
    """A dataset can't be used as asked."""

    code = "data.invalid"


class NotFound(LabError):
    """A model, dataset, run or recipe that isn't there."""

    code = "not_found"


class NotYours(LabError):
    """Somebody else's run or upload."""

    code = "not_yours"


class HubError(LabError):
    """The Hub refused or can't be reached."""

    code = "hub.error"


class Gated(HubError):
    """The repository wants its terms accepted or a sign-in."""

    code = "hub.gated"


class NoRoom(LabError):
    """Memory or disk ran out."""

    code = "no_room"


class Refused(LabError):
    """ZeroGPU lends no GPU for this now.

    `asked` and `left` are the seconds that were asked for and that its visitor has, as ZeroGPU counts them (on some
    GPUs more than a clock does), None unknown; `wait` those until a new try.
    """

    code = "zerogpu.refused"

    def __init__(
        self,
        message: str,
        hint: str = "",
        code: str | None = None,
        left: int | None = None,
        wait: float = 60,
        asked: int | None = None,
    ) -> None:
        super().__init__(message, hint, code)
        self.asked = asked
        self.left = left
        self.wait = wait


class HomeInUse(LabError):
    """Another server works on the same data folder."""

    code = "home.in_use"


class Broken(LabError):
    """The unknown, caught once in the Lab and logged with its traceback."""

    code = "broken"

"""Tells what a trainer does as events, and decides when it saves, evaluates and stops."""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.errors import LabError
from backend.recipes import checkpoints, together

if TYPE_CHECKING:
    from backend.recipes.samples import Samples

FOLDER = "checkpoints"
RANDOM = "rng_state_{}.pth"  # in a checkpoint: what transformers calls the random state of one of several processes
_SMOOTH = 0.2  # weight of the newest step in the time that a step is thought to take
_OPENING = 10  # losses to which later ones are compared: of a small batch they jump
_ASTRAY = 3.0  # times the highest of those
_EARLY = 2  # of those come before a step can have done much harm: they count alone where a step has enough rows …
_ENOUGH = 4
_RISEN = 3.0  # … and the loss is so much higher: nats, for most
_MEANS_SOMETHING = 0.05  # a loss at first: those of policy methods begin at 0 and say nothing
_MEASURING = 10.0  # seconds that an evaluation with samples is thought to take before one was timed
_QUIET = 0.5  # seconds between two Progressed, at least
_NOT_SHOWN = ("_runtime", "_per_second", "total_flos", "eval_num_tokens", "train_loss")


class Reporter:
    """Its methods are a TrainerCallback's; `reporter()` makes one that a trainer accepts.

    `folder` is the run's; `save_steps` None saves three times a run, 20 to 500 steps apart; `rows` is the number in
    a step; `evaluates` says whether rows are held out; `clock` gives seconds. `on_divergence` is "stop" or "warn".
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[[ev.Event], None],
        rows: int,
        save_steps: int | None = None,
        samples: Samples | None = None,
        evaluates: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        on_divergence: str = "stop",
        dry: bool = False,
    ) -> None:
        self.folder = folder
        self.say = say
        self.rows = rows
        self.save_steps = save_steps
        self.samples = samples
        self.evaluates = evaluates
        self.clock = clock
        self.on_divergence = on_divergence
        self.dry = dry  # a dry run keeps nothing
        self.counted = "rows"  # what `rows` are
        self.stopped = ""  # `save` or `cancel` once its owner asked, `save` also when its time is over
        self.reason = "stopped and saved"
        self.until = float(os.environ.get("ATELIER_UNTIL") or math.inf)  # when all must be saved, since the epoch
        self.steps = 0  # made by this process
        self.seconds = 0.0  # spent in them: without evaluations, samples and checkpoints
        self.tokens = 0.0
        self.eval_loss: float | None = None
        self.step_times: list[float] = []  # of the first steps, in seconds
        self._opening: list[float] = []  # the first losses logged
        self._smooth: float | None = None
        self._warned = False
        self._begun = self._told = -math.inf
        self._step: float | None = None  # smoothed, seconds
        self._pause = 0.0  # seconds that the last save took, with all that goes with it
        self._logged = (0, 0.0, 0.0)  # steps, seconds and tokens at the last log

    # -- called by the trainer ----------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.save_steps = self.save_steps or min(500, max(20, math.ceil(state.max_steps / 3)))
        self.say(ev.Progressed(done=state.global_step, total=state.max_steps))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun = self.clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = self.clock()
        took = now - self._begun
        self.steps += 1
        self.seconds += took
        if len(self.step_times) < 8:
            self.step_times.append(took)
        if self.steps != 1:  # the first one also warms up
            self._step = took if self._step is None else _SMOOTH * took + (1 - _SMOOTH) * self._step
        last = state.global_step >= state.max_steps
        due = last or state.global_step % (self.save_steps or 1) == 0
        self.stopped = self._wish()
        if not self.stopped and not last and not self._time_for_more(took, due):
            self.stopped, self.reason = "save", "its slice of time is over; open this page to go on"
        if last or self.stopped or now - self._told >= _QUIET:
            self._told = now
            self.say(ev.Progressed(done=state.global_step, total=state.max_steps, eta=self._eta(state)))
        self.stopped = together.agreed(self.stopped)
        control.should_save = control.should_evaluate = False
        if self.stopped:
            control.should_training_stop = True
            control.should_save = control.should_log = self.stopped == "save"
        elif self.dry:
            return
        elif due:
            control.should_save = control.should_log = True
            control.should_evaluate = self.evaluates
            self._begun = now

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_evaluate = False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        values = {
            name: float(value)
            for name, value in (logs or {}).items()
            if isinstance(value, int | float) and not name.endswith(_NOT_SHOWN)
        }
        if "loss" in values:
            self._judge(values, state, args)
            self.tokens = values.get("num_tokens", self.tokens)
            values |= self._speeds() | {"memory_gb": round(peak_memory(), 3)}
            self._logged = (self.steps, self.seconds, self.tokens)
        self.eval_loss = values.get("eval_loss", self.eval_loss)
        if values.keys() - {"epoch"}:
            self.say(ev.Measured(step=state.global_step, values=values))

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        mine = place / RANDOM.format(together.rank())
        states = together.collected(mine.read_bytes() if together.many() > 1 and mine.exists() else b"")
        if not together.first():
            return
        for number, held in enumerate(states):  # those of other machines would be gone with them
            if held and not (place / RANDOM.format(number)).exists():
                (place / RANDOM.format(number)).write_bytes(held)
        checkpoints.seal(place)
        # One path for all: the older ones are removed as newer ones come.
        self.say(ev.Produced(kind="checkpoint", name="checkpoint", file=FOLDER, step=state.global_step))
        if self.samples and not self.stopped:
            data = {"rows": self.samples.rows(model)}
            self.say(ev.Produced(kind="samples", name="samples", step=state.global_step, data=data))
        self._pause = self.clock() - self._begun

    # -- below --------------------------------------------------------------------------------------------------

    def _wish(self) -> str:
        """What the run's owner wrote into its stop file."""
        try:
            return (self.folder / "stop").read_text().strip()
        except FileNotFoundError:
            return ""

    def _time_for_more(self, took: float, due: bool) -> bool:
        """Whether one more step, and what is due before it, ends before `until`."""
        measures = due and not self.dry and (self.evaluates or self.samples)
        measuring = (self._pause or _MEASURING) if measures else 0.0
        return time.time() + (self._step or took) + measuring <= self.until

    def _eta(self, state: Any) -> float | None:
        if self._step is None:
            return None
        left = state.max_steps - state.global_step
        return float(round(left * self._step + math.ceil(left / (self.save_steps or 1)) * self._pause, 1))

    def _speeds(self) -> dict[str, float]:
        steps, seconds, tokens = self._logged
        spent = self.seconds - seconds
        if spent <= 0:
            return {}
        speeds = {f"{self.counted}_per_second": (self.steps - steps) * self.rows / spent}
        if self.tokens:
            speeds["tokens_per_second"] = (self.tokens - tokens) / spent
        return {name: round(value, 3) for name, value in speeds.items()}

    def _risen(self, loss: float) -> float | None:
        """What the loss was at most at first, once it is far above that; None as long as all is well."""
        if len(self._opening) < _EARLY:
            self._opening.append(loss)
            return None
        early, opening = max(self._opening[:_EARLY]), max(self._opening)
        begun = len(self._opening) == _OPENING
        if not begun:
            self._opening.append(loss)
        self._smooth = _SMOOTH * loss + (1 - _SMOOTH) * (early if self._smooth is None else self._smooth)
        if begun and opening >= _MEANS_SOMETHING and self._smooth >= _ASTRAY * opening:
            return opening
        known = self.rows >= _ENOUGH and early >= _MEANS_SOMETHING
        if known and self._smooth >= max(_ASTRAY * early, early + _RISEN):
            return early
        return None

    def _judge(self, values: dict[str, float], state: Any, args: Any) -> None:
        """Raises LabError when training has gone astray, or says so once."""
        loss = values["loss"]
        what = next((name for name in ("loss", "grad_norm") if not math.isfinite(values.get(name, 0))), "")
        if what:
            text = f"The {what.replace('grad_norm', 'gradient')} is {values[what]} at step {state.global_step}"
        else:
            first = self._risen(loss)
            if first is None:
                return
            text = f"The loss is {self._smooth:.3g} at step {state.global_step} and was at most {first:.3g} at first"
        text += f": training has gone astray with learning_rate {args.learning_rate:g}."
        hint = (
            f"Clone the run with a smaller learning_rate, such as {args.learning_rate / 10:g}, or leave it empty: "
            "then it is one that suits method and adapter."
        )
        if self.on_divergence == "stop":
            self.say(ev.Measured(step=state.global_step, values=values))
            raise LabError(text, hint, "training.diverged")
        if not self._warned:
            self._warned = True
            self.say(ev.Logged(level="warning", text=f"{text} {hint}"))


def reporter(*args: Any, **more: Any) -> Reporter:
    """A Reporter that is a TrainerCallback too: the trainer's own class is too heavy to be imported at the top."""
    from transformers import TrainerCallback

    kind: type[Reporter] = type("Reporting", (Reporter, TrainerCallback), {})
    return kind(*args, **more)


def peak_memory() -> float:
    """GB that this process took at most: of the GPU when it works on one, else of memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 1e9
    if (status := Path("/proc/self/status")).exists():
        # Not getrusage's figure: that counts the parent, too, as it was at the fork.
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9

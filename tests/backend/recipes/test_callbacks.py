from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend import events as ev
from backend.errors import LabError
from backend.recipes.callbacks import Reporter, peak_memory, reporter
from backend.recipes.checkpoints import whole


class Play:
    """A trainer's loop without a trainer: a step takes `pace` seconds."""

    def __init__(self, folder: Path, total: int = 12, **more: Any) -> None:
        self.said: list[ev.Event] = []
        self.now = 0.0
        self.pace = 2.0
        self.folder = folder
        self.reporter = Reporter(folder, self.said.append, rows=8, clock=lambda: self.now, **more)
        self.state = SimpleNamespace(global_step=0, max_steps=total)
        self.args = SimpleNamespace(output_dir=str(folder / "checkpoints"), learning_rate=0.1)
        self.saved: list[int] = []
        self.reporter.on_train_begin(self.args, self.state, self.control())

    def control(self) -> SimpleNamespace:
        names = ("should_log", "should_save", "should_evaluate", "should_training_stop")
        return SimpleNamespace(**dict.fromkeys(names, False))

    def step(self, **logs: float) -> SimpleNamespace:
        control = self.control()
        self.reporter.on_step_begin(self.args, self.state, control)
        self.now += self.pace
        self.state.global_step += 1
        self.reporter.on_step_end(self.args, self.state, control)
        self.reporter.on_log(self.args, self.state, control, {"loss": 1.0} | logs)
        if control.should_evaluate:
            self.reporter.on_log(self.args, self.state, control, {"eval_loss": 0.5, "eval_runtime": 3.0})
        if control.should_save:
            checkpoint = self.folder / "checkpoints" / f"checkpoint-{self.state.global_step}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "weights").write_text("x")
            self.now += 6
            self.reporter.on_save(self.args, self.state, control, model=None)
            self.saved.append(self.state.global_step)
        return control

    def of(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.said if isinstance(event, kind)]


def test_it_saves_three_times_a_run(tmp_path: Path) -> None:
    play = Play(tmp_path, total=70)
    for _ in range(70):
        play.step()
    assert play.saved == [24, 48, 70]
    assert all(whole(path) for path in (tmp_path / "checkpoints").iterdir())
    assert [(event.kind, event.step) for event in play.of(ev.Produced)] == [("checkpoint", n) for n in (24, 48, 70)]


def test_it_saves_as_asked_and_else_20_to_500_steps_apart(tmp_path: Path) -> None:
    assert Play(tmp_path, total=100_000).reporter.save_steps == 500
    assert Play(tmp_path, total=12, save_steps=5).reporter.save_steps == 5
    assert Play(tmp_path, total=12).reporter.save_steps == 20  # so once, at its end


def test_what_is_measured(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.step(num_tokens=400.0, learning_rate=0.1, total_flos=1e9)
    play.step(num_tokens=1000.0)
    first, second = play.of(ev.Measured)
    assert first.values.keys() == {
        *("loss", "num_tokens", "learning_rate", "rows_per_second", "tokens_per_second", "memory_gb")
    }
    assert (first.step, second.step) == (1, 2)
    assert (second.values["rows_per_second"], second.values["tokens_per_second"]) == (4.0, 300.0)


def test_speed_leaves_evaluation_and_saving_out(tmp_path: Path) -> None:
    play = Play(tmp_path, save_steps=1)
    play.step(num_tokens=100.0)
    play.step(num_tokens=200.0)
    assert [event.values["rows_per_second"] for event in play.of(ev.Measured) if "loss" in event.values] == [4.0, 4.0]
    assert play.reporter.eval_loss == 0.5


def test_eta_counts_steps_and_what_comes_between(tmp_path: Path) -> None:
    play = Play(tmp_path, total=12, save_steps=6)
    etas = []
    for _ in range(12):
        play.step()
        etas.append(play.of(ev.Progressed)[-1].eta)
    assert etas[0] is None  # the first step also warms up
    assert etas[4] == 14.0
    assert etas[6] == 16.0  # five steps of 2 s and a save of 6 s
    assert etas[-1] == 0.0


def test_eta_is_smooth(tmp_path: Path) -> None:
    play = Play(tmp_path, total=100, save_steps=1000)
    for _ in range(10):
        play.step()
    play.pace = 12.0
    play.step()
    assert play.of(ev.Progressed)[-1].eta == pytest.approx(89 * 4.0)


def test_progress_is_not_told_more_than_twice_a_second(tmp_path: Path) -> None:
    play = Play(tmp_path, total=100, save_steps=1000)
    play.pace = 0.1
    for _ in range(100):
        play.step()
    told = [event.done for event in play.of(ev.Progressed)]
    assert 15 <= len(told) <= 25
    assert told[-1] == 100


def test_stop_and_save(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.step()
    (tmp_path / "stop").write_text("save")
    control = play.step()
    assert control.should_training_stop
    assert play.saved == [2]
    assert play.reporter.stopped == "save"
    assert not control.should_evaluate  # its owner waits


def test_the_step_of_a_stop_is_told_however_soon_it_comes(tmp_path: Path) -> None:
    play = Play(tmp_path, total=100, save_steps=1000)
    play.pace = 0.1
    for _ in range(7):
        play.step()
    (tmp_path / "stop").write_text("save")
    play.step()
    assert play.of(ev.Progressed)[-1].done == 8


def test_cancel_saves_nothing(tmp_path: Path) -> None:
    play = Play(tmp_path)
    (tmp_path / "stop").write_text("cancel")
    assert play.step().should_training_stop
    assert play.saved == []


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_it(tmp_path: Path, name: str, value: float) -> None:
    play = Play(tmp_path)
    play.step()
    with pytest.raises(LabError, match=f"is {value} at step 2.*learning_rate 0.1") as caught:
        play.step(**{name: value})
    assert "such as 0.01" in caught.value.hint
    assert caught.value.code == "training.diverged"
    assert play.of(ev.Measured)[-1].step == 2


def test_samples_are_told_at_each_checkpoint(tmp_path: Path) -> None:
    samples: Any = SimpleNamespace(rows=lambda model: [{"prompt": "a", "reference": "b", "base": "c", "answer": "d"}])
    play = Play(tmp_path, save_steps=6, samples=samples)
    for _ in range(12):
        play.step()
    told = [event for event in play.of(ev.Produced) if event.kind == "samples"]
    assert [event.step for event in told] == [6, 12]
    assert told[0].data == {"rows": [{"prompt": "a", "reference": "b", "base": "c", "answer": "d"}]}


def test_a_trainer_takes_it(tmp_path: Path) -> None:
    from transformers import TrainerCallback

    made = reporter(tmp_path, print, 8)
    assert isinstance(made, TrainerCallback)
    assert isinstance(made, Reporter)


def test_peak_memory_is_this_process_own() -> None:
    """A process begins as a copy of the one that starts it, whose memory does not count."""
    held = bytearray(os.urandom(1) * 700_000_000)
    told = subprocess.run(
        [sys.executable, "-c", "from backend.recipes.callbacks import peak_memory; print(peak_memory())"],
        capture_output=True, text=True, check=True, close_fds=False,
    ).stdout  # fmt: skip
    assert len(held) == 700_000_000
    assert float(told) < 0.3


def test_peak_memory_is_in_gigabytes() -> None:
    assert 0.02 < peak_memory() < 50


def test_nothing_is_evaluated_where_no_rows_are_held_out(tmp_path: Path) -> None:
    control = Play(tmp_path, total=1, evaluates=False).step()
    assert control.should_save
    assert not control.should_evaluate


def test_a_loss_that_grows_threefold_stops_the_run(tmp_path: Path) -> None:
    play = Play(tmp_path, total=100)
    for _ in range(11):
        play.step(loss=2.0)
    play.step(loss=9.0)  # one bad batch is nothing yet
    with pytest.raises(
        LabError, match=r"The loss is .* and was at most 2 at first: training has gone astray"
    ) as caught:
        for _ in range(20):
            play.step(loss=9.0)
    assert caught.value.code == "training.diverged"
    assert "such as 0.01" in caught.value.hint


@pytest.mark.parametrize(
    ("losses", "step", "first"),
    [
        ([1.96, 3.89, 14.45, 49.29, 17.55, 15.59, 27.39, 41.56, 22.34, 20.36, 19.4, 20.72], 4, 3.89),
        ([5.5, 5.52, 5.6, 9.0, 20.1, 19.0, 22.4, 51.0, 38.2, 51.5, 24.0, 28.0], 8, 5.52),
    ],
)
def test_a_loss_that_explodes_in_the_first_steps_stops_the_run_too(
    tmp_path: Path, losses: list[float], step: int, first: float
) -> None:
    """The losses of real runs with learning rate 1: what is compared with must not have exploded already."""
    play = Play(tmp_path, total=100)
    with pytest.raises(LabError, match=rf"The loss is .* at step {step} and was at most {first} at first"):
        for loss in losses:
            play.step(loss=loss)


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"loss": 90.0}, {"grad_norm": math.inf}])
def test_or_warns_once_and_goes_on(tmp_path: Path, bad: dict[str, float]) -> None:
    play = Play(tmp_path, total=100, on_divergence="warn")
    for _ in range(11):
        play.step(loss=2.0)
    for _ in range(12):
        play.step(**bad)
    warned = [event.text for event in play.of(ev.Logged) if event.level == "warning"]
    assert len(warned) == 1
    assert "gone astray with learning_rate 0.1" in warned[0]
    assert play.state.global_step == 23


def test_the_losses_of_single_rows_may_jump(tmp_path: Path) -> None:
    """The losses of a real run of one row a step, from where it was resumed: all is well."""
    play = Play(tmp_path, total=60)
    for step in range(60):
        play.step(loss=(0.2, 0.31, 0.8, 2.628, 0.5)[step % 5])
    assert play.state.global_step == 60


def test_a_loss_around_zero_means_nothing(tmp_path: Path) -> None:
    """That of policy methods begins at 0."""
    play = Play(tmp_path, total=30)
    for step in range(30):
        play.step(loss=0.01 * step)
    assert play.state.global_step == 30


def test_a_dry_run_saves_nothing(tmp_path: Path) -> None:
    play = Play(tmp_path, total=3, dry=True)
    for _ in range(3):
        play.step()
    assert play.saved == []
    assert len(play.reporter.step_times) == 3

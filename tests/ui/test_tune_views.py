"""Plans before a run."""

from __future__ import annotations

from tests.ui.run_status import status
from ui import tune_views


def test_steps_are_told_before_a_run() -> None:
    params = {
        "max_steps": None, "max_rows": 0, "eval_rows": 16, "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1, "num_train_epochs": 3.0,
    }  # fmt: skip
    assert tune_views.steps(params, 504) == 183
    assert tune_views.steps(params, 2) == 3
    assert tune_views.steps(params | {"max_steps": 7}, 504) == 7
    assert tune_views.steps(params, None) == 0


def test_the_pace_is_that_of_a_finished_run_with_the_same_settings() -> None:
    other = status(state="finished", step=10, started=1.0, ended=99.0) | {"params": {"model": "other"}}
    mine = status(state="finished", step=10, started=1.0, ended=21.0)
    assert tune_views.pace([other, status(), mine], mine["params"]) == 2.0
    assert tune_views.pace([other, status()], mine["params"]) is None

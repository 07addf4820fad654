from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.recipes import METHODS, preflight
from backend.recipes.params import check

GB = 1_000_000_000


def ask(tiny: Path, recipe: str = "sft", memory: int = 64 * GB, disk: int = 64 * GB, **more: Any) -> dict[str, Any]:
    method = METHODS[recipe]
    seen = {name: more.pop(name) for name in ("pace", "measured") if name in more}
    params = check(method.params, {"model": str(tiny)} | more)
    return preflight.estimate(recipe, params, method.wants, tiny, preflight.Place(memory, disk, 2), **seen)


def test_what_fits_is_said_to_fit(tiny: Path) -> None:
    found = ask(tiny)
    assert found["verdict"]["level"] == "ok"
    assert found["verdict"]["text"].endswith("64.0 GB are free: it fits.")
    assert found["fixes"] == []
    assert found["time"] == {"steps": 61, "seconds_per_step": None, "seconds": None}
    assert 0 < found["memory"]["needed"] == found["memory"]["parts"]["total"] < GB
    json.dumps(found)


def test_several_processes_take_fewer_steps(tiny: Path) -> None:
    params = check(METHODS["sft"].params, {"model": str(tiny)})
    place = preflight.Place(GB, GB, 2, processes=4)
    assert preflight.estimate("sft", params, METHODS["sft"].wants, tiny, place)["time"]["steps"] == 16  # 61 of one


def test_what_does_not_fit_comes_with_what_would_help(tiny: Path) -> None:
    asked = {"adapter": "full", "per_device_train_batch_size": 1024, "dataset": "sample/preferences"}
    found = ask(tiny, "orpo", memory=GB, **asked)
    assert found["verdict"]["level"] == "no"
    changes = {name: value for fix in found["fixes"] for name, value in fix["set"].items()}
    assert changes["per_device_train_batch_size"] == 512
    assert changes["gradient_accumulation_steps"] == 2
    for fix in found["fixes"]:
        assert fix["needed"] < found["memory"]["needed"]
        after = ask(tiny, "orpo", memory=GB, **asked | fix["set"])
        assert after["memory"]["needed"] == fix["needed"], "a fix does what it says"


def test_a_full_disk(tiny: Path) -> None:
    assert "of disk" in ask(tiny, disk=1)["verdict"]["text"]


def test_what_was_measured_counts_more(tiny: Path) -> None:
    found = ask(tiny, measured=3 * GB, pace=0.5, max_steps=100)
    assert found["memory"]["needed"] == 3 * GB
    assert found["verdict"]["text"] == "It took 3.0 GB of memory, and 64.0 GB are free: it fits."
    assert found["time"]["seconds"] == 50


def test_steps_are_counted_as_the_trainer_does(tiny: Path) -> None:
    assert ask(tiny, max_rows=100, eval_rows=20, num_train_epochs=3)["time"]["steps"] == 30
    assert ask(tiny, "grpo", max_rows=100, eval_rows=20)["time"]["steps"] == 40


def test_a_pair_is_two_rows_for_kto(tiny: Path) -> None:
    pairs = {"dataset": "sample/preferences", "eval_rows": 20, "per_device_train_batch_size": 8}
    assert ask(tiny, "dpo", max_rows=100, **pairs)["time"]["steps"] == 10
    assert ask(tiny, "kto", max_rows=100, **pairs)["time"]["steps"] == 23
    assert ask(tiny, "kto", max_rows=100, pick_rows="random", **pairs)["time"]["steps"] == 10
    every = ask(tiny, "dpo", **pairs | {"eval_rows": 0})["time"]["steps"]
    assert ask(tiny, "kto", **pairs | {"eval_rows": 0})["time"]["steps"] in (2 * every, 2 * every - 1)


def test_a_model_that_is_not_here(tiny: Path) -> None:
    params = check(METHODS["sft"].params, {"model": "owner/name"})
    found = preflight.estimate("sft", params, METHODS["sft"].wants, None, preflight.Place(GB, GB, 2))
    assert found["verdict"]["level"] == "unknown"
    assert found["time"]["steps"] == 61

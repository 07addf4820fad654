from __future__ import annotations

from pathlib import Path

from backend.jobs import Job, Run
from backend.lineage import related, sources


def run(name: str, created: float, parent: str = "", **params: str) -> Run:
    return Run(name, Job("sft", dict(params), "local", "ann"), Path(name), created, parent)


def test_what_led_to_a_run_and_what_came_of_it() -> None:
    sft, reward = run("sft", 1), run("rew", 2)
    ppo = run("ppo", 3, start_from="run/sft", reward="run/rew", model="owner/run")
    clone, other = run("clone", 4, "ppo"), run("other", 5, "gone")
    every = [other, clone, ppo, reward, sft]
    assert [(one.id, why) for one, why in related(ppo, every)] == [
        ("sft", {}), ("rew", {}), ("ppo", {"sft": "start_from", "rew": "reward"}), ("clone", {"ppo": "clone"}),
    ]  # fmt: skip
    assert [one.id for one, _ in related(sft, every)] == ["sft", "ppo", "clone"]  # not what else the child was made of
    assert related(other, every) == [(other, {})]
    assert related(sft, []) == [(sft, {})]


def test_a_circle_has_an_end() -> None:
    one, two = run("one", 1, "two"), run("two", 2, "one")
    assert [run.id for run, _ in related(one, [one, two])] == ["one", "two"]
    assert sources(one) == {"two": "clone"}

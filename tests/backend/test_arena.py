"""Blind choices between stored answers: sides that change, choosing again, ratings, votes that Tune takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.errors import BadInput, NotYours
from backend.jobs import Job, Run
from backend.lab import Lab
from tests.backend.recipes.test_judge import evaluation
from tests.ui.scripted import lab as scripted


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def answered(lab: Lab, rows: int = 12, models: int = 2) -> Run:
    run = lab.store.add(Job("evaluate", {}, "fake", "ann"), {})
    said = [
        [f"{'best' if model == models - 1 else f'worse{model}'} {n}" for n in range(rows)] for model in range(models)
    ]
    evaluation(run.folder, said)
    return run


def test_choosing_by_sight_rates_the_better_one_higher(lab: Lab) -> None:
    run = answered(lab)
    pair, sides = lab.arena.next(run.id, "ann"), set()
    while "prompt" in pair:
        side = "left" if pair["left"].startswith("best") else "right"
        sides.add(side)
        pair = lab.arena.choose(run.id, "ann", pair["place"], side)
    assert sides == {"left", "right"}  # it is blind: the better one is on both sides
    assert (pair["done"], pair["total"]) == (12, 12)
    told = lab.arena.standing(run.id, "ann")
    assert [one["model"] for one in told["ratings"]] == ["model 1", "model 0"]
    assert told["ratings"][0]["low"] > told["ratings"][1]["high"]
    assert (told["ratings"][0]["wins"], told["n"]) == (12, 12)
    rows = [json.loads(line) for line in lab.votes.text("ann").splitlines()]
    assert {row["chosen"][0]["content"].split()[0] for row in rows} == {"best"}
    assert lab.look(told["dataset"], "ann", "dpo")["problem"] is None


def test_a_choice_can_be_made_again(lab: Lab) -> None:
    run = answered(lab, 3)
    first = lab.arena.next(run.id, "ann")
    lab.arena.choose(run.id, "ann", first["place"], "left")
    again = lab.arena.next(run.id, "ann", first["place"])
    assert (again["left"], again["chosen"]) == (first["left"], "left")
    lab.arena.choose(run.id, "ann", first["place"], "tie")
    told = lab.arena.standing(run.id, "ann")
    assert (told["n"], told["ratings"][0]["ties"]) == (1, 1)
    assert lab.votes.counts("ann") == {"a": 0, "b": 0, "tie": 1, "neither": 0}


def test_three_models_meet_early(lab: Lab) -> None:
    run = answered(lab, 4, 3)
    met, pair = set(), lab.arena.next(run.id, "ann")
    for _ in range(3):
        met.add(frozenset((pair["left"].split()[0], pair["right"].split()[0])))
        pair = lab.arena.choose(run.id, "ann", pair["place"], "neither")
    assert len(met) == 3
    assert lab.arena.standing(run.id, "ann")["neither"] == 3


def test_what_can_not_be_chosen(lab: Lab) -> None:
    run = answered(lab, 2)
    with pytest.raises(BadInput, match="choice 'best' is unknown"):
        lab.arena.choose(run.id, "ann", 0, "best")
    with pytest.raises(BadInput, match="place is 9"):
        lab.arena.choose(run.id, "ann", 9, "left")
    with pytest.raises(NotYours):
        lab.arena.next(run.id, "bob")
    same = lab.store.add(Job("evaluate", {}, "fake", "ann"), {})
    evaluation(same.folder, [["a"], ["a"]])
    with pytest.raises(BadInput, match="All answers are the same"):
        lab.arena.next(same.id, "ann")


def test_prompts_of_ones_own_are_a_dataset(lab: Lab, tmp_path: Path) -> None:
    name = lab.arena.prompts("Hello?\n\n What now? \n", "ann", tmp_path)
    rows = [json.loads(line) for line in Path(lab.catalog.dataset(name, "ann")).read_text().splitlines()]
    assert [row["prompt"][0]["content"] for row in rows] == ["Hello?", "What now?"]
    with pytest.raises(BadInput, match="There are 0 prompts"):
        lab.arena.prompts(" \n", "ann", tmp_path)

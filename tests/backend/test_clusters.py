"""Groups of errors: two topics are told apart, with their words and how much of each goes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backend.clusters import Clusters
from backend.engines.client import EngineProcess
from backend.engines.tasks import TASKS
from backend.errors import BadInput
from backend.jobs import Job, Run
from backend.lab import Lab
from backend.recipes import evaluate, scoring
from backend.recipes.params import check
from backend.recipes.questions import Question
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake
from tests.ui.scripted import lab as scripted

TOPICS = ("How many coins make eleven pounds?", "Which river crosses Vienna city?")


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def embed(texts: Sequence[str], owner: str) -> list[list[float]]:
    """Two directions, by the words."""
    return [[1.0, 0.01 * n] if "coins" in text else [0.01 * n, 1.0] for n, text in enumerate(texts)]


def measured(lab: Lab, wrong: Sequence[int] = (10, 4), topics: Sequence[Sequence[str]] = TOPICS) -> Run:
    """20 rows of each topic, of which so many are wrong; a topic is a text or some that take turns."""
    run = lab.store.add(Job("evaluate", {}, "fake", "ann"), {})
    asked, rows = [], []
    for topic, bad in zip(topics, wrong, strict=True):
        for n in range(20):
            said = topic if isinstance(topic, str) else topic[n % len(topic)]
            asked.append(Question(len(asked) + 1, f"{said} {n}", "yes"))
            rows.append({"answer": "no" if n < bad else "yes", "tokens": 1 + n, "seconds": 0.1})
    told = scoring.score(["exact_match", "length", "latency"], asked, [rows], [{"name": "m", "place": ""}])
    told |= {"dataset": "d", "unasked": [], "at": 1.0}
    evaluate._keep_table(asked, [rows], told, run.folder)
    (run.folder / "results.json").write_text(json.dumps(told))
    return run


def test_topics_are_told_apart(lab: Lab) -> None:
    run = measured(lab)
    found = Clusters(lab.evaluations, embed).of(run.id, "ann", "exact_match")
    assert [(one["errors"], one["rows"], one["share"]) for one in found] == [(10, 20, 0.5), (4, 20, 0.2)]
    assert "coins" in found[0]["words"]
    assert "vienna" in found[1]["words"]
    assert found[1]["of"] == [21, 22, 23, 24]
    assert found[0]["low"] < 0.5 < found[0]["high"]
    rows = lab.evaluations.rows(run.id, "ann", "exact_match", numbers=found[1]["of"])
    assert [row["row"] for row in rows["rows"]] == [21, 22, 23, 24]


def test_they_are_found_once(lab: Lab) -> None:
    run, asked = measured(lab), []

    def counted(texts: Sequence[str], owner: str) -> list[list[float]]:
        asked.append(len(texts))
        return embed(texts, owner)

    clusters = Clusters(lab.evaluations, counted)
    first = clusters.of(run.id, "ann", "exact_match")
    assert clusters.of(run.id, "ann", "exact_match") == first
    assert asked == [40]


@pytest.mark.parametrize(
    ("wrong", "figure", "words"),
    [((3, 2), "exact_match", "5 rows went wrong"), ((10, 4), "length", "says of no row"), ((9, 9), "no", "says of no")],
)
def test_what_has_no_groups(lab: Lab, wrong: Any, figure: str, words: str) -> None:
    run = measured(lab, wrong)
    with pytest.raises(BadInput, match=words):
        Clusters(lab.evaluations, embed).of(run.id, "ann", figure)


def test_the_lab_asks_the_engine_a_few_texts_at_a_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend import events as ev

    asked: list[int] = []

    def stream(engine: str, request: dict[str, Any], owner: str) -> Any:
        check(TASKS[engine].params, {**request, "model": "a"})  # it is a task, which takes so many
        asked.append(len(request["texts"]))
        yield ev.Finished(values={"vectors": embed(request["texts"], owner)})

    monkeypatch.setattr(lab, "stream", stream)
    assert len(lab.clusters.of(measured(lab).id, "ann", "exact_match")) == 2
    assert asked == [20, 20]


KITCHEN = (
    "How long does an egg boil?", "Which herb goes with lamb?", "How is rice kept from sticking?",
    "What makes bread rise?", "How hot is a slow oven?",
)  # fmt: skip
LAW = (
    "Who may sign a contract?", "When does a lease end?", "What must a court prove?",
    "How is a will contested?", "Who pays the fine of a minor?",
)  # fmt: skip


@pytest.mark.long
def test_the_real_embedder_tells_topics_apart_that_share_no_word(home: Path) -> None:
    """Also where a Space's owner allows no other model and only short answers."""
    env = {"ATELIER_HOME": str(home), "ATELIER_MODELS": "Qwen/*", "ATELIER_ANSWER_TOKENS": "8", "SPACE_ID": "ann/a"}
    settings = Settings.read(env)
    engine = EngineProcess(env=settings.child_env)
    lab = Lab(settings, Store(settings.home), [Fake()], engine)
    try:
        found = lab.clusters.of(measured(lab, (12, 9), (KITCHEN, LAW)).id, "ann", "exact_match")
    finally:
        engine.stop()
    assert sum(one["errors"] for one in found) == 21
    assert sum(one["rows"] for one in found) == 40
    for one in found:
        assert len({number <= 20 for number in one["of"]}) == 1, "no group has errors of both topics"

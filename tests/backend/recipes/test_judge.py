"""A judge with swapped places: what is a verdict, agreement, nonsense, ratings, rows for DPO, resuming."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.errors import BadInput
from backend.recipes import judge, process, questions
from backend.recipes.params import check
from backend.recipes.questions import Asked, Question

SAID = (["Paris", "Rome", "Oslo", "same"], ["It is Paris, I think", "Milan", "Bergen", "same"])


def evaluation(folder: Path, said: Sequence[Sequence[str]] = SAID) -> Path:
    """What an evaluation of two models leaves."""
    (folder / "answers").mkdir(parents=True)
    asked = [
        Question(n, [{"role": "user", "content": f"Capital {n}?"}], f"ref {n}") for n in range(1, len(said[0]) + 1)
    ]
    questions.keep(Asked(asked, []), folder)
    for model, answers in enumerate(said):
        lines = [json.dumps({"row": n, "answer": one}) + "\n" for n, one in enumerate(answers, 1)]
        (folder / "answers" / f"{model}.answers.jsonl").write_text("".join(lines))
    names = [{"name": f"model {n}"} for n in range(len(said))]
    (folder / "results.json").write_text(json.dumps({"models": names}))
    return folder


class Judge:
    """Answers as `says(first answer, second answer)` has it."""

    def __init__(self, says: Any) -> None:
        self.says = says
        self.asked = 0

    def __call__(self, *_: Any) -> Judge:
        return self

    def answers(self, prompts: Sequence[Any], longest: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        for place, prompt in enumerate(prompts):
            self.asked += 1
            text = prompt[0]["content"]
            first = text.partition("Answer A:\n")[2].partition("\n")[0]
            second = text.partition("Answer B:\n")[2].partition("\n")[0]
            yield [(place, {"answer": self.says(first, second)})]

    def close(self) -> None:
        """It holds nothing."""


def judged(capsys: Any, monkeypatch: Any, folder: Path, says: Any, **values: Any) -> tuple[list[ev.Event], dict, Judge]:
    one = Judge(says)
    monkeypatch.setattr(judge, "Answerer", one)
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps(values))
    process.main(judge.Params, judge.run, [str(folder / "params.json")])
    events = [ev.parse(line) for line in capsys.readouterr().out.splitlines() if line.startswith(ev.MARK)]
    told = folder / judge.RESULTS
    return events, json.loads(told.read_text()) if told.exists() else {}, one


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("A", "a"), ("b.", "b"), ("**B**", "b"), ("Answer: A", "a"), ("The better answer is B.", "b"), ("C", "tie"),
        ("Tie", "tie"), ("Both are good", "tie"), ("A is better because …", "a"), ("I say answer B is better", "b"),
        ("A good question!", "nonsense"), ("", "nonsense"), ("Paris", "nonsense"), ("12", "nonsense"),
        ("Banana", "nonsense"),
        ("A, B, or C", "nonsense"), ("A or B", "nonsense"), ("A/B/C", "nonsense"), ("Answer A, B", "nonsense"),
        ("A and B are equally good.", "tie"), ("A, because B is wrong", "a"), ("A. B is wrong.", "a"),
    ],
)  # fmt: skip
def test_what_is_a_verdict(said: str, found: str) -> None:
    assert judge.verdict(said, 0) == found
    assert judge.verdict(said, 1) == {"a": "b", "b": "a"}.get(found, found)


def test_one_that_likes_what_is_short(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    run = evaluation(tmp_path / "ab12")
    said = lambda first, second: "A" if len(first) < len(second) else "B"  # noqa: E731
    events, told, one = judged(capsys, monkeypatch, tmp_path / "judge", said, answers=str(run))
    assert isinstance(events[-1], ev.Finished), events[-1]
    assert one.asked == 6  # three rows twice; the same text is a tie unasked
    (pair,) = told["pairs"]
    assert (pair["wins"], pair["ties"], pair["losses"], pair["nonsense"]) == (0, 1, 3, 0)
    assert told["agreement"]["value"] == 1.0
    assert told["first"] == pytest.approx(told["first"] | {"value": 0.5, "n": 6})
    assert told["ratings"][0]["rating"] > told["ratings"][1]["rating"]
    assert told["of"] == "ab12"
    rows = [json.loads(line) for line in (tmp_path / "judge" / judge.ROWS).read_text().splitlines()]
    assert [row["chosen"][0]["content"] for row in rows] == ["Paris", "Rome", "Oslo"]
    from backend.recipes import RECIPES, data

    made = data.read(check(RECIPES["dpo"].params, {"dataset": str(tmp_path / "judge" / judge.ROWS)}), ("preference",))
    assert len(made.dataset()) == 3


def test_one_that_always_takes_the_first_decides_nothing(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    run = evaluation(tmp_path / "ab12")
    _, told, _ = judged(capsys, monkeypatch, tmp_path / "judge", lambda *_: "A", answers=str(run))
    assert told["agreement"]["value"] == 0.0
    assert told["first"]["value"] == 1.0
    assert told["pairs"][0]["ties"] == 4
    assert told["pairs"][0]["verdict"] == "Can't tell: no pair was decided in both orders, n = 4."
    assert (tmp_path / "judge" / judge.ROWS).read_text() == ""


def test_nonsense_is_counted_as_such(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    run = evaluation(tmp_path / "ab12")
    said = lambda first, second: "B" if "Paris" in (first, second) and first != "Paris" else "Hm?"  # noqa: E731
    events, told, _ = judged(capsys, monkeypatch, tmp_path / "judge", said, answers=str(run))
    assert isinstance(events[-1], ev.Finished)
    assert (told["nonsense"], told["asked"]) == (5, 6)
    assert told["pairs"][0]["nonsense"] == 3
    assert told["agreement"] == {"value": None, "low": None, "high": None, "n": 0}
    assert told["cases"][0]["verdict"] == "nonsense"


def test_what_was_judged_is_not_asked_again(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    run = evaluation(tmp_path / "ab12")
    folder = tmp_path / "judge"
    _, whole, _ = judged(capsys, monkeypatch, folder, lambda *_: "A", answers=str(run))
    lines = (folder / judge.LINES).read_text().splitlines()
    (folder / judge.LINES).write_text("\n".join(lines[:4]) + '\n{"row": 9, "a')
    _, told, one = judged(capsys, monkeypatch, folder, lambda *_: "A", answers=str(run))
    assert one.asked == 2
    assert told["pairs"] == whole["pairs"]


def test_what_can_not_be_judged_is_said_before_the_run(tmp_path: Path) -> None:
    def preflight(folder: Path) -> None:
        judge.preflight(check(judge.Params, {"answers": str(folder)}))

    with pytest.raises(BadInput, match="has no results"):
        preflight(tmp_path)
    with pytest.raises(BadInput, match="asked one model"):
        preflight(evaluation(tmp_path / "one", SAID[:1]))
    with pytest.raises(BadInput, match="no row with two answers"):
        preflight(evaluation(tmp_path / "none", [["a", ""], ["", "b"]]))


def test_a_real_model_judges(capsys: Any, tmp_path: Path) -> None:
    from tests.tiny import tiny_model

    run = evaluation(tmp_path / "ab12", [["a", "b"], ["c", "d"]])
    folder = tmp_path / "judge"
    folder.mkdir()
    tiny = str(tiny_model(tmp_path / "tiny"))
    values = {"answers": str(run), "judge": tiny, "criteria": "?", "reference": False, "max_new_tokens": 2}
    (folder / "params.json").write_text(json.dumps(values))
    process.main(judge.Params, judge.run, [str(folder / "params.json")])
    assert isinstance(ev.parse(capsys.readouterr().out.splitlines()[-1]), ev.Finished)
    assert json.loads((folder / judge.RESULTS).read_text())["asked"] == 4

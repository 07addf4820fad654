"""The sample data: what its script makes, in strict forms, with an evaluation set that is new to the learner."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from backend.starter import facts, samples

NAMES = ("instructions", "preferences", "evaluation")
CHOICES = {
    "continent": {"Africa", "Asia", "Europe", "North America", "South America", "Oceania"},
    "animal": set(facts.ANIMALS),
    "sentiment": {"positive", "negative"},
}
FORMS = {
    "capital": r"[A-Z][a-z]+([ -][A-Za-z][a-z]+)*",
    "continent": r"[A-Z][a-z]+( [A-Z][a-z]+)?",
    "opposite": r"[a-z]+",
    "plural": r"[a-z]+",
    "past": r"[a-z]+",
    "animal": r"[a-z]+",
    "sentiment": r"positive|negative",
    "person": r"[a-z]+|[A-Z][a-z]+|\d\d",
    "surname": r"[A-Z][a-z]+, [A-Z][a-z]+",
    "date": r"(19|20)\d\d-(0[1-9]|1[0-2])-[0-3]\d",
    "clock": r"[0-2]\d:[0-5]\d",
    "price": r"[$€£]\d{1,2}\.\d\d",
    "number": r"\d{2,3}",
}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (samples.DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def text(row: dict[str, Any]) -> str:
    """All that a learner reads of a row."""
    return "\n".join(m["content"] for key, value in row.items() if key != "topic" for m in value)


def question(row: dict[str, Any]) -> str:
    return str(row["prompt"][0]["content"])


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    for path in samples.write(tmp_path):
        assert path.read_bytes() == (samples.DATA / path.name).read_bytes(), "run `python -m backend.starter.samples`"


@pytest.mark.parametrize(("name", "least"), [("instructions", 300), ("preferences", 300), ("evaluation", 150)])
def test_size_and_card(name: str, least: int) -> None:
    count = len(rows(name))
    assert count >= least
    card = (samples.DATA / f"{name}.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc0-1.0\n")
    assert re.search(rf"^{count} questions", card, re.MULTILINE)


def test_the_card_tells_the_topics() -> None:
    card = (samples.DATA / "instructions.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\w+) \| (\d+) \|", card, re.MULTILINE))
    assert told == {topic: str(n) for topic, n in Counter(row["topic"] for row in rows("instructions")).items()}


@pytest.mark.parametrize("name", ["instructions", "evaluation"])
def test_instruction_rows_are_conversational_and_strict(name: str) -> None:
    for row in rows(name):
        assert list(row) == ["prompt", "completion", "topic"]
        assert [m["role"] for m in row["prompt"] + row["completion"]] == ["user", "assistant"]
        answer = row["completion"][0]["content"]
        assert re.fullmatch(FORMS[row["topic"]], answer), row
        assert answer in CHOICES.get(row["topic"], {answer}), row


def test_preferences_choose_the_short_form_of_the_same_answer() -> None:
    forms = re.compile("|".join(f"(?:{form})" for form in FORMS.values()))
    for row in rows("preferences"):
        assert list(row) == ["prompt", "chosen", "rejected"]
        assert [m["role"] for m in row["prompt"] + row["chosen"] + row["rejected"]] == [
            "user",
            "assistant",
            "assistant",
        ]
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert forms.fullmatch(chosen), row
        assert chosen in rejected, row
        assert not forms.fullmatch(rejected), row


@pytest.mark.parametrize("name", NAMES)
def test_no_question_twice(name: str) -> None:
    asked = Counter(question(row) for row in rows(name))
    assert [q for q, n in asked.items() if n > 1] == []


def test_evaluation_is_new_to_the_learner() -> None:
    """No name that a held-out question is about stands anywhere in what is learnt from, nor does its open answer."""
    _, held_out = samples.split()
    assert sorted(row.question for row in held_out) == sorted(question(row) for row in rows("evaluation"))
    assert all(row.fact.about[0].lower() in row.question.lower() for row in held_out)
    learnt = "\n".join(text(row) for row in rows("instructions") + rows("preferences"))
    for row in held_out:
        open_answer = row.topic not in CHOICES and not row.fact.answer.isdigit() and row.topic != "clock"
        for name in {*row.fact.about, *([row.fact.answer] if open_answer else [])}:
            seen = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", learnt, re.IGNORECASE)
            assert not seen, f"{name!r} of {row.question!r} is in the training data"


def test_evaluation_has_the_topics_and_wordings_of_training() -> None:
    assert {row["topic"] for row in rows("evaluation")} == {row["topic"] for row in rows("instructions")} == set(FORMS)


def test_mentions_finds_whole_words_only() -> None:
    found = samples.mentions(["Niger", "cold", "forty-seven", "$5.20", "3:15 pm"])
    for whole in ("Niger", "COLD.", "two hundred and forty-seven", "for $5.20", "at 3:15 pm?"):
        assert found.search(whole), whole
    for part in ("Nigeria", "colder", "ice-cold", "$5.201", "13:15 pm"):
        assert not found.search(part), part


def test_rules_are_right() -> None:
    """The answers made by rule, worked out again in another way."""
    from datetime import datetime

    for row in rows("instructions") + rows("evaluation"):
        asked, answer = question(row), row["completion"][0]["content"]
        if row["topic"] == "date":
            said = re.search(r"\d+ [A-Z]\w+ \d{4}|[A-Z]\w+ \d+, \d{4}", asked)
            assert said
            form = "%B %d, %Y" if "," in said[0] else "%d %B %Y"
            assert datetime.strptime(said[0], form).date().isoformat() == answer
        elif row["topic"] == "clock":
            said = re.search(r"\d+:\d\d [ap]m", asked)
            assert said
            assert datetime.strptime(said[0], "%I:%M %p").strftime("%H:%M") == answer
        elif row["topic"] == "price":
            whole, cents = re.findall(r"\d+", asked)
            sign = {"dollars": "$", "euros": "€", "pounds": "£"}[re.findall("dollars|euros|pounds", asked)[0]]
            assert f"{sign}{int(whole) + int(cents) / 100:.2f}" == answer
        elif row["topic"] == "person":
            assert answer in asked

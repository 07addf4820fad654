"""The forgetting suite: what its script makes, rows that can be passed and failed, and nothing that the samples ask."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from backend.starter import forgetting, samples

ROWS = [json.loads(line) for line in forgetting.DATA.read_text(encoding="utf-8").splitlines()]


def test_the_file_is_what_the_script_makes(tmp_path: Path) -> None:
    made = forgetting.write(tmp_path / "made.jsonl").read_bytes()
    assert made == forgetting.DATA.read_bytes(), "run `python -m backend.starter.forgetting`"


def test_four_parts_of_as_many_rows_and_no_question_twice() -> None:
    assert Counter(row["topic"] for row in ROWS) == dict.fromkeys(forgetting.PARTS, forgetting.EACH)
    assert len(ROWS) == len({row["prompt"][0]["content"] for row in ROWS}) >= 200
    card = forgetting.DATA.with_suffix(".md").read_text(encoding="utf-8")
    assert re.search(rf"^{len(ROWS)} questions", card, re.MULTILINE)


def test_every_answer_passes_and_repeating_the_question_or_saying_nothing_does_not() -> None:
    for row in ROWS:
        answer, asked = row["completion"][0]["content"], row["prompt"][0]["content"]
        assert re.search(row["pattern"], answer), row
        assert not re.search(row["pattern"], ""), row
        if row["topic"] in ("knowledge", "arithmetic"):
            assert not re.search(row["pattern"], asked), row


@pytest.mark.parametrize(
    ("question", "answer", "passes"),
    [
        ("Is fire hot?", "Yes.", True),
        ("Is fire hot?", "Yes, fire is hot.", False),
        ("In which city is the Eiffel Tower?", "The Eiffel Tower is in Paris, France.", True),
        ("In which city is the Eiffel Tower?", "It is in Parisland.", False),
        ("Count from 1 to 3.", "1, 2, 3", True),
        ("Count from 1 to 3.", "1, 2, 3, 4, 5", False),
        ("Name two fruits", "Apple, pear", True),
        ("Name two fruits", "Sure! Here are two fruits: apple, pear", False),
    ],
)
def test_what_passes(question: str, answer: str, passes: bool) -> None:
    (row,) = [row for row in ROWS if question in row["prompt"][0]["content"]]
    assert (re.search(row["pattern"], answer) is not None) is passes


def test_arithmetic_is_right() -> None:
    words = {"plus": "+", "minus": "-", "times": "*", "×": "*"}
    for row in ROWS:
        if row["topic"] == "arithmetic":
            asked = re.sub("plus|minus|times|×", lambda m: words[m[0]], row["prompt"][0]["content"])
            sum_of = re.search(r"\d+ [-+*] \d+", asked)
            assert sum_of
            assert str(eval(sum_of[0])) == row["completion"][0]["content"]
            assert re.search(row["pattern"], f"{sum_of[0]} is {row['completion'][0]['content']}."), row


def test_it_asks_nothing_that_the_samples_teach() -> None:
    taught = {row["prompt"][0]["content"] for rows in samples.build().values() for row in rows}
    assert not taught & {row["prompt"][0]["content"] for row in ROWS}

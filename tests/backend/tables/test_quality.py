from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.errors import BadInput
from backend.tables import quality
from backend.tables.pages import rows
from backend.tables.quality import Finding, luhn
from backend.tables.table import Table

LONG = (
    "The quick brown fox jumps over the lazy dog while the sun goes down behind the hills of the old country road, "
    "and nobody who lives along it looks up from the table where bread, butter and a jar of plum jam are waiting"
)
TEXTS = [
    LONG,
    LONG.upper() + "  ",  # the same, to the eye
    LONG.replace("lazy", "sleepy"),  # nearly
    "",
    None,
    "  ",
    "ab",
    "x" * 20_001,
    "Write to ann.b+c@mail.example.org today",
    "Call +49 30 901820 or (030) 555-1234",
    "My card is 4111 1111 1111 1111, thanks",
    "Not a card: 4111 1111 1111 1112",
    "token hf_abcdefghijklmnopqrstuvwx",
    "Le chat est assis sur la chaise devant la maison de mon ami",
    "The weather is nice today and we all went to the park together",
    "It was the best of times and it was the worst of times as well",
]


@pytest.fixture
def table(make: Callable[..., Table]) -> Table:
    return make(text=TEXTS)


def found(findings: list[Finding]) -> dict[str, list[int]]:
    return {finding.check: list(finding.sample) for finding in findings}


def test_finds_what_was_planted(table: Table) -> None:
    findings = quality.check(table, "text")
    assert found(findings) == {
        "empty": [3, 4, 5],
        "short": [6],
        "long": [7],
        "exact": [1],
        "near": [2],
        "language": [13],
        "email": [8],
        "phone": [9],
        "card": [10],
        "key": [12],
    }
    for finding in findings:
        assert finding.count == len(finding.sample)
        assert rows(table, filters=finding.filters)["numbers"] == list(finding.sample), finding.check
    assert next(f for f in findings if f.check == "language").detail["languages"]["fr"] == 1


def test_clean_data_has_nothing_to_show(make: Callable[..., Table]) -> None:
    clean = make(text=["A first sentence about the weather", "Another one about the price of bread"])
    assert {(f.check, f.count) for f in quality.check(clean, "text")} == {
        (c, 0) for c in quality.CHECKS if c != "leaks"
    }


def test_leaks_between_two_tables(make: Callable[..., Table]) -> None:
    train = make(name="train", text=[LONG, "Something else entirely, which nobody else says", "short"])
    test = make(name="test", text=["unrelated words here in a row", LONG.replace("lazy", "sleepy"), "Short "])
    (finding,) = quality.check(test, "text", ["leaks"], other=train)
    assert (finding.sample, finding.detail["exact"]) == ((1, 2), 1)
    assert [1, 0] in finding.detail["pairs"]


def test_chats_are_checked_by_what_was_said(make: Callable[..., Table]) -> None:
    table = make(chat=[[{"role": "user", "content": text}] for text in (LONG, LONG, "write to a@b.co")])
    assert found(quality.check(table, "chat", ["exact", "email"])) == {"exact": [1], "email": [2]}


def test_a_part_is_a_part(make: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "PART", 2)
    table = make(text=["same words again", "other words", "same words again"])
    (part,) = quality.check(table, "text", ["exact"])
    (whole,) = quality.check(table, "text", ["exact"], whole=True)
    assert [(f.count, f.looked_at) for f in (part, whole)] == [(0, 2), (1, 3)]


def test_an_unknown_check(table: Table) -> None:
    with pytest.raises(BadInput, match="no check 'spelling'"):
        quality.check(table, "text", ["spelling"])


@pytest.mark.parametrize(
    ("number", "holds"), [("4111111111111111", True), ("4111111111111112", False), ("0" * 16, False)]
)
def test_check_digits(number: str, holds: bool) -> None:
    assert luhn(number) is holds

"""Builds the sample data from `facts.py`. Run `python -m backend.starter.samples` to write the files again.

Every topic has one strict short form for its answers: the bare answer, nothing before or after it. The facts of a
topic are shuffled with a fixed seed and cut in two; training and preferences use one part, evaluation the other,
and a training fact that so much as mentions a held-out name is dropped.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from backend.starter import facts

DATA = Path(__file__).parent / "data"
SEED = 20
PREFERENCES = 360

# What a preference turns down: the right answer, in any form but the short one.
WRONG_FORMS = (
    "{says}",
    "{says} Is there anything else?",
    "Great question! {says}",
    "The answer is {answer}.",
    "Answer: {answer}",
    "**{answer}**",
    "{answer}. I hope this helps!",
)

Draw = Iterator["Fact"]


@dataclass(frozen=True)
class Fact:
    """One question with its short answer.

    `x` fills the topic's wordings, `says` is the same answer as a whole sentence, and `about` lists the names that
    must never be seen in training if this fact is held out.
    """

    x: str
    answer: str
    says: str
    about: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """A kind of question: `form` describes its answers, `train` and `held_out` count its facts."""

    form: str
    wordings: tuple[str, ...]
    train: int
    held_out: int
    draw: Callable[[random.Random], Draw]


def capital(rng: random.Random) -> Draw:
    for country, (city, _) in _shuffled(rng, facts.COUNTRIES.items()):
        yield Fact(country, city, f"The capital of {country} is {city}.", (country, city))


def continent(rng: random.Random) -> Draw:
    for country, (_, land) in _shuffled(rng, facts.COUNTRIES.items()):
        if land:
            yield Fact(country, land, f"{_capitalized(country)} is in {land}.", (country,))


def opposite(rng: random.Random) -> Draw:
    for word, other in _shuffled(rng, facts.OPPOSITES.items()):
        yield Fact(word, other, f'The opposite of "{word}" is "{other}".', (word, other))


def plural(rng: random.Random) -> Draw:
    for word, many in _shuffled(rng, facts.PLURALS.items()):
        yield Fact(word, many, f'The plural of "{word}" is "{many}".', (word, many))


def past(rng: random.Random) -> Draw:
    for verb, did in _shuffled(rng, facts.PAST.items()):
        yield Fact(verb, did, f'The past tense of "{verb}" is "{did}".', (verb, did))


def animal(rng: random.Random) -> Draw:
    for name, kind in _shuffled(rng, ((name, kind) for kind, names in facts.ANIMALS.items() for name in names)):
        yield Fact(_a(name), kind, f"{_capitalized(_a(name))} is {_a(kind)}.", (name,))


def sentiment(rng: random.Random) -> Draw:
    said = [(text, "positive") for text in facts.GOOD] + [(text, "negative") for text in facts.BAD]
    for text, mood in _shuffled(rng, said):
        for thing in rng.sample(facts.TRIED, 2):
            yield Fact(f"The {thing} was {text}.", mood, f"The review is {mood}.", (text,))


def person(rng: random.Random) -> Draw:
    names, jobs, cities = (_endless(rng, table) for table in (facts.FIRST_NAMES, facts.JOBS, facts.CITIES))
    for n, (name, job, city) in enumerate(zip(names, jobs, cities, strict=True)):
        age = rng.randint(19, 79)
        text = f"{name} is {age} years old, lives in {city} and works as {_a(job)}."
        if n % 3 == 0:
            yield Fact(f"{text} What is {name}'s job?", job, f"{name} works as {_a(job)}.", (name, job))
        elif n % 3 == 1:
            yield Fact(f"{text} Where does {name} live?", city, f"{name} lives in {city}.", (name, city))
        else:
            yield Fact(f"{text} How old is {name}?", str(age), f"{name} is {age} years old.", (name,))


def surname(rng: random.Random) -> Draw:
    for first, last in zip(_endless(rng, facts.FIRST_NAMES), _endless(rng, facts.LAST_NAMES), strict=True):
        yield Fact(f"{first} {last}", f"{last}, {first}", f"Surname first, it is {last}, {first}.", (first, last))


def date(rng: random.Random) -> Draw:
    while True:
        year, month, day = rng.randint(1900, 2029), rng.randint(1, 12), rng.randint(1, 28)
        name = facts.MONTHS[month - 1]
        text = rng.choice((f"{day} {name} {year}", f"{name} {day}, {year}"))
        iso = f"{year}-{month:02}-{day:02}"
        yield Fact(text, iso, f"The ISO form of {text} is {iso}.", (text, iso))


def clock(rng: random.Random) -> Draw:
    while True:
        hour, minute, half = rng.randint(1, 11), rng.randrange(0, 60, 5), rng.choice(("am", "pm"))
        text = f"{hour}:{minute:02} {half}"
        answer = f"{hour + 12 * (half == 'pm'):02}:{minute:02}"
        yield Fact(text, answer, f"In 24-hour time {text} is {answer}.", (text,))


def price(rng: random.Random) -> Draw:
    while True:
        unit = rng.choice(sorted(facts.MONEY))
        part, sign = facts.MONEY[unit]
        whole, rest = rng.randint(2, 99), rng.randint(2, 99)
        text = f"{whole} {unit} and {rest} {part}"
        answer = f"{sign}{whole}.{rest:02}"
        yield Fact(text, answer, f"Written as a price, {text} is {answer}.", (text, answer))


def number(rng: random.Random) -> Draw:
    while True:
        tens, one, hundred = rng.choice(sorted(facts.TENS)), rng.randint(1, 9), rng.choice((0, rng.randint(1, 9)))
        text = f"{tens}-{facts.ONES[one - 1]}"
        if hundred:
            text = f"{facts.ONES[hundred - 1]} hundred and {text}"
        answer = str(100 * hundred + facts.TENS[tens] + one)
        yield Fact(text, answer, f"In digits, {text} is {answer}.", (text,))


TOPICS: dict[str, Topic] = {
    "capital": Topic("the city's name", ("What is the capital of {x}?", "Name the capital of {x}."), 48, 20, capital),
    "continent": Topic(
        "the continent's name", ("Which continent is {x} in?", "On which continent is {x}?"), 36, 14, continent
    ),
    "opposite": Topic(
        "one word in small letters", ('What is the opposite of "{x}"?', 'Give the opposite of "{x}".'), 48, 18, opposite
    ),
    "plural": Topic(
        "one word in small letters", ('What is the plural of "{x}"?', 'Give the plural of "{x}".'), 38, 16, plural
    ),
    "past": Topic(
        "one word in small letters", ('What is the past tense of "{x}"?', 'Give the past tense of "{x}".'), 38, 16, past
    ),
    "animal": Topic(
        "mammal, bird, fish, reptile or insect",
        ("What kind of animal is {x}?", "Which group of animals does {x} belong to?"),
        44,
        18,
        animal,
    ),
    "sentiment": Topic(
        "positive or negative",
        ("Is this review positive or negative? {x}", "What is the mood of this review? {x}"),
        40,
        16,
        sentiment,
    ),
    "person": Topic("the bare job, city or number", ("{x}",), 44, 18, person),
    "surname": Topic(
        "Surname, First", ("Write the name {x} with the surname first.", "Put the surname first: {x}"), 30, 14, surname
    ),
    "date": Topic("YYYY-MM-DD", ("Write {x} as an ISO date.", "What is {x} in ISO form?"), 44, 18, date),
    "clock": Topic("HH:MM", ("Write {x} in 24-hour time.", "What is {x} on a 24-hour clock?"), 32, 14, clock),
    "price": Topic("sign and amount", ("Write {x} as a price.", "How is {x} written as a price?"), 30, 12, price),
    "number": Topic("digits", ("Write {x} in digits.", "What is {x} in digits?"), 32, 14, number),
}


@dataclass(frozen=True)
class Row:
    """A fact put to words: what a line of a file is made from."""

    topic: str
    question: str
    fact: Fact

    @property
    def text(self) -> str:
        """Everything a learner could see of it."""
        return f"{self.question} {self.fact.answer} {self.fact.says}"


def build() -> dict[str, list[dict[str, Any]]]:
    """The rows of the three sets by name, the same ones every time."""
    train, held_out = split()
    rng = random.Random(SEED)
    prefer = rng.sample(train, PREFERENCES)
    return {
        "instructions": [_instruction(row) for row in train],
        "preferences": [_preference(row, rng) for row in prefer],
        "evaluation": [_instruction(row) for row in held_out],
    }


def split() -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and rows whose facts and names appear in none of them."""
    rng = random.Random(SEED)
    drawn = {name: _rows(name, topic) for name, topic in TOPICS.items()}
    held_out = [row for name, rows in drawn.items() for row in rows[: TOPICS[name].held_out]]
    # One country, word or name may serve several topics: held out in one, it stays out of training in all.
    hidden = mentions(name for row in held_out for name in row.fact.about)
    train: list[Row] = []
    for name, topic in TOPICS.items():
        seen = [row for row in drawn[name][topic.held_out :] if not hidden.search(row.text)]
        train += seen[: topic.train]
    rng.shuffle(train)
    rng.shuffle(held_out)
    return train, held_out


def mentions(names: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of the names as whole words, whatever the case."""
    longest_first = sorted(set(names), key=lambda name: (-len(name), name))
    ways = "|".join(re.escape(name) for name in longest_first)
    return re.compile(rf"(?<![\w-])(?:{ways})(?![\w-])", re.IGNORECASE)


def write(folder: Path = DATA) -> list[Path]:
    """Writes the three files to `folder` and gives back their paths."""
    paths = []
    for name, rows in build().items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        paths.append(path)
    return paths


def _rows(name: str, topic: Topic) -> list[Row]:
    """Distinct rows of one topic, more than it needs where the facts are made by rule."""
    rng = random.Random(f"{SEED} {name}")
    rows: dict[str, Row] = {}
    for fact in islice(topic.draw(rng), 10 * (topic.train + topic.held_out)):
        rows.setdefault(fact.x, Row(name, rng.choice(topic.wordings).format(x=fact.x), fact))
    return list(rows.values())


def _instruction(row: Row) -> dict[str, Any]:
    prompt, completion = _says("user", row.question), _says("assistant", row.fact.answer)
    return {"prompt": prompt, "completion": completion, "topic": row.topic}


def _preference(row: Row, rng: random.Random) -> dict[str, Any]:
    question = rng.choice(TOPICS[row.topic].wordings).format(x=row.fact.x)
    rejected = rng.choice(WRONG_FORMS).format(answer=row.fact.answer, says=row.fact.says)
    return {
        "prompt": _says("user", question),
        "chosen": _says("assistant", row.fact.answer),
        "rejected": _says("assistant", rejected),
    }


def _says(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


T = TypeVar("T")


def _shuffled(rng: random.Random, things: Iterable[T]) -> list[T]:
    table = list(things)
    rng.shuffle(table)
    return table


def _endless(rng: random.Random, things: Iterable[T]) -> Iterator[T]:
    """All the things in a random order, then all again in another."""
    table = list(things)
    while True:
        yield from _shuffled(rng, table)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


if __name__ == "__main__":
    for path in write():
        print(f"{path}: {sum(1 for _ in path.open(encoding='utf-8'))} rows")

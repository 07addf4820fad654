"""What a model should not forget while it learns. `python -m backend.starter.forgetting` writes the file again.

Four parts of 52 rows: general knowledge, arithmetic, following an instruction, language. Each row has a `pattern`: an
answer passes when it is found in it, whatever stands around, so that a model which answers in sentences is not marked
down. What `facts.py` asks of sample runs is not asked here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "forgetting.jsonl"
SEED = 7
EACH = 52

KNOWLEDGE: dict[str, str] = {
    "What planet do we live on?": "Earth",
    "Which planet is known as the Red Planet?": "Mars",
    "What is the largest planet of the solar system?": "Jupiter",
    "What star does the Earth go around?": "Sun",
    "What goes around the Earth and shines at night?": "Moon",
    "What is the chemical formula of water?": "H2O|H₂O",
    "Which gas do we need to breathe?": "oxygen",
    "What gas do plants take in for photosynthesis?": "carbon dioxide|CO2|CO₂",
    "What is frozen water called?": "ice",
    "At how many degrees Celsius does water boil at sea level?": "100",
    "How many days are there in a week?": "7|seven",
    "How many months are there in a year?": "12|twelve",
    "How many hours are there in a day?": "24|twenty-four",
    "How many minutes are there in an hour?": "60|sixty",
    "How many legs does a spider have?": "8|eight",
    "How many sides does a triangle have?": "3|three",
    "How many continents are there?": "7|seven",
    "How many letters does the English alphabet have?": "26|twenty-six",
    "What is the largest ocean on Earth?": "Pacific",
    "What is the longest river in Africa?": "Nile",
    "What is the highest mountain in the world?": "Everest",
    "In which country are the pyramids of Giza?": "Egypt",
    "In which country is the Great Wall?": "China",
    "In which city is the Eiffel Tower?": "Paris",
    "In which city is the Statue of Liberty?": "New York",
    "In which city is the Colosseum?": "Rome",
    "Who wrote Romeo and Juliet?": "Shakespeare",
    "Who painted the Mona Lisa?": "Leonardo|da Vinci",
    "Who developed the theory of relativity?": "Einstein",
    "Who was the first president of the United States?": "Washington",
    "Who was the first person to walk on the Moon?": "Armstrong",
    "Who discovered gravity, as the story of the apple goes?": "Newton",
    "Which organ pumps blood through the body?": "heart",
    "Which organ do we think with?": "brain",
    "With which organs do we breathe?": "lungs|lung",
    "What do bees make that people eat?": "honey",
    "Which animal is called the king of the jungle?": "lion",
    "What is the largest animal on Earth?": "whale",
    "What is the tallest animal in the world?": "giraffe",
    "What is a young dog called?": "pup|puppy|puppies",
    "What is a young cat called?": "kitten",
    "What do caterpillars turn into?": "butterfly|butterflies|moth|moths",
    "Which season comes after winter?": "spring",
    "Which season comes after summer?": "autumn|fall",
    "In which direction does the sun rise?": "east",
    "In which direction does the sun set?": "west",
    "Which metal is liquid at room temperature?": "mercury",
    "What is the chemical symbol of gold?": "Au",
    "What do we call the force that pulls things to the ground?": "gravity|gravitation",
    "What instrument measures temperature?": "thermometer",
    "What language is spoken in Brazil?": "Portuguese",
    "What currency is used in Japan?": "yen",
}

# English: (the same in other languages that a small model has seen most of)
WORDS: dict[str, dict[str, str]] = {
    "French": {
        "cat": "chat",
        "house": "maison",
        "water": "eau",
        "book": "livre",
        "thank you": "merci",
        "good night": "bonne nuit",
    },
    "Spanish": {
        "dog": "perro",
        "house": "casa",
        "water": "agua",
        "friend": "amigo|amiga",
        "thank you": "gracias",
        "red": "rojo|roja",
    },
    "German": {
        "dog": "Hund",
        "house": "Haus",
        "water": "Wasser",
        "bread": "Brot",
        "thank you": "danke",
        "book": "Buch",
    },
    "Italian": {"house": "casa", "love": "amore", "thank you": "grazie", "good morning": "buongiorno"},
}
PHRASES: dict[str, str] = {
    "Guten Morgen": "German",
    "Bonjour, comment ça va?": "French",
    "¿Dónde está la biblioteca?": "Spanish",
    "Buona sera": "Italian",
    "Good afternoon": "English",
    "Obrigado": "Portuguese",
}
GAPS: dict[str, str] = {
    "She ___ to school every day. (go)": "goes",
    "They ___ playing in the garden now. (be)": "are",
    "He ___ an apple yesterday. (eat)": "ate",
    "I have ___ this film before. (see)": "seen",
    "This box is ___ than that one. (big)": "bigger",
    "It is the ___ day of the year. (hot)": "hottest",
    "Yesterday we ___ to the beach. (drive)": "drove",
    "The sun ___ in the east. (rise)": "rises",
}
NOUNS = ("house", "river", "mountain", "teacher", "garden", "winter", "bread", "music")
ALIKE: dict[str, str] = {
    "happy": "glad|joyful|cheerful|content|pleased|delighted|joyous|elated",
    "begin": "start|commence|initiate",
    "big": "large|huge|great|enormous|massive|giant",
    "quick": "fast|rapid|swift|speedy",
    "smart": "clever|intelligent|bright|wise|brilliant",
    "angry": "mad|furious|cross|irate|upset|enraged",
    "tired": "weary|exhausted|sleepy|fatigued|drained",
    "scared": "afraid|frightened|terrified|fearful",
}

SHOUT = ("garden", "window", "silver", "friend", "orange", "planet", "bottle", "summer")
TRUE: dict[str, str] = {
    "Is fire hot?": "yes",
    "Is ice warm?": "no",
    "Can fish swim?": "yes",
    "Do cats bark?": "no",
    "Is the sky green?": "no",
    "Do birds have wings?": "yes",
    "Is a car bigger than a house?": "no",
    "Is sugar sweet?": "yes",
}
REPEAT = (
    "The train leaves at noon.",
    "Blue is my favourite colour.",
    "We had soup for lunch.",
    "Keep the door closed.",
    "My bag is under the table.",
    "It rained all night.",
)
KINDS: dict[str, str] = {
    "colours": "red, green",
    "fruits": "apple, pear",
    "animals": "cat, dog",
    "countries": "Peru, Chad",
    "vegetables": "leek, kale",
    "sports": "golf, judo",
}
BEGIN = ("Certainly", "Once", "Hello", "Today", "First", "Maybe")
FIELDS: dict[str, str] = {
    "name": "Anna",
    "city": "Oslo",
    "colour": "red",
    "animal": "fox",
    "fruit": "plum",
    "day": "Monday",
}
SUBJECTS = ("rain", "bread", "trains", "books", "cats", "the sea")


def knowledge(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """(question, answer, pattern) of each; the other parts give the same."""
    for question, answer in KNOWLEDGE.items():
        yield question, _first(answer), _word(answer)


def arithmetic(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    asked: set[str] = set()
    while True:
        kind, a, b = rng.choice("+-×"), rng.randint(2, 20), rng.randint(2, 12)
        if kind == "-" and a <= b:
            continue
        if kind == "×":
            a = rng.randint(2, 10)
        answer = {"+": a + b, "-": a - b, "×": a * b}[kind]
        spoken = {"+": f"What is {a} plus {b}?", "-": f"What is {a} minus {b}?", "×": f"What is {a} times {b}?"}[kind]
        question = rng.choice((f"What is {a} {kind} {b}?", spoken, f"Calculate {a} {kind} {b}."))
        if f"{a}{kind}{b}" not in asked and answer not in (a, b):
            asked.add(f"{a}{kind}{b}")
            # The last number said, so that repeating the question does not pass.
            yield question, str(answer), rf"(?s)(?<![\d.,]){answer}(?![\d]|[.,]\d)(?!.*\d)"


def instructions(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for word in SHOUT:
        yield f"Write the word {word!r} in capital letters.", word.upper(), rf"\b{word.upper()}\b"
    for question, answer in TRUE.items():
        yield f"Answer with yes or no only. {question}", answer.capitalize(), rf"(?i)\A\W*{answer}\W*\Z"
    for text in REPEAT:
        yield f"Repeat this sentence: {text}", text, rf"(?i){re.escape(text.rstrip('.'))}"
    for kind, two in KINDS.items():
        yield (
            f"Name two {kind}, with a comma between them and nothing else.",
            two,
            r"\A\s*[\w ]+,\s*(and )?[\w ]+\.?\s*\Z",
        )
    for word in BEGIN:
        yield f"Begin your answer with the word {word!r} and tell me about a forest.", f"{word} …", rf"\A\W*{word}\b"
    for key, value in FIELDS.items():
        text = json.dumps({key: value})
        yield (
            f"Write a JSON object with the key {key!r} and the value {value!r}.",
            text,
            rf'\{{\s*"{key}"\s*:\s*"{value}"\s*\}}',
        )
    for subject in SUBJECTS:
        yield f"Write one short sentence about {subject}.", f"I like {subject}.", r"\A[^.!?\n]{4,200}[.!?]\s*\Z"
    for many in (2, 3, 4, 5, 6, 7):
        numbers = ", ".join(map(str, range(1, many + 1)))
        yield f"Count from 1 to {many}.", numbers, r"\D+".join(map(str, range(1, many + 1))) + rf"(?!\D+{many + 1}\b)"


def language(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for tongue, words in WORDS.items():
        for word, other in words.items():
            yield f"What is the {tongue} for {word!r}?", _first(other), _word(other)
    for phrase, tongue in PHRASES.items():
        yield f"Which language is this? {phrase}", tongue, _word(tongue)
    for gap, word in GAPS.items():
        yield f"Fill the gap: {gap}", word, _word(word)
    for word, others in ALIKE.items():
        yield f"Give a word that means the same as {word!r}.", _first(others), _word(others)
    for word in NOUNS:
        yield f"Is {word!r} a noun or a verb?", "noun", r"(?i)\bnoun\b(?!\s+or)"


PARTS = {"knowledge": knowledge, "arithmetic": arithmetic, "instructions": instructions, "language": language}


def build() -> list[dict[str, Any]]:
    """All rows, the same ones every time."""
    rng = random.Random(SEED)
    rows = []
    for topic, part in PARTS.items():
        for _, (question, answer, pattern) in zip(range(EACH), part(rng), strict=False):
            rows.append(
                {
                    "prompt": [{"role": "user", "content": question}],
                    "completion": [{"role": "assistant", "content": answer}],
                    "pattern": pattern,
                    "topic": topic,
                }
            )
    return rows


def write(path: Path = DATA) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in build()), encoding="utf-8")
    return path


def _word(ways: str) -> str:
    """Any of the ways, as whole words, whatever the case."""
    return rf"(?i)(?<!\w)(?:{ways})(?!\w)"


def _first(ways: str) -> str:
    return ways.partition("|")[0]


if __name__ == "__main__":
    print(f"{write()}: {len(build())} rows")

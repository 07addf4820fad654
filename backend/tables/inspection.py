"""The checks of `quality`, in a process with limits: `python -m backend.tables.inspection`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import numpy as np
import rensa
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from backend.tables import child
from backend.tables.filters import MOST
from backend.tables.quality import ALIKE, LONG, PATTERNS, SAMPLE, SHORT, luhn
from backend.tables.table import ROW, literal

HASHES, BANDS = 128, 32
SURE = 0.9  # share of belief below which a language is not told
Found = tuple[Sequence[int], dict[str, Any]]  # row numbers, what else there is to tell
Check = Callable[[duckdb.DuckDBPyConnection, str, str, dict[str, Any]], Found]


def answer(request: dict[str, Any], say: child.Say) -> list[dict[str, Any]]:
    """One finding for each check: {check, count, looked_at, rows (the first 10,000), detail}."""
    connection = duckdb.connect(":memory:", config={"memory_limit": "1GB", "temp_directory": "", "threads": 2})
    checks, text = request["checks"], request["text"]
    found = []
    for done, name in enumerate(checks):
        say(done, len(checks))
        source, looked_at = request["languages" if name == "language" else "part"]
        rows, detail = _CHECKS[name](connection, source, text, request)
        found.append(
            {
                "check": name,
                "count": len(rows),
                "looked_at": looked_at,
                "rows": [int(row) for row in sorted(rows)[:MOST]],
                "detail": detail,
            }
        )
    say(len(checks), len(checks))
    return found


def _where(condition: str) -> Check:
    def run(connection: duckdb.DuckDBPyConnection, source: str, text: str, request: dict[str, Any]) -> Found:
        question = f"SELECT {ROW} FROM (SELECT {ROW}, {text} AS t FROM {source}) WHERE {condition}"
        return connection.execute(question).fetchnumpy()[ROW].tolist(), {}

    return run


def _batches(connection: duckdb.DuckDBPyConnection, source: str, text: str) -> Iterator[list[tuple[int, str]]]:
    """(row number, text) of the rows that have one, in order."""
    cursor = connection.execute(f"SELECT {ROW}, left({text}, 100000) FROM {source}")
    while some := cursor.fetchmany(5_000):
        yield [(row, value) for row, value in some if value and value.strip()]


def _exact(connection: duckdb.DuckDBPyConnection, source: str, text: str, request: dict[str, Any]) -> Found:
    hashes, rows = _hashes(connection, source, text)
    order = np.lexsort((rows, hashes))
    hashes, rows = hashes[order], rows[order]
    again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    groups = len(np.unique(hashes[again]))
    return rows[again].tolist(), {"groups": groups}


def _hashes(connection: duckdb.DuckDBPyConnection, source: str, text: str) -> tuple[Any, Any]:
    """64-bit hashes of the texts, upper and lower case and spaces made equal, and their row numbers."""
    same = f"lower(trim(regexp_replace({text}, '\\s+', ' ', 'g')))"
    found = connection.execute(
        f"SELECT hash({same}) AS h, {ROW} FROM {source} WHERE {text} IS NOT NULL AND trim({text}) <> ''"
    ).fetchnumpy()
    return np.asarray(found["h"], np.uint64), np.asarray(found[ROW], np.int64)


def _words(text: str) -> list[str]:
    """Runs of three words (of five letters where there are no spaces to cut at)."""
    words = re.findall(r"\w+", text.lower())
    if len(words) < 4:
        joined = " ".join(words)
        return [joined[i : i + 5] for i in range(max(1, len(joined) - 4))]
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


def _near(connection: duckdb.DuckDBPyConnection, source: str, text: str, request: dict[str, Any]) -> Found:
    found: list[int] = []
    pairs: list[tuple[int, int]] = []
    place = rensa.RMinHashLSH(ALIKE, HASHES, BANDS)
    kept: dict[int, tuple[Any, int]] = {}
    for batch in _batches(connection, source, text):
        sketches = rensa.RMinHash.from_token_sets([_words(value) for _, value in batch], HASHES, 42)
        for (row, value), sketch in zip(batch, sketches, strict=True):
            same = hash(re.sub(r"\s+", " ", value.lower()).strip())
            alike = [other for other in place.query(sketch) if kept[other][0].jaccard(sketch) >= ALIKE]
            if any(kept[other][1] == same for other in alike):
                continue  # an exact one: another check tells
            if alike:
                found.append(row)
                pairs.append((min(alike), row))
            else:
                place.insert(row, sketch)
                kept[row] = (sketch, same)
    return found, {"pairs": pairs[:SAMPLE], "alike": ALIKE}


def _leaks(connection: duckdb.DuckDBPyConnection, source: str, text: str, request: dict[str, Any]) -> Found:
    other = request["other"]
    hashes, rows = _hashes(connection, source, text)
    theirs, _ = _hashes(connection, other, request["other_text"])
    exact = set(rows[np.isin(hashes, theirs)].tolist())
    place = rensa.RMinHashLSH(ALIKE, HASHES, BANDS)
    kept: dict[int, Any] = {}
    for batch in _batches(connection, other, request["other_text"]):
        sketches = rensa.RMinHash.from_token_sets([_words(value) for _, value in batch], HASHES, 42)
        for (row, _), sketch in zip(batch, sketches, strict=True):
            place.insert(row, sketch)
            kept[row] = sketch
    near, pairs = [], []
    for batch in _batches(connection, source, text):
        sketches = rensa.RMinHash.from_token_sets([_words(value) for _, value in batch], HASHES, 42)
        for (row, _), sketch in zip(batch, sketches, strict=True):
            alike = [other for other in place.query(sketch) if kept[other].jaccard(sketch) >= ALIKE]
            if alike:
                pairs.append((row, min(alike)))
                near.append(row)
    return sorted(exact | set(near)), {"exact": len(exact), "pairs": pairs[:SAMPLE]}


def _language(connection: duckdb.DuckDBPyConnection, source: str, text: str, request: dict[str, Any]) -> Found:
    speaker = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    spoken: list[tuple[int, str]] = []
    for batch in _batches(connection, source, text):
        for row, value in batch:
            start = value[:1000]
            # few words tell too little, and so do digits and names; scripts without spaces count by letters
            if len(re.findall(r"[^\W\d_]{2,}", start)) >= 5 or len(re.findall(r"[\u0e00-\uffff]", start)) >= 10:
                language, share = speaker.classify(start)
                if share >= SURE:
                    spoken.append((row, str(language)))
    shares = Counter(language for _, language in spoken)
    most = shares.most_common(1)[0][0] if shares else ""
    return [row for row, language in spoken if language != most], {
        "languages": dict(shares.most_common(20)),
        "told": len(spoken),
    }


def _card(connection: duckdb.DuckDBPyConnection, source: str, text: str, request: dict[str, Any]) -> Found:
    question = f"SELECT {ROW}, regexp_extract_all({text}, ?) FROM {source} WHERE regexp_matches({text}, ?)"
    some = connection.execute(question, [PATTERNS["card"], PATTERNS["card"]]).fetchall()
    return [row for row, numbers in some if any(map(luhn, numbers))], {}


def _matching(kind: str) -> Check:
    return _where(f"regexp_matches(t, {literal(PATTERNS[kind])})")


_CHECKS: dict[str, Check] = {
    "empty": _where("t IS NULL OR regexp_matches(t, '^\\s*$')"),
    "short": _where(f"length(t) < {SHORT} AND regexp_matches(t, '\\S')"),
    "long": _where(f"length(t) > {LONG}"),
    "exact": _exact,
    "near": _near,
    "leaks": _leaks,
    "language": _language,
    "email": _matching("email"),
    "phone": _matching("phone"),
    "card": _card,
    "key": _matching("key"),
}


if __name__ == "__main__":
    child.serve(answer)

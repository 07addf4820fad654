"""Where errors gather: rows that went wrong, grouped by what they are about, as the embedder of the Tasks sees them.

Each group tells the words that set it apart and how much of what is asked there goes wrong, beside the whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from backend.door import door
from backend.errors import BadInput
from backend.evaluations import Evaluations, table
from backend.store import write

MOST = 600  # rows looked at: all errors first, then others
FEWEST = 8  # errors; fewer are read one by one
_TEXT = 600  # characters of a prompt that are looked at
_GROUPS = 8
_WORDS = 5

Embed = Callable[[Sequence[str], str], list[list[float]]]  # (texts, owner) → vectors of length 1


class Clusters:
    """`embed` may take seconds. What was found is kept in the evaluation's folder."""

    def __init__(self, evaluations: Evaluations, embed: Embed) -> None:
        self._evaluations = evaluations
        self._embed = embed

    @door
    def of(self, run_id: str, owner: str, figure: str, model: int = -1) -> list[dict[str, Any]]:
        """[{words, errors, rows, share, low, high, of}], most errors first; `of` are the numbers of its wrong rows.

        Wrong is a row that is not right, or worse than the mean where rows have degrees. Raises BadInput for too few.
        """
        told = self._evaluations.results(run_id, owner)
        run = self._evaluations.evaluation(run_id, owner)
        model %= len(told["models"])
        place = run.folder / f"clusters-{model}-{figure.replace('/', '-')}.json"
        if place.exists():
            kept: list[dict[str, Any]] = json.loads(place.read_text())
            return kept
        about = next((one for one in told["figures"] if one["figure"] == figure), None)
        rows = table(run)
        scores = rows.get(f"{model}.score.{figure}")
        if about is None or scores is None or about["higher"] is None:
            raise BadInput(f"{figure or 'Nothing'} says of no row whether it is wrong.", "Choose another figure.")
        wrong, right = _parted(scores, about["higher"])
        if len(wrong) < FEWEST:
            raise BadInput(
                f"{len(wrong)} row{'s' * (len(wrong) != 1)} went wrong; groups need at least {FEWEST}.",
                "Read them in Rows.",
            )
        wrong = wrong[:MOST]
        seen = [*wrong, *right[: MOST - len(wrong)]]
        texts = [str(rows["prompt"][i])[:_TEXT] or " " for i in seen]
        found = _grouped(self._embed(texts, owner), texts, len(wrong))
        for one in found:
            one["of"] = [rows["row"][seen[i]] for i in one["of"]]
        write(place, found)
        return found


def _parted(scores: Sequence[float | None], higher: bool) -> tuple[list[int], list[int]]:
    """Places of wrong rows and of the others."""
    known = {i: score for i, score in enumerate(scores) if score is not None}
    whole = set(known.values()) <= {0, 1}
    middle = 0.5 if whole or not known else sum(known.values()) / len(known)
    wrong = [i for i, score in known.items() if (score < middle if higher else score > middle)]
    bad = set(wrong)
    return wrong, [i for i in known if i not in bad]


def _grouped(vectors: Sequence[Sequence[float]], texts: Sequence[str], errors: int) -> list[dict[str, Any]]:
    """Groups of the first `errors` texts, whose places are in `of`; the others count where they lie nearest."""
    import numpy
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import silhouette_score

    from backend.metrics.statistics import wilson

    points = numpy.asarray(vectors, float)
    mine = points[:errors]
    different = len(numpy.unique(mine.round(6), axis=0))
    tried = []
    for many in range(2, min(_GROUPS, errors // 3, different - 1) + 1):
        fitted = KMeans(many, n_init=4, random_state=0).fit(mine)
        tried.append((float(silhouette_score(mine, fitted.labels_)), many, fitted))
    if tried:
        _, many, fitted = max(tried, key=lambda one: one[:2])
        groups = fitted.predict(points)
    else:
        many, groups = 1, numpy.zeros(len(points), int)
    try:
        words = TfidfVectorizer(stop_words="english", sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d_][\w'-]+\b")
        weights = numpy.asarray(words.fit_transform(texts).todense())
        names = words.get_feature_names_out()
    except ValueError:  # nothing but stop words
        weights, names = numpy.zeros((len(texts), 0)), numpy.array([])
    found = []
    for group in range(many):
        inside = groups == group
        wrong = numpy.flatnonzero(inside[:errors])
        apart = weights[inside].mean(0) - (weights[~inside].mean(0) if (~inside).any() else 0)
        best = [str(names[i]) for i in numpy.argsort(-apart)[:_WORDS] if apart[i] > 0]
        low, high = wilson(len(wrong), int(inside.sum()))
        found.append(
            {"words": best, "errors": len(wrong), "rows": int(inside.sum()), "share": len(wrong) / int(inside.sum()),
             "low": low, "high": high, "of": [int(i) for i in wrong]}
        )  # fmt: skip
    return sorted(found, key=lambda one: -one["errors"])

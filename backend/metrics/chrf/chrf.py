"""chrF over the set, 0 to 100, by sacreBLEU with its own defaults."""

from typing import Any

import numpy
import sacrebleu.metrics

from backend.metrics import Array, Figures, Texts, compute, paired

CHRF = sacrebleu.metrics.CHRF()


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 18]: runs of 1 to 6 characters in the answer, in the reference, in both."""
    paired(predictions, references)
    return numpy.array(CHRF._extract_corpus_statistics(predictions, [references]), float)


def _score(sums: Array) -> Any:
    return CHRF._compute_score_from_stats(list(sums)).score


def value(sums: Array) -> Figures:
    return {"chrf": numpy.apply_along_axis(_score, -1, sums)}


Chrf = compute("chrf", __doc__, rows, value, predictions="string", references="string")

"""Translation edit rate over the set, by sacreBLEU with its own defaults: edits per 100 words of reference."""

from typing import Any

import numpy
import sacrebleu.metrics

from backend.metrics import Array, Figures, Texts, compute, paired

TER = sacrebleu.metrics.TER()


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: edits, words of the reference."""
    paired(predictions, references)
    return numpy.array(TER._extract_corpus_statistics(predictions, [references]), float)


def _score(sums: Array) -> Any:
    return TER._compute_score_from_stats(list(sums)).score


def value(sums: Array) -> Figures:
    return {"ter": numpy.apply_along_axis(_score, -1, sums)}


Ter = compute("ter", __doc__, rows, value, predictions="string", references="string")

"""BLEU over the set, 0 to 100, by sacreBLEU with its own defaults."""

from typing import Any

import numpy
import sacrebleu.metrics

from backend.metrics import Array, Figures, Texts, compute, paired

BLEU = sacrebleu.metrics.BLEU(force=True)


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 10]: lengths of answer and reference, matches and totals of runs of 1 to 4 words."""
    paired(predictions, references)
    return numpy.array(BLEU._extract_corpus_statistics(predictions, [references]), float)


def _score(sums: Array) -> Any:
    return BLEU._compute_score_from_stats(list(sums)).score


def value(sums: Array) -> Figures:
    return {"bleu": numpy.apply_along_axis(_score, -1, sums)}


Bleu = compute("bleu", __doc__, rows, value, predictions="string", references="string")

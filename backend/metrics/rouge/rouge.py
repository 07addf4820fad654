"""ROUGE-1, ROUGE-2 and ROUGE-L F-measures by rouge-score, with stemming; mean over rows."""

import numpy
import rouge_score.rouge_scorer

from backend.metrics import Array, Figures, Texts, compute

KINDS = ("rouge1", "rouge2", "rougeL")


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 4]: the three, 1."""
    scorer = rouge_score.rouge_scorer.RougeScorer(KINDS, use_stemmer=True)
    scored = (scorer.score(reference, answer) for answer, reference in zip(predictions, references, strict=True))
    return numpy.array([[*(one[kind].fmeasure for kind in KINDS), 1] for one in scored], float)


def value(sums: Array) -> Figures:
    return {kind: sums[..., place] / sums[..., 3] for place, kind in enumerate(KINDS)}


Rouge = compute("rouge", __doc__, rows, value, predictions="string", references="string")

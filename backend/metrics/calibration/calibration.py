"""Expected calibration error over ten bins of equal width (Guo et al. 2017): |confidence − accuracy|, by bin size."""

import numpy

from backend.metrics import Array, Figures, Numbers, Texts, compute, ratio

BINS = 10


def rows(predictions: Texts, references: Texts, confidences: Numbers) -> Array:
    """[n, 30]: in its bin 1, the confidence, and whether it is right."""
    right = [one.strip() == other.strip() for one, other in zip(predictions, references, strict=True)]
    sure = numpy.asarray(confidences, float)
    bins = numpy.eye(BINS)[numpy.clip(numpy.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)]
    return numpy.concatenate([bins, bins * sure[:, None], bins * numpy.array(right, float)[:, None]], axis=1)


def value(sums: Array) -> Figures:
    count, confidence, right = numpy.split(sums, 3, axis=-1)
    return {"calibration": ratio(numpy.abs(confidence - right).sum(-1), count.sum(-1))}


Calibration = compute(
    "calibration", __doc__, rows, value, predictions="string", references="string", confidences="float64"
)

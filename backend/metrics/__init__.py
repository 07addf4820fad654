"""What can be measured: `METRICS`. Each is a module that `evaluate.load("backend/metrics/NAME")` takes offline.

A module tells each row as a few numbers, `rows(**columns) → [n, k]`, and makes figures of their sums,
`value(sums [..., k]) → {figure: [...]}`. So a figure over all rows, over a slice, of one row, and of rows drawn anew
are the same code. A row that can't be counted is all zeros.

Importing this is light: a module is imported when it is asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

Array = NDArray[Any]
Figures = dict[str, Array]
Texts = Sequence[str]
Numbers = Sequence[float]
Unit = Literal["%", "", "s", "tokens", "tokens/s", "$"]
Need = Literal["answers", "likelihood", "preference", "reward"]


ON_HUB = re.compile(r"hub:([\w.\-]{1,96}(?:/[\w.\-]{1,96})?)")  # a metric of the Hub, by its name there


@dataclass(frozen=True)
class Metric:
    """What a person should know of a metric.

    `inputs` are the columns it reads, `needs` is what the model has to do for it; `higher` None is neither better nor
    worse. `figures` titles what it gives, when that is not one figure of its own name. A share is written in %.
    """

    title: str
    says: str
    beware: str
    inputs: tuple[str, ...] = ("predictions", "references")
    needs: Need = "answers"
    higher: bool | None = True
    unit: Unit = "%"
    figures: Mapping[str, str] = field(default_factory=dict)
    labels: bool = False  # it takes answers for a few labels

    def titles(self, name: str) -> dict[str, str]:
        return dict(self.figures) or {name: self.title}


def about(name: str) -> Metric:
    """What to know of a metric, one of the Hub (hub:NAME) included."""
    return METRICS[name] if name in METRICS else Metric(name, _HUB_SAYS, _HUB_BEWARE, higher=None, unit="")


def module(name: str) -> Any:
    """The module of a metric: `rows` and `value`."""
    return import_module(f"backend.metrics.{name}.{name}")


def compute(
    name: str, about: str, rows: Callable[..., Array], value: Callable[[Array], Figures], **columns: str
) -> type:
    """The `evaluate.Metric` of a module; `columns` are its inputs with their types.

    Only `evaluate` itself looks for it, and is there then; whoever wants `rows` and `value` alone saves its import.
    """
    if "evaluate" not in sys.modules:
        return object
    import datasets
    import evaluate

    features = {column: datasets.Value(kind) for column, kind in columns.items()}

    def info(self: Any) -> Any:
        return evaluate.MetricInfo(
            description=about, citation="", inputs_description=about, features=datasets.Features(features)
        )

    def computed(self: Any, **given: Sequence[Any]) -> dict[str, float]:
        return {figure: float(found) for figure, found in value(rows(**given).sum(0)).items()}

    title = "".join(part.capitalize() for part in name.split("_"))
    return type(title, (evaluate.Metric,), {"_info": info, "_compute": computed, "__doc__": about})


def paired(predictions: Texts, references: Texts) -> None:
    """Raises ValueError where an answer has no reference of its own."""
    if len(predictions) != len(references):
        raise ValueError(f"There are {len(predictions)} answers and {len(references)} references; use as many.")


def each(values: Sequence[Any]) -> Array:
    """Rows of which a mean is taken, [n, 2]: the value, 1."""
    found = numpy.asarray(values, float)
    return numpy.stack([found, numpy.ones_like(found)], axis=1)


def mean(figure: str) -> Callable[[Array], Figures]:
    """The `value` of such rows."""
    return lambda sums: {figure: ratio(sums[..., 0], sums[..., 1])}


def ratio(above: Array, below: Array) -> Array:
    """above / below, not a number where that is 0."""
    given = numpy.asarray(below) != 0
    return numpy.asarray(numpy.divide(above, below, out=numpy.full(numpy.shape(above), numpy.nan), where=given))


def label(text: str) -> str:
    """A label without case, white space at the ends, and a full stop."""
    return text.strip().removesuffix(".").lower()


def one_hot(called: Texts, true: Texts) -> tuple[Array, Array]:
    """Two columns of labels as [n, c] each, for the c classes that occur in either."""
    paired(called, true)
    found = [label(one) for one in (*called, *true)]
    classes, places = numpy.unique(numpy.array(found), return_inverse=True)
    hot = numpy.eye(len(classes))[places.ravel()]
    return hot[: len(called)], hot[len(called) :]


_HUB_SAYS = "What the metric of that name on the Hub computes from answers and references."
_HUB_BEWARE = "Its own page says what it means; whether more is better is not known here."

METRICS: dict[str, Metric] = {
    "exact_match": Metric(
        "Exact match",
        "How many answers are the reference to the letter.",
        "A right answer in other words counts as wrong; it says as much of the form as of the knowledge.",
    ),
    "contains": Metric(
        "Contains the reference",
        "How many answers have the reference in them as whole words, whatever the case.",
        "An answer that names everything passes; long answers have an easier time.",
    ),
    "pattern": Metric(
        "Passes its pattern",
        "How many answers match a regular expression: the row's own, from a column `pattern`, or one for all.",
        "It is as good as the pattern: look at rows that passed and should not have.",
        inputs=("predictions", "patterns"),
    ),
    "json_schema": Metric(
        "Valid JSON",
        "How many answers are JSON, and of the schema that was asked for.",
        "The form alone is checked; the values may be nonsense.",
        inputs=("predictions", "schemas"),
    ),
    "accuracy": Metric(
        "Accuracy",
        "How many labels are right; case, white space and a full stop at the end don't count.",
        "With uneven classes, always naming the commonest looks good: see F1 and MCC.",
        labels=True,
    ),
    "f1": Metric(
        "F1",
        "Precision and recall in one figure, for each class: the mean over classes, and over rows.",
        "The mean over classes jumps when a class has few rows.",
        labels=True,
        figures={"f1_macro": "F1, mean of classes", "f1_weighted": "F1, by class size"},
    ),
    "precision_recall": Metric(
        "Precision and recall",
        "Of what was called a class, how much is; of what is, how much was found. Means over classes.",
        "One is easily had at the cost of the other: read them together.",
        labels=True,
        figures={"precision": "Precision", "recall": "Recall"},
    ),
    "mcc": Metric(
        "MCC",
        "How labels and references go together: 1 always, 0 as by chance, −1 never. Fair to uneven classes.",
        "Undefined, and given as 0, when all labels or all references are one class.",
        unit="",
        labels=True,
    ),
    "token_f1": Metric(
        "Token F1",
        "How many words answer and reference share, as for SQuAD: without articles, case and punctuation.",
        "Word order and a missing “not” go unnoticed.",
    ),
    "bleu": Metric(
        "BLEU",
        "Shared runs of one to four words over the whole set, as for translation (sacreBLEU, 0 to 100).",
        "For sets of sentences; of single rows or short answers it says little. Needs close wording.",
        unit="",
    ),
    "chrf": Metric(
        "chrF",
        "Shared runs of one to six characters (sacreBLEU, 0 to 100); kind to word endings.",
        "Meaning is not looked at.",
        unit="",
    ),
    "ter": Metric(
        "TER",
        "Edits that turn answers into references, per 100 words of reference (sacreBLEU). Less is better.",
        "Above 100 for long answers; other good wordings cost as much as errors.",
        higher=False,
        unit="",
    ),
    "rouge": Metric(
        "ROUGE",
        "Shared words, pairs of words, and the longest common run, as for summaries.",
        "Copying much of the source scores well.",
        figures={"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"},
    ),
    "meteor": Metric(
        "METEOR",
        "Shared words, their stems counted too, with a fine for broken order.",
        "Synonyms are not known here: WordNet is not shipped.",
    ),
    "embedding_similarity": Metric(
        "Embedding similarity",
        "How close answer and reference are in meaning, as all-MiniLM-L6-v2 sees it (cosine).",
        "Opposites are close to one another; unrelated texts don't reach 0.",
        unit="",
    ),
    "perplexity": Metric(
        "Perplexity",
        "How surprised the model is by the reference's tokens: 1 is never, 10 is like guessing among 10.",
        "Models with other tokenizers can't be compared: use bits per byte.",
        inputs=("log_likelihoods", "tokens"),
        needs="likelihood",
        higher=False,
        unit="",
    ),
    "bits_per_byte": Metric(
        "Bits per byte",
        "How many bits the model needs for a byte of the reference; comparable between tokenizers.",
        "Says how likely the text is, not whether answers are good.",
        inputs=("log_likelihoods", "bytes"),
        needs="likelihood",
        higher=False,
        unit="",
    ),
    "calibration": Metric(
        "Calibration error (ECE)",
        "How far the model's own probability of its answer is from how often it is right, over ten bins.",
        "With few rows it is too high by chance, even for a well calibrated model.",
        inputs=("predictions", "references", "confidences"),
        higher=False,
    ),
    "preference_accuracy": Metric(
        "Preference accuracy",
        "How often the chosen answer is likelier than the rejected one.",
        "Longer answers are less likely whatever they say; see it beside the base.",
        inputs=("chosen", "rejected"),
        needs="preference",
    ),
    "reward": Metric(
        "Reward",
        "The mean score that a reward model gives the answers.",
        "Its scale means nothing by itself, and what was tuned on it has learned to please it.",
        inputs=("rewards",),
        needs="reward",
        unit="",
    ),
    "length": Metric(
        "Length",
        "How long answers are.",
        "Cut at max_new_tokens.",
        inputs=("tokens",),
        higher=None,
        unit="tokens",
    ),
    "latency": Metric(
        "Time per answer",
        "Seconds of work for an answer, in batches.",
        "What a visitor waits for alone is different, and other work on the machine shows in it.",
        inputs=("seconds",),
        higher=False,
        unit="s",
    ),
    "speed": Metric(
        "Tokens per second",
        "How fast answers were made, all of a batch together.",
        "Larger batches are faster; other work on the machine shows in it.",
        inputs=("tokens", "seconds"),
        higher=True,
        unit="tokens/s",
    ),
    "cost": Metric(
        "Cost of 1,000 answers",
        "What the provider charges, by the tokens that it counted and its listed price.",
        "Answers made on this machine have no price here; prices change.",
        inputs=("dollars",),
        higher=False,
        unit="$",
    ),
}

"""Tasks beside chat: what each asks, which kinds of model can do it, and a worked example. Light: knows no torch.

A model's *kind* is told by its config (`kind_of`). One task may be done in several ways: `question-answering` by a
model that marks a span, or by a chat model that is asked; the answer's `how` says which it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from backend.starter import EMBEDDER_ID, MODEL_ID

MANY = 20
_LONG = 200_000  # characters


class TaskParams(BaseModel):
    """What every task asks."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field("", title="Model", description="A Hub id or a folder; empty: the task's own")
    adapter: Literal[""] = ""


class TextParams(TaskParams):
    text: str = Field(max_length=_LONG, title="Text")

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("write something")
        return text


class ClassifyParams(TextParams):
    """Which of the model's own labels fit a text."""

    top_k: int = Field(5, ge=1, le=100, title="Labels shown")


class ZeroShotParams(TextParams):
    """Which of your labels fits a text, with no training for them."""

    labels: list[str] = Field(min_length=2, max_length=MANY, title="Labels", description="Separated by commas")
    hypothesis: str = Field(
        "This text is about {}.", max_length=200, title="Sentence", description="What a label says of the text"
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _separated(cls, labels: Any) -> Any:
        return _parts(labels, ",")

    @field_validator("labels")
    @classmethod
    def _all_different(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) < len(labels):
            raise ValueError("a label is there twice; leave it once")
        return labels

    @field_validator("hypothesis")
    @classmethod
    def _has_a_place(cls, hypothesis: str) -> str:
        if hypothesis.count("{}") != 1:
            raise ValueError("put {} once where the label goes")
        return hypothesis


class EntitiesParams(TextParams):
    """Names of people, places and the like in a text."""


class QuestionParams(TaskParams):
    """What a text says about a question."""

    question: str = Field(min_length=1, max_length=2000, title="Question")
    context: str = Field(min_length=1, max_length=_LONG, title="Text to look in")
    max_new_tokens: int = Field(64, ge=1, le=1024, title="Longest answer", description="In tokens; a span has its own")


class SummarizeParams(TextParams):
    """A text in fewer words."""

    max_new_tokens: int = Field(120, ge=1, le=1024, title="Longest summary", description="In tokens")


class TranslateParams(TextParams):
    """A text in another language."""

    source: str = Field("English", min_length=1, max_length=40, title="From")
    target: str = Field("French", min_length=1, max_length=40, title="To")
    max_new_tokens: int = Field(200, ge=1, le=1024, title="Longest translation", description="In tokens")


class FillParams(TextParams):
    """What stands in a gap."""

    top_k: int = Field(5, ge=1, le=100, title="Words shown")

    @field_validator("text")
    @classmethod
    def _one_gap(cls, text: str) -> str:
        if text.count("[MASK]") != 1:
            raise ValueError(f"it has {text.count('[MASK]')} gaps; write [MASK] once where the word is missing")
        return text


class TextsParams(TaskParams):
    """Several texts, one a line."""

    texts: list[str] = Field(min_length=1, max_length=MANY, title="Texts", description="One a line")

    @field_validator("texts", mode="before")
    @classmethod
    def _lines(cls, texts: Any) -> Any:
        return _parts(texts, "\n")


class SimilarityParams(TextsParams):
    """How alike texts are in meaning, each with each."""

    @field_validator("texts")
    @classmethod
    def _two(cls, texts: list[str]) -> list[str]:
        if len(texts) < 2:
            raise ValueError("one text has nothing to be like; write at least 2, one a line")
        return texts


class EmbedParams(TextsParams):
    """The vectors that stand for texts."""


class FileParams(TaskParams):
    file: str = Field(min_length=1, title="File")


class ImageParams(FileParams):
    """What is in a picture, of the model's own labels."""

    top_k: int = Field(5, ge=1, le=100, title="Labels shown")


class CaptionParams(FileParams):
    """A picture in words."""

    max_new_tokens: int = Field(40, ge=1, le=512, title="Longest caption", description="In tokens")


class SpeechParams(FileParams):
    """What is said in a recording."""


@dataclass(frozen=True)
class Task:
    """`kinds` can do it, the first by default; `suggested` are small models of the Hub that do it well.

    `takes` names the fields that a person fills in; of them `file` is a picture or a sound, as `medium` says.
    """

    title: str
    params: type[TaskParams]
    kinds: tuple[str, ...]
    takes: tuple[str, ...]
    shows: Literal["labels", "entities", "text", "answer", "matrix", "vectors"]
    suggested: tuple[str, ...] = ()
    default: str = ""
    example: dict[str, Any] = field(default_factory=dict)
    medium: Literal["text", "image", "audio"] = "text"


_NEWS = (
    "The Amazon rainforest covers much of northwestern Brazil and extends into Colombia, Peru and other South American "
    "countries. It is the world's largest tropical rainforest, famed for its biodiversity, and thousands of rivers run "
    "through it, including the Amazon itself. Scientists warn that clearing land for cattle and soy could push it past "
    "a point from which it does not recover."
)

TASKS: dict[str, Task] = {
    "zero-shot-classification": Task(
        "Sort into labels of your own", ZeroShotParams, ("causal", "nli", "embed"), ("text", "labels", "hypothesis"),
        "labels", ("MoritzLaurer/deberta-v3-base-zeroshot-v2.0",), MODEL_ID,
        {"text": "Simmer the sauce for twenty minutes, then add the basil.",
         "labels": "technology, sports, cooking, politics"},
    ),
    "sentence-similarity": Task(
        "Similarity", SimilarityParams, ("embed", "mask"), ("texts",), "matrix",
        ("BAAI/bge-small-en-v1.5",), EMBEDDER_ID,
        {"texts": "The cat sleeps on the sofa.\nA kitten naps on the couch.\nThe stock market fell today.\n"
                  "Share prices dropped this morning.\nHow do I bake bread?"},
    ),
    "summarization": Task(
        "Summarise", SummarizeParams, ("seq2seq", "causal"), ("text",), "text",
        ("Falconsai/text_summarization",), MODEL_ID, {"text": _NEWS},
    ),
    "question-answering": Task(
        "Answer from a text", QuestionParams, ("span", "causal"), ("question", "context"), "answer",
        ("distilbert/distilbert-base-cased-distilled-squad",), MODEL_ID,
        {"question": "In which countries is the rainforest?", "context": _NEWS},
    ),
    "text-classification": Task(
        "Classify", ClassifyParams, ("sequence", "nli"), ("text",), "labels",
        ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "SamLowe/roberta-base-go_emotions"), "",
        {"text": "The plot was thin, but I laughed the whole way through."},
    ),
    "token-classification": Task(
        "Find names", EntitiesParams, ("token",), ("text",), "entities", ("dslim/bert-base-NER",), "",
        {"text": "Ada Lovelace met Charles Babbage in London and later wrote for the University of Turin."},
    ),
    "fill-mask": Task(
        "Fill the gap", FillParams, ("mask",), ("text",), "labels",
        ("distilbert/distilroberta-base", "answerdotai/ModernBERT-base"), "",
        {"text": "The capital of France is [MASK]."},
    ),
    "translation": Task(
        "Translate", TranslateParams, ("seq2seq", "causal"), ("text", "source", "target"), "text",
        ("google-t5/t5-small",), "", {"text": "The weather is lovely today.", "source": "English", "target": "French"},
    ),
    "feature-extraction": Task(
        "Embed", EmbedParams, ("embed", "mask"), ("texts",), "vectors", ("BAAI/bge-small-en-v1.5",), EMBEDDER_ID,
        {"texts": "The cat sleeps on the sofa.\nA kitten naps on the couch."},
    ),
    "image-classification": Task(
        "Classify a picture", ImageParams, ("image",), ("file",), "labels", ("google/vit-base-patch16-224",), "",
        {"file": "cheetah1.jpg"}, "image",
    ),
    "image-to-text": Task(
        "Describe a picture", CaptionParams, ("caption",), ("file",), "text",
        ("Salesforce/blip-image-captioning-base",), "", {"file": "tower.jpg"}, "image",
    ),
    "automatic-speech-recognition": Task(
        "Write down speech", SpeechParams, ("speech",), ("file",), "text", ("openai/whisper-tiny",), "",
        {"file": "heath_ledger.mp3"}, "audio",
    ),
}  # fmt: skip

KINDS: dict[str, str] = {  # what a model of this kind is for, in words
    "causal": "writing text",
    "seq2seq": "turning a text into another",
    "sequence": "classifying texts",
    "nli": "telling whether one text follows from another",
    "token": "labelling words",
    "span": "marking the answer to a question",
    "mask": "filling gaps",
    "embed": "embedding texts",
    "image": "classifying pictures",
    "caption": "describing pictures",
    "speech": "writing down speech",
    "": "something else",
}
_ENDINGS = (
    ("ForSequenceClassification", "sequence"),
    ("ForTokenClassification", "token"),
    ("ForQuestionAnswering", "span"),
    ("ForMaskedLM", "mask"),
    ("ForCausalLM", "causal"),
    ("LMHeadModel", "causal"),
    ("ForImageClassification", "image"),
    ("ForCTC", "speech"),
    ("ForSpeechSeq2Seq", "speech"),
    ("SpeechEncoderDecoderModel", "speech"),
    ("VisionEncoderDecoderModel", "caption"),
    ("MTModel", "seq2seq"),
)
_CAPTION = ("blip", "blip-2", "git", "pix2struct", "instructblip")
_SPEECH = ("whisper", "speech_to_text", "moonshine", "speecht5")
_SEQ2SEQ = (
    "t5", "mt5", "umt5", "longt5", "bart", "mbart", "marian", "pegasus", "m2m_100", "led", "prophetnet", "blenderbot",
)  # fmt: skip
_EMBED = (
    "bert", "distilbert", "roberta", "xlm-roberta", "mpnet", "electra", "albert", "deberta-v2", "nomic_bert",
    "modernbert", "camembert",
)  # fmt: skip


def kind_of(config: dict[str, Any]) -> str:
    """What a model's config.json says it is for: one of KINDS, '' for what no task here uses."""
    name = next(iter(config.get("architectures") or []), "")
    family = config.get("model_type", "")
    if name.endswith("ForConditionalGeneration"):
        known = ((_CAPTION, "caption"), (_SPEECH, "speech"), (_SEQ2SEQ, "seq2seq"))
        return next((kind for families, kind in known if family in families), "")
    kind = next((kind for ending, kind in _ENDINGS if name.endswith(ending)), "")
    if kind == "sequence" and any(str(label).lower().startswith("entail") for label in config.get("label2id") or {}):
        return "nli"
    if not kind and name.endswith("Model") and family in _EMBED:
        return "embed"
    return kind


def kind_in(folder: Path) -> str:
    """The kind of the model in `folder`, '' where that can't be told."""
    try:
        config = json.loads((folder / "config.json").read_text())
        return kind_of(config) if isinstance(config, dict) else ""
    except (OSError, ValueError):
        return ""


def whole(task: str, values: dict[str, Any]) -> dict[str, Any]:
    """`values` with the task's own model where none is named."""
    own = TASKS[task].default or next(iter(TASKS[task].suggested), "")
    return values | {"model": values.get("model") or own}


def _parts(value: Any, mark: str) -> Any:
    """Text that a person typed as a list, empty parts left out; a list is passed on."""
    return [part.strip() for part in value.split(mark) if part.strip()] if isinstance(value, str) else value

"""A model card for what a run made: where it comes from, what was set, how it went, how it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.recipes import METHODS
from backend.recipes.params import TrainParams
from backend.recipes.part import Part
from backend.starter import MODEL_ID, SAMPLES

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24  # points of a curve
_QUIET = ("epoch", "learning_rate", "memory_gb", "num_tokens", "rows_per_second", "tokens_per_second", "kl_coef")
_CLOSING = ("eval_", "train_loss", "score", "kl", "steps", "seconds", "perplexity")
_LICENCES = {MODEL_ID: "apache-2.0"}  # of bases that are known without asking
_ADAPTERS = {"lora": "LoRA", "qlora": "QLoRA", "ia3": "IA³", "p_tuning": "P-tuning"}


@dataclass
class Story:
    """What a run's log tells, folded for a card."""

    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # (step, value) by figure
    samples: list[dict[str, str]] = field(default_factory=list)  # the last ones
    rows: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, events: Iterable[ev.Event]) -> Story:
        told = cls()
        for event in events:
            match event:
                case ev.Measured():
                    for name, value in event.values.items():
                        told.curves.setdefault(name, []).append((event.step, float(value)))
                case ev.Produced(kind="samples"):
                    told.samples = event.data.get("rows", [])
                case ev.Started():
                    told.info |= event.info
                case ev.Logged() if " rows to learn from" in event.text:
                    told.rows = event.text.partition(";")[0]
        return told


def card(status: Mapping[str, Any], story: Story, lineage: Sequence[Mapping[str, Any]] = ()) -> str:
    """The card of the run that `status` tells of (as `Lab.status` does), with its front matter. Names no path."""
    from huggingface_hub import ModelCardData

    params = status["params"]
    base, dataset = public(str(params["model"])), public(str(params["dataset"]))
    kinds = {str(one["kind"]) for one in status["artifacts"]}
    adapter = str(params.get("adapter", "lora"))
    method = METHODS[status["recipe"]].title
    licence = _LICENCES.get(base)
    data = ModelCardData(
        base_model=base if "/" in base else None,
        base_model_relation="finetune" if "model" in kinds else "adapter",
        library_name="transformers" if "model" in kinds else "peft",
        pipeline_tag="text-classification" if status["recipe"] == "reward" else "text-generation",
        datasets=[Part.read(dataset).name]
        if "/" in dataset and not dataset.startswith(("sample/", "upload/"))
        else None,
        license=licence,
        tags=["atelier", status["recipe"], adapter],
    )
    what = "All weights" if adapter == "full" else f"A {_ADAPTERS.get(adapter, adapter.replace('_', ' '))} adapter"
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {base.rpartition('/')[2]}, {method.lower()}",
        f"{what} on `{base}`{_form(kinds, adapter)}, trained by {method.lower()} on `{dataset}` with Atelier "
        f"(run {status['id']}).",
        "## Use\n\n" + _use(base, kinds, str(status["recipe"])),
        "## Data\n\n" + _data(dataset, story),
        "## How it went\n\n" + _curves(story),
    ]
    closing = {k: value for k, value in status["metrics"].items() if k.startswith(_CLOSING) and k not in _QUIET}
    if closing:
        parts.append(
            "## Evaluation\n\n" + _table(("figure", "value"), [(name, _number(v)) for name, v in closing.items()])
        )
    if story.samples:
        parts.append("## Answers\n\nTo held-out prompts, before and after.\n\n" + _answers(story.samples))
    parts.append("## Settings\n\n" + _table(("setting", "value"), [(k, public(str(v))) for k, v in _settings(params)]))
    if len(lineage) > 1:
        parts.append("## Lineage\n\n" + "\n".join(_step(one) for one in lineage))
    parts.append(f"## Licence\n\n{_licence(base, licence)}")
    return "\n\n".join(parts) + "\n"


def public(name: str) -> str:
    """A name without the folders that only this machine has."""
    return Path(name).name if name.startswith(("/", "~", ".")) else name


def spark(values: Sequence[float]) -> str:
    """A curve in one line, from its smallest to its largest value; points are means where there are many."""
    size = max(1, -(-len(values) // _WIDTH))
    points = [sum(part) / len(part) for part in (values[i : i + size] for i in range(0, len(values), size))]
    low, high = min(points), max(points)
    return "".join(_BARS[round((point - low) / (high - low) * 7) if high > low else 3] for point in points)


def _form(kinds: set[str], adapter: str) -> str:
    """What became of an adapter since."""
    if "gguf" in kinds:
        return ", merged and written as GGUF" if adapter != "full" else ", written as GGUF"
    return ", merged into its weights" if "model" in kinds and adapter != "full" else ""


def _use(base: str, kinds: set[str], recipe: str) -> str:
    kind = "AutoModelForSequenceClassification" if recipe == "reward" else "AutoModelForCausalLM"
    head = ", num_labels=1" if recipe == "reward" else ""
    if "gguf" in kinds:
        return "Open the `.gguf` file with llama.cpp, Ollama or LM Studio, or with the `gguf_file` of transformers."
    if "model" in kinds:
        body = f'from transformers import {kind}, AutoTokenizer\n\nmodel = {kind}.from_pretrained("THIS_REPOSITORY")\n'
    else:
        body = (
            f"from peft import PeftModel\nfrom transformers import {kind}, AutoTokenizer\n\n"
            f'model = {kind}.from_pretrained("{base}"{head})\n'
            'model = PeftModel.from_pretrained(model, "THIS_REPOSITORY")\n'
        )
    return f'```python\n{body}tokenizer = AutoTokenizer.from_pretrained("THIS_REPOSITORY")\n```'


def _data(dataset: str, story: Story) -> str:
    lines = [f"`{dataset}`. {story.rows}".strip().rstrip(".") + "."]
    if dataset in SAMPLES:
        lines.append("It comes with Atelier and is dedicated to the public domain (CC0-1.0).")
    return " ".join(lines)


def _curves(story: Story) -> str:
    rows = []
    for name, points in sorted(story.curves.items()):
        values = [value for _, value in points]
        if name not in _QUIET and len(values) > 1 and all(value == value for value in values):
            rows.append((name, _number(values[0]), f"`{spark(values)}`", _number(values[-1]), str(points[-1][0])))
    return _table(("figure", "first", "", "last", "step"), rows) if rows else "Nothing was measured more than once."


def _answers(samples: Sequence[Mapping[str, str]]) -> str:
    rows = [(one["prompt"], one.get("base", ""), one["answer"], one.get("reference", "")) for one in samples]
    return _table(("prompt", "base", "this model", "reference"), rows)


def _settings(params: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """All that were given or have a value, what every recipe takes first."""
    order = {name: place for place, name in enumerate(TrainParams.model_fields)}
    given = [(name, value) for name, value in params.items() if value not in ("", None, {})]
    return sorted(given, key=lambda pair: order.get(pair[0], len(order)))


def _step(one: Mapping[str, Any]) -> str:
    sources = ", ".join(f"{why} {source}" for source, why in one["sources"].items())
    data = f" on `{public(str(one['dataset']))}`" if one["dataset"] else ""
    return f"- {one['id']}: {one['recipe']}{data}" + (f" ({sources})" if sources else "")


def _licence(base: str, licence: str | None) -> str:
    if licence:
        return f"That of the base, `{base}`: {licence}."
    return f"The licence of the base, `{base}`, holds for what is made of it: see its own card."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

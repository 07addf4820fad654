"""The card of what taught an image model, with the metadata that diffusers' own training scripts give theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.card import public
from backend.recipes import PICTURES, image_script
from backend.recipes.params import check
from backend.starter import IMAGE_ID, SAMPLES

LICENCES = {IMAGE_ID: "apache-2.0"}  # of bases that are known without asking


def drawn(folder: Path) -> list[Path]:
    """The pictures of a run's newest checkpoint."""
    steps = sorted(folder.glob("samples/step-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return sorted(steps[-1].glob("*.png")) if steps else []


def image_card(status: Mapping[str, Any], folder: Path) -> str:
    """The card of the run that `status` tells of (as `Lab.status` does), with its front matter. Names no path."""
    from huggingface_hub import ModelCardData

    params = check(PICTURES[status["recipe"]].params, status["params"])
    settings: dict[str, Any] = params.model_dump()
    base, dataset = public(settings["model"]), public(settings["dataset"])
    lora = status["recipe"] == "image_lora"
    prompts: list[str] = params.shown  # type: ignore[attr-defined]
    each = max(1, int(settings["num_validation_images"]))
    pictures = drawn(folder)
    shown = [(prompts[at // each], path.name) for at, path in enumerate(pictures) if at // each < len(prompts)]
    tags = ["text-to-image", "diffusers-training", "diffusers", "atelier"]
    data = ModelCardData(
        base_model=base if "/" in base else None,
        base_model_relation="adapter",
        library_name="diffusers",
        pipeline_tag="text-to-image",
        license=LICENCES.get(base),
        instance_prompt=settings["instance_prompt"],
        tags=[*tags, *(["lora", "template:sd-lora"] if lora else ["textual_inversion"])],
        widget=[{"text": prompt, "output": {"url": f"pictures/{name}"}} for prompt, name in shown] or None,
    )
    what = "An image LoRA" if lora else f"The word `{settings['placeholder_token']}`"
    own = (
        "The pictures come with Atelier and are dedicated to the public domain (CC0-1.0)." if dataset in SAMPLES else ""
    )
    values = "\n".join(
        f"| {name} | {public(str(value))} |" for name, value in settings.items() if value not in ("", None)
    )
    figures = {
        name: status["metrics"][name] for name in ("steps", "train_loss", "seconds") if name in status["metrics"]
    }
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {base.rpartition('/')[2]}, {PICTURES[status['recipe']].title.lower()}",
        f"{what} on `{base}`, learned from the pictures of `{dataset}` with Atelier (run {status['id']}). "
        f"It is called up by `{settings['instance_prompt']}`. {own}".strip(),
        "## Use\n\n```python\n" + image_script.use(status["recipe"], base, settings["instance_prompt"]) + "```",
    ]
    if shown:
        parts.append("## Pictures\n\n" + "\n".join(f"![{prompt}](pictures/{name})" for prompt, name in shown))
    parts.append("## How it went\n\n" + "\n".join(f"- {name}: {json.dumps(value)}" for name, value in figures.items()))
    parts.append(f"## Settings\n\n| setting | value |\n| --- | --- |\n{values}")
    parts.append(f"## Licence\n\nThe licence of the base, `{base}`, holds for what is made of it: see its own card.")
    return "\n\n".join(parts) + "\n"

"""What is put on a pipeline for one request: LoRA adapters with weights, and words learned by textual inversion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.engines.image import Worn
from backend.engines.memory import out_of_memory
from backend.engines.model_files import first_line, head_of
from backend.engines.pipeline_files import pickled
from backend.engines.pipelines import Loaded
from backend.errors import BadInput, LabError, NotFound
from backend.recipes.loading import hub_errors

LORA, WORDS = "pytorch_lora_weights.safetensors", "learned_embeds.safetensors"


@dataclass(frozen=True)
class Adapter:
    """One adapter's file, as it is now. `token` is the word that a textual inversion has taught."""

    name: str  # as it was asked for
    file: Path
    changed: int
    token: str  # '' of a LoRA
    base: str  # the model that it was made for, '' unknown

    @property
    def teaches(self) -> bool:
        return bool(self.token)


def wear(loaded: Loaded, wanted: Sequence[Worn], names: dict[str, str]) -> None:
    """Have just these adapters on the pipeline; those of an earlier request come off.

    Raises NotFound, Gated, HubError, and BadInput for what does not fit.
    """
    worn = tuple((_found(one.name, names.get(one.name, one.name)), one.weight) for one in wanted)
    if worn == loaded.worn:
        return
    _take_off(loaded)
    try:
        for number, (adapter, _) in enumerate(worn):
            _put_on(loaded, adapter, f"a{number}")
        lora = [(f"a{number}", weight) for number, (adapter, weight) in enumerate(worn) if not adapter.teaches]
        if lora:
            loaded.pipeline.set_adapters([key for key, _ in lora], [weight for _, weight in lora])
    except Exception:
        _take_off(loaded)
        raise
    loaded.worn = worn


def _found(place: str, name: str) -> Adapter:
    """The file of an adapter: a folder's, a file, or the Hub's."""
    path = Path(place) if Path(place).is_absolute() else _fetched(place)
    if path.is_file():
        file = path
    else:
        known = [path / LORA, path / WORDS]
        held = [one for one in known if one.exists()] or sorted(path.glob("*.safetensors"))
        if not held:
            if path.exists() and any(path.glob("*.bin")):
                raise pickled(name)
            raise NotFound(f"{name} has no {LORA} and no {WORDS}.", "Choose another adapter.", "adapter.unknown")
        file = held[0]
    if file.suffix != ".safetensors":
        raise pickled(name)
    about = _about(file.parent / "adapter.json")
    token = str(about["token"] or file.stem) if _is_words(file, name) else ""
    return Adapter(name, file, file.stat().st_mtime_ns, token, str(about["model"]))


def token_of(place: str) -> str:
    """The word that the adapter in a place of this disk teaches; '' of a LoRA, and of one that isn't here."""
    if not Path(place).is_absolute():
        return ""
    try:
        return _found(place, Path(place).name).token
    except LabError:
        return ""


def _about(file: Path) -> dict[str, Any]:
    """What its makers wrote beside an adapter: {model, kind, token}."""
    held = json.loads(file.read_text()) if file.exists() else {}
    return {"token": held.get("token"), "model": held.get("model") or held.get("base_model") or ""}


def _keys(file: Path, name: str) -> dict[str, Any]:
    """Shapes by name, from a file's head."""
    try:
        return {key: one["shape"] for key, one in head_of(file).items()}
    except (ValueError, OSError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise BadInput(
            f"{name} is not a safetensors file that can be read.", "Save or upload it again.", "adapter.invalid"
        ) from error


def _is_words(file: Path, name: str) -> bool:
    """Whether it holds embeddings of new words: a few vectors, and no LoRA matrices."""
    shapes = _keys(file, name)
    return len(shapes) <= 2 and not any("lora" in key.lower() for key in shapes)


def _fetched(name: str) -> Path:
    with hub_errors(name):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "adapter.json"], ignore_patterns="*/*"))


def _put_on(loaded: Loaded, adapter: Adapter, key: str) -> None:
    kind = "load_textual_inversion" if adapter.teaches else "load_lora_weights"
    if not hasattr(loaded.pipeline, kind):
        what = "learned words" if adapter.teaches else "LoRA adapters"
        raise BadInput(
            f"{type(loaded.pipeline).__name__} takes no {what}, so {adapter.name} can't be used with it.",
            "Take it away, or choose another model.",
            "adapter.misfit",
        )
    try:
        if adapter.teaches:
            loaded.pipeline.load_textual_inversion(str(adapter.file), token=adapter.token, local_files_only=True)
            return
        loaded.pipeline.load_lora_weights(
            str(adapter.file.parent), weight_name=adapter.file.name, adapter_name=key, local_files_only=True
        )
    except LabError:
        raise
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, StopIteration, IndexError) as error:
        if out_of_memory(error):
            raise
        raise _misfit(loaded, adapter, _reason(error)) from error
    if not _all_in_place(loaded, adapter, key):
        raise _misfit(loaded, adapter, "its layers are others")


def _all_in_place(loaded: Loaded, adapter: Adapter, key: str) -> bool:
    """Whether every matrix of the file has found its layer; the loaders only warn of the others."""
    parts = [part for part in loaded.pipeline.components.values() if hasattr(part, "named_parameters")]
    placed = sum(f".{key}." in f"{name}." and ".lora_" in name for part in parts for name, _ in part.named_parameters())
    keys = [one for one in _keys(adapter.file, adapter.name) if not one.endswith((".alpha", ".dora_scale"))]
    return placed >= sum("lora" in one for one in keys) > 0


def _take_off(loaded: Loaded) -> None:
    """The pipeline as it was loaded."""
    taught = [adapter.token for adapter, _ in loaded.worn if adapter.teaches]
    loaded.worn = ()
    if hasattr(loaded.pipeline, "unload_lora_weights"):
        loaded.pipeline.unload_lora_weights()
    if taught:
        loaded.pipeline.unload_textual_inversion()


def _misfit(loaded: Loaded, adapter: Adapter, why: str) -> BadInput:
    made = f" was made for {adapter.base} and" if adapter.base else ""
    return BadInput(
        f"The adapter {adapter.name}{made} does not fit {type(loaded.pipeline).__name__} {loaded.name}: {why}.",
        "Choose the model that it was made for, or another adapter.",
        "adapter.misfit",
    )


def _reason(error: BaseException) -> str:
    said = str(error)
    if isinstance(error, KeyError) or "size mismatch" in said or "shape" in said:  # a KeyError: of a second one
        return "its matrices have other sizes"
    return first_line(error)

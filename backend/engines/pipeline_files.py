"""The files of a diffusers pipeline: which are wanted, fetched once, and how many bytes they will be in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from backend.engines.model_files import Say, Stamp, announce, head_of, silent
from backend.errors import BadInput, HubError, LabError, NotFound
from backend.recipes.loading import hub_errors
from backend.starter import IMAGE_ID, locate

_ITEM = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of safetensors' floating types
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # which a pipeline's parts may be of
INDEX = "model_index.json"


def folder_of(name: str, say: Say = silent) -> Path:
    """The local folder of a pipeline, or a checkpoint in one file: the starter's, one that is there, or the Hub's.

    Raises NotFound, Gated, HubError, NoRoom, and BadInput for what is no pipeline or only has pickled weights.
    """
    place = Path(locate(name, say=say))
    if place.is_absolute():
        if not place.exists():
            raise NotFound(f"There is no folder {name}.", "Choose one from the list, or give a Hub id as owner/name.")
        if place.is_file():
            if place.suffix != ".safetensors":
                raise pickled(place.name)
            return place
    else:
        place = _fetched(name, say)
    index = _index(place / INDEX, name)
    if not any(held for part in index if (held := sorted((place / part).glob("*.safetensors")))):
        raise pickled(name)
    if gone := [part for part in index if not (place / part).is_dir()]:
        raise BadInput(
            f"{name} lacks what its {INDEX} names: {', '.join(gone)}.", "Save or download it again.", "model.invalid"
        )
    return place


def described(file: Path, pipeline: str) -> Path:
    """The folder that tells what a checkpoint in one file is made of: the one of its name beside it, else that of
    `pipeline`, of whose files no weights are fetched. Raises HubError."""
    beside = file.with_suffix("")
    if (beside / INDEX).exists():
        return beside
    try:
        with hub_errors(pipeline):
            from huggingface_hub import snapshot_download

            return Path(snapshot_download(pipeline, allow_patterns=["*.json", "*.txt", "*.model"]))
    except LabError as error:
        raise HubError(
            f"{file.name} holds weights alone; what they are of is told by {pipeline}, which can't be had: "
            f"{error.message}",
            f"Try again when the Hub answers, or put the .json and .txt files of {pipeline} into a folder "
            f"{beside.name!r} beside the file.",
            "model.undescribed",
        ) from error


def pickled(name: str) -> BadInput:
    """What is said of weights that are not in safetensors."""
    return BadInput(
        f"{name} has no .safetensors weights. Pickled weights (.bin, .ckpt, .pt) can run any code when they are read, "
        "so they are not read here.",
        "Choose one with .safetensors files, or convert it in a place that you trust.",
        "model.pickle",
    )


def stamp_of(place: Path) -> Stamp:
    """What changes when files of a pipeline are replaced."""
    files = [place] if place.is_file() else [*place.glob("*.json"), *place.glob("*/*.json"), *place.glob("*/*.safe*")]
    return tuple(sorted((str(path), stat.st_mtime_ns, stat.st_size) for path in files for stat in (path.stat(),)))


def weights_of(place: Path, item: int) -> list[int]:
    """Bytes of the weights of each part with `item` bytes a number, told from the heads of their files."""
    if place.is_file():
        return [_bytes(place, item)]
    index = json.loads((place / INDEX).read_text())
    held = [_variant(sorted((place / part).glob("*.safetensors"))) for part in index]
    return [sum(_bytes(path, item) for path in paths) for paths in held]


def variant_of(place: Path) -> str | None:
    """`fp16` where a part has only weights of that variant."""
    index = json.loads((place / INDEX).read_text())
    held = [[path.name for path in (place / part).glob("*.safetensors")] for part in index]
    return "fp16" if any(names and all(".fp16." in name for name in names) for names in held) else None


def _bytes(path: Path, item: int) -> int:
    size = 0
    for tensor in head_of(path).values():
        begin, end = tensor["data_offsets"]
        size += (end - begin) * item // _ITEM.get(tensor["dtype"], item)
    return size


def _variant(paths: Iterable[Path]) -> list[Path]:
    """Of weights that are there twice, the half as long ones."""
    paths = list(paths)
    half = [path for path in paths if ".fp16." in path.name]
    return half or paths


def _index(path: Path, name: str) -> dict[str, Any]:
    """The parts of a pipeline: {name: [library, class]}. Raises BadInput."""
    if not path.exists():
        raise BadInput(
            f"{name} has no {INDEX}, so it is not a diffusers pipeline.",
            f"Choose an image model such as {IMAGE_ID}.",
            "model.wrong_task",
        )
    index: dict[str, Any] = json.loads(path.read_text())
    parts = {key: value for key, value in index.items() if not key.startswith("_") and isinstance(value, list)}
    own = [key for key, (library, _) in parts.items() if library and library.split(".")[0] not in _LIBRARIES]
    if own or isinstance(index.get("_class_name"), list):
        raise BadInput(
            f"{name} brings its own code ({', '.join(own) or 'for the pipeline itself'}), which is not run here.",
            "Choose a pipeline of diffusers' own classes.",
            "model.remote_code",
        )
    return {key: value for key, value in parts.items() if value[0]}


def _fetched(name: str, say: Say) -> Path:
    with hub_errors(name):
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import DryRunError, EntryNotFoundError

        try:
            index = _index(Path(hf_hub_download(name, INDEX)), name)
        except EntryNotFoundError:
            index = _index(Path(name) / INDEX, name)
        of_parts = [f"{part}/{kind}" for part in index for kind in ("*.json", "*.txt", "*.model", "*.safetensors")]
        wanted = [INDEX, *of_parts]
        unwanted = ["*non_ema*", "*.msgpack", "*openvino*"]
        try:
            plan = snapshot_download(name, allow_patterns=wanted, ignore_patterns=unwanted, dry_run=True)
        except DryRunError:  # the Hub does not answer: what the cache has must do, half precision alone, too
            return Path(snapshot_download(name, allow_patterns=[INDEX]))
        names = [file.filename for file in plan]
        if plan and not any(one.endswith(".safetensors") for one in names):
            raise pickled(name)
        unwanted += [one for one in names if _twice(one, names)]
        missing = sum(file.file_size or 0 for file in plan if file.will_download and file.filename not in unwanted)
        announce(name, missing, say)
        return Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=unwanted))


def _twice(file: str, files: list[str]) -> bool:
    """Whether a file of full weights is there in half precision, too."""
    if ".fp16." in file or not file.endswith((".safetensors", ".safetensors.index.json")):
        return False
    folder = file.rpartition("/")[0]
    return any(one.startswith(f"{folder}/") and ".fp16." in one and one.endswith(".safetensors") for one in files)

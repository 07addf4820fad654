"""What travels to Hugging Face Jobs with a run, the code and the files that its params name, and what comes back."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from backend.targets import freight

ROOT = Path(__file__).resolve().parents[2]
STACK = (  # of requirements.txt, what recipes need
    *("transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate", "huggingface_hub", "torch", "gguf"),
    *("diffusers", "pillow"),
    *("pydantic", "psutil", "evaluate", "scipy", "sacrebleu", "rouge-score", "nltk", "jsonschema", "duckdb", "pyarrow"),
)
# What the job runs: fetch the repository, install what is missing, hand over to freight.py, which came along.
BEGIN = """
import os, subprocess, sys, zipfile
repository, module, hub = sys.argv[1:]
pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action", "ignore"]
subprocess.check_call([*pip, hub])
from huggingface_hub import snapshot_download
folder = os.path.abspath("run")
snapshot_download(repository, local_dir=folder)
subprocess.check_call([*pip, "-r", folder + "/job/requirements.txt"])
zipfile.ZipFile(folder + "/job/code.zip").extractall("code")
os.chdir("code")
os.execv(sys.executable, [sys.executable, "-u", "-m", "backend.targets.freight", repository, folder, module])
"""


def command(repository: str, module: str) -> list[str]:
    """What the job runs."""
    from huggingface_hub import __version__

    return ["python", "-c", BEGIN, repository, module, f"huggingface_hub=={__version__}"]


def requirements(sharding: str = "") -> str:
    """Lines of our own requirements that recipes need, and DeepSpeed where a `sharding` by it is wished for."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {line: line.partition("=")[0].partition("<")[0].partition(">")[0].partition("[")[0] for line in lines}
    needed = [line for line, name in names.items() if name in STACK]
    return "\n".join([*needed, *(["deepspeed"] if sharding.startswith("zero") else []), ""])


def code(packages: set[str]) -> bytes:
    """Packages of ours as a zip: the same recipes run there as here."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for name in packages for path in (ROOT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(ROOT))
    return out.getvalue()


def packed(params: Any, inputs: dict[str, bytes | Path] | None = None) -> tuple[Any, dict[str, bytes | Path]]:
    """(params with paths of this disk replaced, {path in the repository: file}) of what they name."""
    inputs = {} if inputs is None else inputs
    if isinstance(params, dict):
        return {key: packed(one, inputs)[0] for key, one in params.items()}, inputs
    if isinstance(params, list):
        return [packed(one, inputs)[0] for one in params], inputs
    if not isinstance(params, str) or not params.startswith("/"):
        return params, inputs
    model, plus, adapter = params.partition(" + ")
    names = []
    for one in filter(None, (model, adapter)):
        source, number = Path(one), len({name.split("/")[2] for name in inputs})
        if not source.exists():
            names.append(one)
            continue
        name = f"{freight.INPUTS}{number}/{source.name}"
        names.append(name)
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_file():
                inputs[name if source.is_file() else f"{name}/{path.relative_to(source).as_posix()}"] = path
    return plus.join(names) if plus else names[0], inputs


def land(repository: str, token: str, folder: Path) -> tuple[str, int]:
    """Bring what a run made to its folder, each file compared; gives (the first that is wrong, how many are right)."""
    from huggingface_hub import snapshot_download

    place = folder / "landed"
    snapshot_download(repository, local_dir=place, token=token, ignore_patterns=["job/*"])
    try:
        manifest = json.loads((place / freight.MANIFEST).read_text())
    except (FileNotFoundError, ValueError):
        return "the list of what it made", 0
    for name, listed in manifest.items():
        file = place / name
        if not file.is_file() or file.stat().st_size != listed["bytes"] or freight.digest(file) != listed["sha256"]:
            return str(name), 0
        if name.endswith(".safetensors") and not opens(file):
            return str(name), 0
    for name in manifest:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (place / name).replace(target)
    shutil.rmtree(place)
    return "", len(manifest)


def opens(file: Path) -> bool:
    """Whether its header can be read and all of its tensors lie inside."""
    try:
        with file.open("rb") as data:
            size = int.from_bytes(data.read(8), "little")
            header = json.loads(data.read(size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + size + max(ends, default=0) == file.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        return False

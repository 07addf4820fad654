"""What a model folder's weights are, from the headers of its files: names, shapes and sizes. Loads nothing."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

_BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16}
_MOST = 100_000_000  # bytes of a header, as safetensors itself allows


@dataclass(frozen=True)
class Weights:
    """Tensors by name: (kind of number, shape)."""

    tensors: dict[str, tuple[str, tuple[int, ...]]]

    @property
    def count(self) -> int:
        """Numbers in all."""
        return sum(prod(shape) for _, shape in self.tensors.values())

    @property
    def bytes(self) -> int:
        """On the disk."""
        return sum(prod(shape) * _BITS.get(kind, 8) // 8 for kind, shape in self.tensors.values())

    def has(self, layer: str) -> bool:
        """Whether a layer's name is `layer` or ends in it, as PEFT compares them."""
        return any(name == layer or name.endswith(f".{layer}") for name in self.layers())

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Layers by name with their weight's shape; embeddings and norms are among them."""
        return {n.removesuffix(".weight"): shape for n, (_, shape) in self.tensors.items() if n.endswith(".weight")}

    def linear(self) -> list[str]:
        """The last names of its linear layers, in the order of the first of each."""
        inner = {n: shape for n, shape in self.layers().items() if (len(shape) == 2 and ".layers." in n) or ".h." in n}
        return list(dict.fromkeys(name.rpartition(".")[2] for name, shape in inner.items() if len(shape) == 2))


def read(folder: Path) -> Weights:
    """The headers of all `*.safetensors` in `folder`; empty where there are none or one can't be read."""
    files = sorted(folder.glob("*.safetensors"))
    return _read(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files))


@lru_cache(maxsize=16)
def _read(files: tuple[tuple[Path, int, int], ...]) -> Weights:
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path, _, _ in files:
        with path.open("rb") as file:
            head = file.read(8)
            size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            try:
                entries = json.loads(file.read(size)) if size <= _MOST else {}
            except ValueError:
                entries = {}
        for name, entry in entries.items():
            if name != "__metadata__":
                found[name] = (str(entry["dtype"]), tuple(entry["shape"]))
    return Weights(found)

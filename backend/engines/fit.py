"""Whether a model fits into memory, told before anything is loaded: from its config and the headers of its weights.

Bytes are parameters × precision plus the cache of attention: for each layer and token a key and a value. Where the
engine answers by packed weights, those come on top: 8 bits a weight at most, and a scale and a zero for each 32.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backend import events as ev
from backend.engines.lean import FAMILY
from backend.engines.memory import SPARE, free_memory, in_words
from backend.engines.model_files import Say, head_of, silent
from backend.engines.proof import SMALL
from backend.engines.shelf import Shelf
from backend.engines.text import Answer
from backend.errors import BadInput
from backend.recipes.device import choose, find
from backend.recipes.loading import hub_errors
from backend.starter import MODEL_ID, locate

_KEPT = 64  # models whose sizes are kept
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
_STORED = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
           "I8": 1, "U8": 1, "BOOL": 1}  # fmt: skip
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


class FitParams(BaseModel):
    """Which model, and for how long a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(MODEL_ID, title="Model", description="A Hub id or a folder")
    adapter: str = ""
    tokens: int = Field(4096, ge=1, le=10_000_000, title="Conversation", description="In tokens")


class FitEngine:
    """Answers `FitParams`: its one event is Finished, whose values are what `fit` gives. Loads nothing."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._read: OrderedDict[str, Weights] = OrderedDict()

    def ready(self, request: FitParams) -> bool:
        """Never at once: files are read, or the Hub is asked, where nobody waits."""
        return False

    def prepare(self, request: FitParams, say: Say = silent) -> None:
        """Raises NotFound, Gated, HubError, BadInput."""
        folder = Path(locate(request.model, say=say))
        self._read[request.model] = read(folder) if folder.is_dir() else look_up(request.model)
        while len(self._read) > _KEPT:
            self._read.popitem(last=False)

    def stream(self, request: FitParams) -> Answer:
        """What can be let go for the model counts as free, and one that is loaded fits."""
        weights = self._read[request.model]
        free = free_memory() + self._shelf.idle_bytes()
        machine = find()
        precision = choose(machine).precision
        smaller = "" if request.model == MODEL_ID else MODEL_ID
        values = fit(weights, precision, free, request.tokens, smaller, packs=machine.kind == "cpu")
        if self._shelf.has(request.model):
            values |= {"fits": True, "advice": ""}
        yield ev.Finished(reason="stop", values=values)


@dataclass(frozen=True)
class Weights:
    """What a model's files say: parameters by safetensors' dtype, and its config."""

    counts: dict[str, int]
    config: dict[str, Any]

    @property
    def parameters(self) -> int:
        return sum(self.counts.values())

    @property
    def quantized(self) -> bool:
        return "quantization_config" in self.config

    def bytes(self, precision: str) -> int:
        """In memory: floats are cast to `precision`, quantized weights and whole numbers stay as they are stored."""
        own = _BYTES[precision]
        cast = not self.quantized
        return sum(
            count * (own if cast and kind in _FLOATS else _STORED.get(kind, 1)) for kind, count in self.counts.items()
        )

    @property
    def packed(self) -> int:
        """Bytes of the packed weights beside these, at most; 0 for a model that is not packed."""
        named = set(self.config.get("architectures") or ()) & set(FAMILY)
        return self.parameters * 5 // 4 if named and not self.quantized and self.parameters >= SMALL else 0

    @property
    def context(self) -> int:
        """Tokens that the model reads at most; 0 when it does not say."""
        return int(self._text.get("max_position_embeddings") or self._text.get("n_positions") or 0)

    def cache(self, tokens: int, precision: str) -> int:
        """Bytes of the attention cache of `tokens`; 0 for a model whose sizes are not told."""
        text = self._text
        layers = text.get("num_hidden_layers") or text.get("n_layer") or 0
        heads = text.get("num_attention_heads") or text.get("n_head") or 0
        size = text.get("hidden_size") or text.get("n_embd") or 0
        if not (layers and heads and size):
            return 0
        each = text.get("head_dim") or size // heads
        return 2 * int(layers) * int(text.get("num_key_value_heads") or heads) * int(each) * tokens * _BYTES[precision]

    @property
    def _text(self) -> dict[str, Any]:
        return self.config.get("text_config") or self.config


def read(folder: Path) -> Weights:
    """From a folder's config.json and the headers of its safetensors; the weights themselves are not read.

    Raises BadInput when they can't be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        counts: Counter[str] = Counter()
        for path in folder.glob("*.safetensors"):
            for entry in head_of(path).values():
                counts[entry["dtype"]] += math.prod(entry["shape"])
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        raise BadInput(
            f"The files of {folder.name} can't be read: {type(error).__name__}.", "Save or download the model again."
        ) from error
    if not counts:
        raise BadInput(f"{folder.name} has no weights in safetensors.", "Choose another model.", "model.no_safetensors")
    return Weights(dict(counts), config)


def look_up(name: str) -> Weights:
    """The same from the Hub, of which only the config is fetched. Raises NotFound, Gated, HubError, BadInput."""
    with hub_errors(name):
        from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        config = try_to_load_from_cache(name, "config.json", constants.HF_HUB_CACHE)
        if isinstance(config, str) and list(Path(config).parent.glob("*.safetensors")):
            return read(Path(config).parent)
        path = hf_hub_download(name, "config.json")
        try:
            told = HfApi(constants.ENDPOINT).get_safetensors_metadata(name)
        except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
            raise BadInput(
                f"{name} has no weights in safetensors.", "Choose another model.", "model.no_safetensors"
            ) from error
        counts = {str(kind): int(count) for kind, count in told.parameter_count.items()}
        return Weights(counts, json.loads(Path(path).read_text()))


def fit(
    weights: Weights, precision: str, free: int, tokens: int = 4096, smaller: str = "", packs: bool = False
) -> dict[str, Any]:
    """{parameters, bytes, packed_bytes, precision, context, context_bytes, free, fits, advice}.

    `advice` is '' when it fits.

    `free` are the bytes it may take, `smaller` names a model to take instead.
    """
    context = min(tokens, weights.context or tokens)
    needed, cache = weights.bytes(precision), weights.cache(context, precision)
    packed = weights.packed if packs else 0
    fits = needed + packed + cache + SPARE <= free
    advice = ""
    if not fits:
        advice = f"It needs {in_words(needed + packed + cache + SPARE)} of memory and {in_words(free)} are free. "
        bits = _BYTES[precision] * 8
        if not weights.quantized and needed * 4 / bits + cache + SPARE <= free:
            advice += "A version of it quantized to 4 bits would fit"
        else:
            advice += "Look for its name to find it at a provider"
        advice += f"; or take {smaller}." if smaller else "."
    return {
        "parameters": weights.parameters,
        "bytes": needed,
        "packed_bytes": packed,
        "precision": "as stored" if weights.quantized else precision,
        "context": context,
        "context_bytes": cache,
        "free": free,
        "fits": fits,
        "advice": advice,
    }

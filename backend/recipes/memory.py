"""How much memory a run will need, worked out from the headers of the model's files. Loads nothing.

    base + weights + the greater of   optimizer + activations + logits   (a backward pass begins)
                                      optimizer + gradients              (a step of the optimizer)

A token's activations in a layer were counted on the tensors that autograd keeps for Llama's layers of several widths;
with those counts the sum was held against real runs of the tiny model and the starter (see the tests).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backend.recipes.params import LORAS, PROMPTS, TrainParams
from backend.recipes.weights import Weights, read

BASE = 660_000_000  # a process with PyTorch, Transformers and TRL, on a CPU
_ADAM = 8  # bytes for each trained number: two moments in fp32
_NF4 = 0.53  # bytes for each number in 4 bits, its scales included
# Bytes that one token keeps in one layer, for each number of its width, of its inner width, of its keys and values:
# what is kept for backward, by what is trained, with weights of 2 and of 4 bytes.
_KEPT: dict[tuple[str, int], tuple[float, float, float]] = {
    ("lean", 2): (17.5, 8.4, 5.0),
    ("lean", 4): (24.4, 16.3, 9.0),
    ("lora", 2): (36.4, 10.3, 5.0),
    ("lora", 4): (24.4, 16.3, 9.0),
    ("ia3", 2): (12.0, 10.1, 8.2),
    ("ia3", 4): (16.0, 16.1, 16.2),
    ("prompts", 2): (11.0, 6.0, 4.0),
    ("prompts", 4): (19.0, 12.0, 8.0),
    ("full", 2): (20.0, 8.0, 4.1),
    ("full", 4): (32.0, 16.0, 8.1),
}
_LOGIT = {2: 20.0, 4: 28.0}  # bytes for each number of the vocabulary and token whose next one is learned
_MORE = {"dpo": 1.4, "kto": 1.4, "grpo": 1.4, "rloo": 1.4}  # they keep a reference's or the old probabilities, too
_UNPACKED = 500_000_000  # bytes of 4-bit weights that are there unpacked, too, when they are packed and used
_BETWEEN = 1.1  # what the allocator leaves between tensors that come and go
_ROWS = {"dpo": 2, "reward": 2, "orpo": 2}  # texts that a row is in a batch


@dataclass(frozen=True)
class Sizes:
    """Of a model: numbers in all and in its linear layers, and the widths that its activations have."""

    count: int
    linear: int
    bytes: int  # on the disk
    width: int
    inner: int
    keys: int
    layers: int
    vocabulary: int
    context: int


@dataclass(frozen=True)
class Memory:
    """Bytes, by what takes them, and the number of trained weights."""

    base: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    trained: int

    @property
    def total(self) -> int:
        """At the worst moment."""
        backward = self.activations + self.logits
        return self.base + self.weights + self.optimizer + max(backward, self.gradients)

    def plain(self) -> dict[str, int]:
        return asdict(self) | {"total": self.total}


def sizes(folder: Path) -> Sizes | None:
    """Of the model in `folder`; None where its files don't tell."""
    there = read(folder)
    try:
        whole: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    config = whole.get("text_config", whole)
    width = config.get("hidden_size") or config.get("n_embd")
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    if not (width and layers and there.tensors):
        return None
    heads = config.get("num_attention_heads") or config.get("n_head") or 1
    size = config.get("head_dim") or width // heads
    linear = sum(a * b for a, b in _linear(there).values())
    return Sizes(
        count=there.count,
        linear=linear,
        bytes=there.bytes,
        width=width,
        inner=config.get("intermediate_size") or config.get("n_inner") or 4 * width,
        keys=size * (config.get("num_key_value_heads") or heads),
        layers=layers,
        vocabulary=config.get("vocab_size", 0),
        context=config.get("max_position_embeddings", 0),
    )


def estimate(
    recipe: str, params: TrainParams, folder: Path, tokens: int, learned: int, number: int, gpu: bool = False
) -> Memory | None:
    """For rows of `tokens`, of which `learned` are learned, and weights of `number` bytes; None if files don't tell.

    `tokens` is the longest row's; all rows of a batch are padded to it.
    """
    model = sizes(folder)
    if model is None:
        return None
    rows = params.per_device_train_batch_size * _ROWS.get(recipe, 1)
    there = read(folder)
    trained = count(params, model, there)
    full = params.adapter == "full"
    kept = _KEPT[_kind(params, gpu), number]
    width = kept[0] * model.width + kept[1] * model.inner + kept[2] * model.keys
    extra = params.num_virtual_tokens if params.adapter in PROMPTS else 0
    positions = rows * (min(tokens, params.max_length) + extra)
    if params.gradient_checkpointing == "on" or (params.gradient_checkpointing == "auto" and gpu):
        activations = positions * (model.layers * model.width * number + width)
    else:
        activations = positions * model.layers * width
    held = model.count * number
    if params.adapter == "qlora":
        unpacked = min(2 * model.linear * number, _UNPACKED)
        held = int(model.linear * _NF4 + (model.count - model.linear) * number + unpacked)
    each = _LOGIT[number] * _MORE.get(recipe, 1)
    logits = 0 if recipe == "reward" else rows * min(learned, params.max_length) * model.vocabulary * each
    return Memory(
        base=0 if gpu else BASE,
        weights=held + (0 if full else trained * 4),
        gradients=trained * 4,
        optimizer=trained * _ADAM,
        activations=int(activations * _BETWEEN),
        logits=int(logits * _BETWEEN),
        trained=trained,
    )


def count(params: TrainParams, model: Sizes, there: Weights) -> int:
    """Numbers that are trained."""
    chosen = _chosen(params, there)
    many = params.num_virtual_tokens
    match params.adapter:
        case "full":
            return model.count
        case "lora" | "qlora":
            return sum(params.lora_r * (a + b) + (a if params.use_dora else 0) for a, b in chosen.values())
        case "ia3":
            return sum(b if name.endswith(("down_proj", "fc2", "w2", "wo")) else a for name, (a, b) in chosen.items())
        case "prefix_tuning":
            return many * model.layers * 2 * model.keys
        case "prompt_tuning":
            return many * model.width
        case _:  # p-tuning: embeddings, and a network of three layers
            inside = 128
            return many * model.width + 2 * model.width * inside + inside * inside + 2 * inside + model.width


def _kind(params: TrainParams, gpu: bool) -> str:
    if params.adapter == "lora" and not (gpu or params.lora_dropout or params.use_dora):
        return "lean"  # see `lowrank`
    return "lora" if params.adapter in LORAS else "prompts" if params.adapter in PROMPTS else params.adapter


def _linear(there: Weights) -> dict[str, tuple[int, int]]:
    """Linear layers inside the model by name: (out, in)."""
    short = set(there.linear())
    found = {}
    for name, shape in there.layers().items():
        if len(shape) == 2 and name.rpartition(".")[2] in short and (".layers." in name or ".h." in name):
            found[name] = (shape[0], shape[1])
    return found


def _chosen(params: TrainParams, there: Weights) -> dict[str, tuple[int, int]]:
    names = [name.strip() for name in params.target_modules.split(",") if name.strip()]
    if params.adapter == "ia3" and names in ([], ["all-linear"]):
        names = ["k_proj", "v_proj", "down_proj"]
    everything = _linear(there)
    if names in ([], ["all-linear"]):
        return everything
    return {name: shape for name, shape in everything.items() if name.rpartition(".")[2] in names or name in names}

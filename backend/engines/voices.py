"""Voices: models read into memory so that they can answer, as they are or with an adapter.

An adapter gets a copy of the base's modules that shares the base's tensors, and PEFT works on that copy: base and
adapters answer at the same time from one set of weights, there is nothing to switch between their steps, and no
adapter can leak into another.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.engines import proof
from backend.engines.batch import Batch
from backend.engines.lean import Adapter
from backend.engines.lowrank import low_rank
from backend.engines.memory import free_memory, out_of_memory
from backend.engines.model_files import Stamp, first_line, reading, stamp_of
from backend.engines.pace import Pace
from backend.errors import BadInput
from backend.recipes.device import Device
from backend.recipes.loading import hub_errors


@dataclass(eq=False)
class Words:
    """What is known of a model without its weights: folder, tokenizer, context in tokens, tokens that end an answer."""

    name: str
    folder: Path
    stamp: Stamp
    tokenizer: Any
    config: Any
    context: int
    ends: frozenset[int]


@dataclass(eq=False)
class Voice:
    """Something that can answer: `model` makes a step, `prompt` holds what prompt learning puts before the text.

    With a `batch` it answers by packed weights, together with others; `why_plain` says why there is none.
    """

    words: Words
    model: Any
    threads: int = 1
    adapter: str = ""
    folder: Path | None = None  # of the adapter
    stamp: Stamp = ()  # of the adapter
    prompt: Any = None  # a cache to begin with, or embeddings [1, virtual, size]
    virtual: int = 0  # tokens of the context that `prompt` takes
    batch: Batch | None = None
    low: Adapter | None = None  # of the adapter, for the batch
    why_plain: str = ""

    def __post_init__(self) -> None:
        self.pace = Pace(self.model, self.threads)
        takes = inspect.signature(self.model.forward).parameters
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @property
    def key(self) -> Hashable:
        """Tells it from every other voice, and from itself before its files changed."""
        return (self.words.name, self.words.stamp, self.adapter, self.stamp)

    @property
    def context(self) -> int:
        return self.words.context - self.virtual

    @property
    def path(self) -> str:
        """Which way it answers: `packed 4-bit`, `packed 8-bit` or `plain`."""
        return f"packed {self.batch.lean.bits}-bit" if self.batch else "plain"

    @property
    def device(self) -> str:
        return str(self.model.device)

    @property
    def dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")


def read_words(name: str, folder: Path) -> Words:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    stamp = stamp_of(folder)
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise BadInput(f"{name} is an adapter, not a model.", "Choose it as the adapter, its base as the model.")
        raise BadInput(f"{name} has no config.json, so it is not a transformers model.", "Choose another model.")
    with reading(name):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        text = config.get_text_config()
        context = getattr(text, "max_position_embeddings", None) or tokenizer.model_max_length
        own = (folder / "generation_config.json").exists()
        ends = GenerationConfig.from_pretrained(folder).eos_token_id if own else text.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
    return Words(name, folder, stamp, tokenizer, config, int(context), ends)


def _read_model(words: Words, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM

    with reading(words.name):
        model = AutoModelForCausalLM.from_pretrained(
            words.folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    return model.eval().requires_grad_(False)


def read_voice(words: Words, device: Device) -> Voice:
    """The model as it is, on packed weights where that is as good."""
    voice = Voice(words, _read_model(words, dtype_of(device)).to(device.device), device.threads)
    packed, voice.why_plain = proof.lean(voice.model, words.tokenizer, free_memory())
    if packed is not None:
        voice.batch = Batch(packed, Pace(voice.model, device.threads, packed=True))
    return voice


def read_adapter(plain: Voice, name: str, folder: Path) -> Voice:
    """A base's voice with an adapter. Raises BadInput when the adapter is none, or of another model."""
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    stamp = stamp_of(folder)
    weights = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").exists() or not weights.exists():
        raise BadInput(
            f"{name} has no adapter_config.json with adapter_model.safetensors.",
            "Choose a PEFT adapter in safetensors.",
        )
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        with hub_errors(name):
            peft = PeftModel.from_pretrained(_twin(plain.model), str(folder), config=config)
        with safe_open(weights, "pt") as file:
            fits = set(file.keys()) == set(get_peft_model_state_dict(peft))
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        if out_of_memory(error):
            raise
        raise _misfit(plain.words, name, folder, first_line(error)) from error
    if not fits:
        raise _misfit(plain.words, name, folder, "its tensors are for other layers")
    voice = Voice(plain.words, peft.eval().requires_grad_(False).get_base_model(), plain.threads, name, folder, stamp)
    if config.is_prompt_learning:
        import torch

        with torch.inference_mode():
            voice.prompt = peft.get_prompt(batch_size=1)
        voice.virtual = config.num_virtual_tokens
    if plain.batch is not None:
        _pack(voice, plain.batch)
    return voice


def _pack(voice: Voice, batch: Batch) -> None:
    """Have a voice with an adapter answer by its base's packed weights, if it can."""
    voice.low = low_rank(batch.lean, voice.model)
    if voice.low is None or voice.prompt is not None:
        voice.why_plain = "its adapter is more than low-rank products"
        return
    distance = proof.apart(batch.lean, voice.low, voice.model, proof.probe(voice.words.tokenizer))
    if distance <= proof.FAR:
        voice.batch = batch
    else:
        voice.why_plain = f"the packed weights say something else with this adapter: {distance:.3f} nats away"


def _misfit(words: Words, name: str, folder: Path, why: str) -> BadInput:
    made_for = (
        json.loads((folder / "adapter_config.json").read_text()).get("base_model_name_or_path") or "another model"
    )
    kind = (words.config.architectures or ["a model"])[0]
    return BadInput(
        f"The adapter {name} was made for {made_for} and does not fit {words.name} ({kind}): {why}.",
        f"Choose {made_for} as the model, or an adapter that was made for {words.name}.",
    )


def _twin(model: Any) -> Any:
    """The same modules again around the same tensors."""
    memo = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo)


def dtype_of(device: Device) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[device.precision]


def weight_bytes(words: Words, device: Device) -> int:
    """What the weights will take in memory."""
    import torch

    stored = sum(path.stat().st_size for path in words.folder.glob("*.safetensors"))
    own = words.config.dtype or torch.float32
    quantized = getattr(words.config, "quantization_config", None) is not None
    return stored if quantized else int(stored * dtype_of(device).itemsize // own.itemsize)

"""The models that are loaded: bases on a shelf, and on each base the voices that speak with its weights.

A voice is a base as it is, or a base with an adapter. An adapter gets a copy of the base's modules that shares the
base's tensors, and PEFT works on that copy: base and adapters answer at the same time from one set of weights, there is
nothing to switch between their steps, and no adapter can leak into another.
"""

from __future__ import annotations

import copy
import gc
import inspect
import json
import resource
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from backend.engines import proof
from backend.engines.batch import Batch
from backend.engines.lean import Adapter
from backend.engines.lowrank import low_rank
from backend.engines.pace import Pace
from backend.errors import BadInput, NoRoom, NotFound
from backend.recipes.device import Device, choose, find
from backend.recipes.loading import hub_errors
from backend.starter import MODEL_ID, locate

_SPARE = 300_000_000  # bytes that loading and a first answer need beside the weights
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken"]
_UNWANTED = ["*/*", "consolidated*"]
_TOKENIZERS = 8
_ADAPTERS = 8  # on one base

Stamp = tuple[tuple[str, int, int], ...]
Say = Callable[[str], None]


def _silent(text: str) -> None:
    """Says nothing."""


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


@dataclass(eq=False)
class Base:
    """One set of weights, the voices that share it by the adapter's name ('' is the base itself), and its users now."""

    words: Words
    voices: dict[str, Voice] = field(default_factory=dict)
    users: int = 0
    used: float = field(default_factory=time.monotonic)


class Neighbour(Protocol):
    """Who else holds models in this process."""

    def oldest(self) -> tuple[float, Callable[[], None]] | None:
        """When its longest unused model was last used, and how to let it go; None when there is none."""


class Shelf:
    """The bases in memory, the longest unused first. Safe for several threads; they load one after the other.

    `forget` is told the key of each voice that goes.
    """

    def __init__(self, forget: Callable[[Hashable], None] = lambda key: None) -> None:
        self._forget = forget
        self.neighbours: list[Neighbour] = []
        self._words: OrderedDict[str, Words] = OrderedDict()
        self._bases: OrderedDict[str, Base] = OrderedDict()
        self._lock = threading.Lock()  # held for moments
        self._loading = threading.RLock()  # held while something loads

    def known(self, name: str) -> Words | None:
        """What `words` would answer at once, if anything."""
        known = self._words.get(name)
        return known if known is not None and known.stamp == _stamp(known.folder) else None

    def words(self, name: str, say: Say = _silent) -> Words:
        """Tokenizer and sizes of `name`, read anew when its files changed. Raises what `fetch` raises, BadInput."""
        if known := self.known(name):
            return known
        with self._loading:
            if known := self.known(name):
                return known
            found = self._words[name] = _read_words(name, fetch(name, self.make_room, say))
            while len(self._words) > _TOKENIZERS:
                self._words.popitem(last=False)
            return found

    def has(self, name: str, adapter: str = "") -> bool:
        """Whether `use` would begin at once."""
        with self._lock:
            return self._find(name, adapter) is not None

    @contextmanager
    def use(self, name: str, adapter: str = "") -> Iterator[Voice]:
        """The voice of `name` with `adapter`, loaded where it isn't yet, and kept in memory until the block ends.

        Raises NotFound, Gated, HubError, NoRoom, and BadInput for what is no chat model or no adapter of it.
        """
        while True:
            with self._lock:
                if voice := self._find(name, adapter):
                    base = self._bases[name]
                    base.users += 1
                    break
            self.load(name, adapter)
        try:
            yield voice
        finally:
            with self._lock:
                base.users -= 1
                base.used = time.monotonic()

    def load(self, name: str, adapter: str = "", say: Say = _silent) -> None:
        """Have the voice in memory. Raises what `use` raises."""
        with self._loading:
            if self.has(name, adapter):
                return
            words = self.words(name, say)
            base = self._bases.get(name)
            if base is None or base.words is not words:
                self._drop(name)
                base = self._read_base(words, say)
                with self._lock:
                    self._bases[name] = base
            if adapter:
                folder = fetch(adapter, self.make_room, say)
                say(f"Putting the adapter {adapter} on {name}.")
                voice = _read_adapter(base, adapter, folder)
                with self._lock:
                    gone = [base.voices.pop(adapter, None)]
                    base.voices[adapter] = voice
                    if len(base.voices) > 1 + _ADAPTERS:
                        gone.append(base.voices.pop(list(base.voices)[1]))
                for old in filter(None, gone):
                    self._forget(old.key)

    def _find(self, name: str, adapter: str) -> Voice | None:
        base = self._bases.get(name)
        if base is None or base.words.stamp != _stamp(base.words.folder):
            return None
        voice = base.voices.get(adapter)
        if voice is None or (voice.folder is not None and voice.stamp != _stamp(voice.folder)):
            return None
        self._bases.move_to_end(name)
        return voice

    def _read_base(self, words: Words, say: Say) -> Base:
        device = choose(find())
        dtype = _dtype(device)
        self.make_room(words.name, _bytes(words, dtype))
        say(f"Loading {words.name}.")
        voice = Voice(words, _read_model(words, dtype).to(device.device), device.threads)
        packed, voice.why_plain = proof.lean(voice.model, words.tokenizer, free_memory())
        if packed is not None:
            voice.batch = Batch(packed, Pace(voice.model, device.threads, packed=True))
        return Base(words, {"": voice})

    def _drop(self, name: str) -> None:
        with self._lock:
            base = self._bases.pop(name, None)
        if base is not None:
            for voice in base.voices.values():
                self._forget(voice.key)
            del base
            gc.collect()

    def idle_bytes(self) -> int:
        """What the weights of the bases take that nobody uses now."""
        with self._lock:
            idle = [base.voices[""].model for base in self._bases.values() if not base.users]
        return sum(int(tensor.nbytes) for model in idle for tensor in (*model.parameters(), *model.buffers()))

    def make_room(self, name: str, need: int) -> None:
        """Let models that nobody uses go, here and next door, the longest unused first, until `need` bytes fit.

        Raises NoRoom.
        """
        while need and need + _SPARE > (free := free_memory()):
            with self._lock:
                idle = next(((base.used, key) for key, base in self._bases.items() if not base.users), None)
            found = [one for one in (neighbour.oldest() for neighbour in self.neighbours) if one]
            beside = min(found, key=lambda one: one[0], default=None)
            if beside and (idle is None or beside[0] < idle[0]):
                beside[1]()
                gc.collect()
            elif idle:
                self._drop(idle[1])
            else:
                raise NoRoom(
                    f"{name} needs {_size(need + _SPARE)} of memory to load, and {_size(free)} are free.",
                    f"Choose a smaller model such as {MODEL_ID}, or a version quantized to 4 bits; or try again when "
                    "other answers and runs are done.",
                )


def fetch(name: str, make_room: Callable[[str, int], None] = lambda name, need: None, say: Say = _silent) -> Path:
    """The local folder of a model or adapter: the starter's, one that is there, or a copy of the Hub's.

    `make_room` is told the bytes of weights before they are fetched. Raises NotFound, Gated, HubError, NoRoom.
    """
    folder = Path(locate(name, say=say))
    if folder.is_dir():
        return folder
    if folder.is_absolute():
        raise NotFound(f"There is no folder {name}.", "Choose one from the list, or give a Hub id as owner/name.")
    with hub_errors(name):
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import DryRunError

        try:
            plan = snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, dry_run=True)
        except DryRunError:  # the Hub does not answer: what the cache has must do
            plan = []
        make_room(name, sum(file.file_size or 0 for file in plan if file.filename.endswith(".safetensors")))
        if missing := sum(file.file_size or 0 for file in plan if file.will_download):
            cache = Path(constants.HF_HUB_CACHE)
            cache.mkdir(parents=True, exist_ok=True)
            if missing + _SPARE > (free := shutil.disk_usage(cache).free):
                raise NoRoom(
                    f"{name} is a download of {_size(missing)}, and the disk has {_size(free)} left.",
                    "Choose a smaller model, or clear the cache.",
                )
            say(f"Fetching {name}, {_size(missing)}.")
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))


def free_memory() -> int:
    """Bytes that new weights may take: on the GPU if there is one, else within machine, container and own limit."""
    import psutil  # noqa: PLC0415 - not needed by those who only import this file
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    free = [int(psutil.virtual_memory().available)]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        free.append(limit - int(psutil.Process().memory_info().vms))
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").exists() and (most := (group / "memory.max").read_text().strip()) != "max":
        fields = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(fields["inactive_file"])
        free.append(int(most) - used)
    return max(0, min(free))


def _stamp(folder: Path) -> Stamp:
    """What changes when files in `folder` are replaced; nothing when it is gone."""
    found = []
    for pattern in ("*.json", "*.jinja", "*.safetensors", "*.model"):
        for path in folder.glob(pattern):
            try:
                stat = path.stat()
            except OSError:  # being replaced this moment
                continue
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(sorted(found))


def _read_words(name: str, folder: Path) -> Words:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    stamp = _stamp(folder)
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise BadInput(f"{name} is an adapter, not a model.", "Choose it as the adapter, its base as the model.")
        raise BadInput(f"{name} has no config.json, so it is not a transformers model.", "Choose another model.")
    with _reading(name):
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

    with _reading(words.name):
        model = AutoModelForCausalLM.from_pretrained(
            words.folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    return model.eval().requires_grad_(False)


@contextmanager
def _reading(name: str, role: str = "as a chat model") -> Iterator[None]:
    """What the loaders say of files that they can't use becomes BadInput."""
    try:
        with hub_errors(name):
            yield
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        if out_of_memory(error):  # an ImportError too: "failed to map segment from shared object"
            raise MemoryError(str(error)) from error
        raise BadInput(
            f"transformers can't load {name} {role}: {_first_line(error)}.", "Choose another model."
        ) from error


def _read_adapter(base: Base, name: str, folder: Path) -> Voice:
    """Raises BadInput when the adapter is none, or of another model."""
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    stamp = _stamp(folder)
    weights = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").exists() or not weights.exists():
        raise BadInput(
            f"{name} has no adapter_config.json with adapter_model.safetensors.",
            "Choose a PEFT adapter in safetensors.",
        )
    plain = base.voices[""]
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
        raise _misfit(base, name, folder, _first_line(error)) from error
    if not fits:
        raise _misfit(base, name, folder, "its tensors are for other layers")
    voice = Voice(base.words, peft.eval().requires_grad_(False).get_base_model(), plain.threads, name, folder, stamp)
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


def _misfit(base: Base, name: str, folder: Path, why: str) -> BadInput:
    made_for = (
        json.loads((folder / "adapter_config.json").read_text()).get("base_model_name_or_path") or "another model"
    )
    kind = (base.words.config.architectures or ["a model"])[0]
    return BadInput(
        f"The adapter {name} was made for {made_for} and does not fit {base.words.name} ({kind}): {why}.",
        f"Choose {made_for} as the model, or an adapter that was made for {base.words.name}.",
    )


def _twin(model: Any) -> Any:
    """The same modules again around the same tensors."""
    memo = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo)


def _dtype(device: Device) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[device.precision]


def _bytes(words: Words, dtype: Any) -> int:
    """What the weights will take in memory."""
    import torch

    stored = sum(path.stat().st_size for path in words.folder.glob("*.safetensors"))
    own = words.config.dtype or torch.float32
    quantized = getattr(words.config, "quantization_config", None) is not None
    return stored if quantized else stored * dtype.itemsize // own.itemsize


_NO_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "out of memory",
    "Cannot allocate memory",
    "failed to map segment",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is one of the ways in which Python, torch and the loaders say so."""
    said = str(error)
    return isinstance(error, MemoryError) or any(phrase in said for phrase in _NO_MEMORY)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]

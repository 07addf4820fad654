"""The models that are loaded: bases on a shelf, and on each base the voices that speak with its weights.

A voice is a base as it is, or a base with an adapter.
"""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from backend.engines.memory import SPARE, free_memory, in_words
from backend.engines.model_files import Say, fetch, silent, stamp_of
from backend.engines.voices import Voice, Words, read_adapter, read_voice, read_words, weight_bytes
from backend.errors import NoRoom
from backend.recipes.device import choose, find
from backend.starter import MODEL_ID

_TOKENIZERS = 8
_ADAPTERS = 8  # on one base


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
        return known if known is not None and known.stamp == stamp_of(known.folder) else None

    def words(self, name: str, say: Say = silent) -> Words:
        """Tokenizer and sizes of `name`, read anew when its files changed. Raises what `fetch` raises, BadInput."""
        if known := self.known(name):
            return known
        with self._loading:
            if known := self.known(name):
                return known
            found = self._words[name] = read_words(name, fetch(name, self.make_room, say))
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

    def load(self, name: str, adapter: str = "", say: Say = silent) -> None:
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
                voice = read_adapter(base.voices[""], adapter, folder)
                with self._lock:
                    gone = [base.voices.pop(adapter, None)]
                    base.voices[adapter] = voice
                    if len(base.voices) > 1 + _ADAPTERS:
                        gone.append(base.voices.pop(list(base.voices)[1]))
                for old in filter(None, gone):
                    self._forget(old.key)

    def _find(self, name: str, adapter: str) -> Voice | None:
        base = self._bases.get(name)
        if base is None or base.words.stamp != stamp_of(base.words.folder):
            return None
        voice = base.voices.get(adapter)
        if voice is None or (voice.folder is not None and voice.stamp != stamp_of(voice.folder)):
            return None
        self._bases.move_to_end(name)
        return voice

    def _read_base(self, words: Words, say: Say) -> Base:
        device = choose(find())
        self.make_room(words.name, weight_bytes(words, device))
        say(f"Loading {words.name}.")
        return Base(words, {"": read_voice(words, device)})

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
        while need and need + SPARE > (free := free_memory()):
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
                    f"{name} needs {in_words(need + SPARE)} of memory to load, and {in_words(free)} are free.",
                    f"Choose a smaller model such as {MODEL_ID}, or a version quantized to 4 bits; or try again when "
                    "other answers and runs are done.",
                )

"""A thread for one work after the other, beside the one that advances the answers."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any


class Aside:
    """Does one work after the other in a thread, which lives only as long as there is some.

    OpenMP keeps threads for each thread that ever computed. As soon as those are more than cores, it sends them to
    sleep between two operations, and a step of one token takes twice as long.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._works = False

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        with self._lock:
            self._waiting.append(partial(work, *arguments))
            if not self._works:
                self._works = True
                threading.Thread(target=self._run, daemon=True, name=self._name).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                work = self._waiting.popleft()
            try:
                work()
            except Exception:
                traceback.print_exc(file=sys.stderr)

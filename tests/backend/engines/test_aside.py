from __future__ import annotations

import threading
import time

import pytest

from backend.engines.aside import Aside


def test_what_is_done_aside_is_done_in_turn_and_leaves_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    aside, done = Aside("only here"), []
    free = threading.Event()
    aside.submit(free.wait, 10)
    aside.submit(lambda: 1 / 0)
    for number in range(3):
        aside.submit(done.append, number)
    (thread,) = [one for one in threading.enumerate() if one.name == "only here"]
    free.set()
    thread.join(10)
    assert done == [0, 1, 2]
    assert not thread.is_alive()
    assert "ZeroDivisionError" in capsys.readouterr().err
    aside.submit(done.append, 3)
    while len(done) < 4:
        time.sleep(0.01)

from __future__ import annotations

import inspect

import gradio as gr
import pytest

from backend.errors import BadInput, LabError, NotYours
from ui.toasts import STOPPED, toasts


def refuse(value: str) -> str:
    raise BadInput(f"steps is {value}; use at least 1.", "Write 1 or more.")


def stream(value: str):
    yield "so far"
    raise NotYours(f"{value} is not yours.")


def test_an_error_becomes_a_toast_of_message_and_hint():
    with pytest.raises(gr.Error) as caught:
        toasts(refuse)("0")
    assert caught.value.message == "steps is 0; use at least 1. Write 1 or more."
    assert caught.value.print_exception is False


def test_what_was_typed_can_not_become_html():
    with pytest.raises(gr.Error) as caught:
        toasts(refuse)("<img src=x onerror=alert(1)>")
    assert "<" not in caught.value.message
    with pytest.raises(gr.Error) as caught:
        toasts(refuse, page=False)("<b>")
    assert "<b>" in caught.value.message


def test_a_stream_gives_what_it_has_first():
    seen = []
    with pytest.raises(gr.Error, match="ab12 is not yours"):
        for value in toasts(stream)("ab12"):
            seen.append(value)
    assert seen == ["so far"]


def test_closing_the_wrapped_stream_closes_the_stream():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    looks = toasts(endless)()
    next(looks)
    looks.close()
    assert closed == [True]


def test_other_errors_are_left_alone():
    with pytest.raises(ZeroDivisionError):
        toasts(lambda: 1 / 0)()


def test_gradio_still_sees_the_handler():
    assert inspect.signature(toasts(refuse)) == inspect.signature(refuse)
    assert inspect.isgeneratorfunction(toasts(stream))


def test_what_its_owner_stopped_is_no_error() -> None:
    def stopped() -> None:
        raise LabError("Stopped.", "Nothing was changed.", STOPPED)

    assert toasts(stopped)() == gr.skip()
    with pytest.raises(gr.Error, match="Stopped"):
        toasts(stopped, page=False)()  # a program that asked for rows got none

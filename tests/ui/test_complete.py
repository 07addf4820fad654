"""Complete as the page calls it, over an engine that answers from a script."""

from __future__ import annotations

import threading

import gradio as gr
import pytest

from tests.ui import scripted
from tests.ui.drawing import ME, drawn, handler
from ui import complete


@pytest.fixture
def blocks(home) -> gr.Blocks:
    lab = scripted.lab(ATELIER_HOME=str(home))
    return drawn(lambda lab, page: complete.build(lab), lab)


def press(blocks: gr.Blocks, prompt: str, older: tuple[str, ...] = (), **form: object) -> list[dict]:
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_write")
    rest = [form.get(str(part.elem_id), getattr(part, "value", None)) for part in one.inputs[2:]]
    views = one.fn(prompt, list(older), ME, *rest)
    names = {one.inputs[1]: "before"}
    return [{names.get(part, str(part.elem_id)): value for part, value in view.items()} for view in views]


def shown(views: list[dict], name: str) -> list:
    return [view[name] for view in views if name in view]


def test_the_text_grows_at_its_end(blocks):
    views = press(blocks, "Once upon a time")
    texts = shown(views, "text-page")
    assert texts[-1] == "Once upon a timeOnce upon a time "
    assert all(text.startswith("Once upon a time") for text in texts)
    assert shown(views, "before") == [["Once upon a time"]]
    assert "44 of 2,048 tokens" in shown(views, "text-page-meter")[-1]
    assert shown(views, "text-write")[-1] == gr.update(visible=True)


def test_what_is_typed_is_read_as_it_is(blocks):
    assert shown(press(blocks, "  two  spaces \n"), "before") == [["  two  spaces \n"]]


def test_stop_keeps_what_was_written(blocks):
    timer = threading.Timer(0.4, handler(blocks, "on_stop"), [ME])
    timer.start()
    views = press(blocks, "forever")
    assert shown(views, "text-page")[-1].startswith("foreveragain again")
    assert "stopped" in shown(views, "text-page-meter")[-1]


def test_undo_goes_back_step_by_step(blocks):
    undo = handler(blocks, "on_undo")
    assert undo(["a", "a b"])[:2] == ["a b", ["a"]]
    with pytest.raises(gr.Error, match="nothing to undo"):
        undo([])


def test_only_so_many_texts_are_kept(blocks):
    (kept,) = shown(press(blocks, "x", tuple(str(number) for number in range(50))), "before")
    assert len(kept) == complete.UNDOS
    assert kept[-1] == "x"


def test_an_error_keeps_what_was_typed(blocks):
    views = []
    with pytest.raises(gr.Error, match="The engine is gone"):
        for view in iter(press(blocks, "die")):
            views.append(view)
    assert shown(views, "text-page") == []


@pytest.mark.parametrize(("text", "said"), [("", "no text to go on from"), ("x" * 10_000_000, "10,000,000 characters")])
def test_nothing_and_too_much_are_refused(blocks, text, said):
    with pytest.raises(gr.Error, match=said):
        press(blocks, text)


def test_tokens_come_with_their_probabilities(blocks):
    views = press(blocks, "one two", **{"text-page-chances": True})
    assert [one["text"] for one in shown(views, "text-page-tokens")[-1]] == ["one ", "two "]


def test_its_code_is_plain(blocks):
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_open")
    rest = [getattr(part, "value", None) for part in one.inputs[1:]]
    _, _, script = one.fn(ME, "Once upon", *rest)
    compile(script, "complete.py", "exec")
    assert "'Once upon'" in script
    assert "apply_chat_template" not in script

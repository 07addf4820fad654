"""The Images tab's HTML."""

from __future__ import annotations

from backend import events as ev
from ui.images import told
from ui.images.drawing import Drawing

PICTURE = {
    "name": "20260101-a.png",
    "made": 1_767_225_600.0,
    "settings": {
        "prompt": "a <b>cat</b>", "negative_prompt": "dogs", "seed": 7, "steps": 8, "guidance": 4.0, "width": 64,
        "height": 64, "model": "atelier/emoji-64", "scheduler": "", "adapters": [{"name": "run/x", "weight": 0.5}],
    },
}  # fmt: skip


def test_a_picture_says_how_it_was_made_and_nothing_it_carries_is_markup() -> None:
    html = told.large("gradio_api/file=/x/a.png", PICTURE)
    assert "a &lt;b&gt;cat&lt;/b&gt;" in html
    assert "<b>cat" not in html
    for words in ("64 × 64", "seed 7", "8 steps", "guidance 4", "run/x at 0.5", "without dogs", "2026-01-01"):
        assert words in html
    assert "strength" not in html
    assert 'data-act="reuse" data-picture="20260101-a.png"' in html
    assert 'download="20260101-a.png"' in html


def test_an_uploaded_adapter_is_called_by_its_file() -> None:
    assert "pip.safetensors at 1" in told.words({"adapters": [{"name": "upload/0123/pip.safetensors", "weight": 1}]})
    assert "run/x at 0.5" in told.words(PICTURE["settings"])


def test_only_small_pictures_are_shown_larger_than_they_are() -> None:
    assert 'class="frame small"' in told.large("x", PICTURE)
    large = PICTURE | {"settings": {"width": 1024, "height": 768}}
    assert 'class="frame small"' not in told.large("x", large)


def test_the_stage_tells_how_far_it_is() -> None:
    drawing = Drawing(of=3)
    assert "Waiting for the engine" in told.stage(drawing)
    drawing.add(ev.Started(info={"width": 64, "height": 64, "device": "cpu", "steps": 8}))
    drawing.add(ev.Progressed(done=5, total=8, eta=3))
    drawing.add(ev.Produced(kind="preview", data={"png": "QUJD"}))
    html = told.stage(drawing)
    assert 'src="data:image/png;base64,QUJD"' in html
    assert "Picture 1 of 3 · step 5 of 8 · 3 s left · 64 × 64 · cpu" in html
    assert "width:62.5%" in html
    assert 'class="acts waits"' in html
    drawing.add(ev.Cancelled())
    html = told.stage(drawing)
    assert "Stopped at step 5 of 8" in html
    assert 'class="frame small"' in html  # as large as it was a moment before
    assert 'class="acts' not in html


def test_what_was_stopped_before_it_began_is_said_once() -> None:
    drawing = Drawing()
    drawing.add(ev.Cancelled())
    assert told.stage(drawing).count("Stopped") == 1


def test_what_was_read_tells_both_prompts() -> None:
    assert "a &lt;b&gt;cat&lt;/b&gt;</b> <span>without dogs</span> · 64 × 64" in told.read(PICTURE["settings"])


def test_notes_are_text() -> None:
    assert told.notes(["cut: <i>"]) == '<p class="note">cut: &lt;i&gt;</p>'


def test_the_strip_marks_the_chosen_one_and_says_how_many_more() -> None:
    one = {"name": "a.png", "address": "x", "settings": {"prompt": '"quoted"', "seed": 1}}
    html = told.strip([one, one | {"name": "b.png"}], "b.png", 50)
    assert html.count("aria-current") == 1
    assert html.index("aria-current") > html.index("b.png")
    assert "&quot;quoted&quot;" in html
    assert "48 older" in html
    assert "50 pictures" in html
    assert "more" not in told.strip([one], "", 1)
    assert "kept here" in told.strip([], "", 0)


def test_a_table_has_room_for_what_is_still_to_come() -> None:
    html = told.table(["g 1", "g 2"], ["s 1", "s 2"], [{"name": "a", "address": "x"}] * 3)
    assert (html.count("<img"), html.count("<td></td>")) == (3, 2)  # one cell, and the corner
    assert 'alt="g 2 s 1"' in html

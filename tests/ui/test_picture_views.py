"""Pictures to learn from, and pictures that were drawn, as HTML."""

from __future__ import annotations

from typing import Any

from backend import events as ev
from ui import picture_views, run_views
from ui.folding import View

LOOK: dict[str, Any] = {
    "columns": ["image", "<b>"],
    "captions": [],
    "total": 30,
    "thumbs": [b"webp"] * 24,
    "notes": ["a.png is left out: <it is not what its ending says>."],
    "report": {
        "wrong": [{"rule": "it is too small", "count": 1, "rows": [3]}],
        "changed": [{"rule": "animated, so its first frame is taken", "count": 2, "rows": [4, 5]}],
        "twice": None,
    },
    "problem": None,
}


def drawn(step: int, picture: str = "data:image/webp;base64,AAAA") -> ev.Produced:
    rows = [{"prompt": "a <pip>", "seed": "0", "picture": picture}]
    return ev.Produced(kind="samples", name="samples", step=step, data={"rows": rows})


def test_the_pictures_are_seen_and_what_is_wrong_with_them() -> None:
    html = picture_views.facts(LOOK, {"bad_rows": "drop", "same_rows": "keep"})
    assert html.count("<img") == 24
    assert "and 6 more" in html
    assert "<b>1 picture</b> left out: it is too small <span class=quiet>picture 3" in html
    assert "animated, so its first frame is taken <span class=quiet>pictures 4, 5" in html
    assert "<it is" not in html
    assert "<b>," not in html


def test_before_and_after_stand_side_by_side() -> None:
    view = View()
    for step in (0, 20, 40):
        view.add(drawn(step))
    html = run_views.samples(view)
    assert [html.index(words) for words in ("Before", "Step 20", "Step 40")] == sorted(
        html.index(words) for words in ("Before", "Step 20", "Step 40")
    )
    assert html.count("<img") == 3
    assert html.count('class="now"') == 1
    assert "a &lt;pip&gt;" in html
    assert "<pip>" not in html


def test_only_pictures_of_ours_are_shown() -> None:
    view = View()
    view.add(drawn(0, "https://somewhere.else/picture.png"))
    assert "<img" not in run_views.samples(view)


def test_what_is_about_to_run() -> None:
    params = {
        "lora_r": 4, "instance_prompt": "a sks <figure>", "dataset": "upload/1/a.zip", "max_rows": 0, "max_steps": 20,
        "model": "atelier/emoji-64", "learning_rate": 1e-3, "start_from": "run/ab12",
    }  # fmt: skip
    html = picture_views.summary("image_lora", params, "This machine", LOOK)
    assert "<b>Image LoRA r=4</b> of “a sks &lt;figure&gt;” from <b>30 pictures of upload/1/a.zip</b>, 20 steps" in html
    assert "Starts from run/ab12." in html

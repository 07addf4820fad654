"""The Images tab as the page calls it, over an engine that answers from a script."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from backend import events as ev
from backend.engines.picture import metadata, write
from backend.errors import BadInput
from backend.lab import Lab
from tests.ui import scripted
from tests.ui.drawing import ME, YOU, drawn, handler
from ui.images.form import FIRST, STARTER
from ui.tabs import images
from ui.visitor import owner


class Painter:
    """Stands where the Lab asks the engine: draws a plain picture in the gallery, and keeps what it was asked."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.asked: list[dict[str, Any]] = []
        self.closed = threading.Event()

    def __call__(self, engine: str, request: Mapping[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        self.asked.append(dict(request))
        try:
            yield ev.Logged(text="1 picture before yours")
            while request["prompt"] == "in line":
                yield ev.Wrote()
            if "refused" in request["prompt"]:
                raise BadInput("steps is 10000; use at most 200.")
            yield ev.Started(info={"width": 64, "height": 64, "steps": 2, "device": "cpu"})
            while request["prompt"] == "forever":
                yield ev.Progressed(done=1, total=2)
            for number in range(int(request.get("count") or 1)):
                yield ev.Progressed(done=2 * number + 1, total=2, eta=1)
                yield ev.Produced(kind="preview", step=1, data={"png": "QUJD", "number": number})
                folder = self.lab.pictures.folder(owner)
                folder.mkdir(parents=True, exist_ok=True)
                kept = {name: request[name] for name in ("prompt", "model", "adapters", "strength") if name in request}
                settings = kept | {"seed": int(request["seed"]) + number, "steps": 2, "guidance": 4.0}
                settings |= {"width": 64, "height": 64}
                name = f"{len(self.asked):03}-{number}-{request['seed']}.png"
                file = write(Image.new("RGB", (64, 64), "red"), folder / name, metadata(settings))
                yield ev.Produced(kind="picture", name=name, file=str(file), data=settings)
            yield ev.Finished(reason="stop", values={"seconds": 1})
        finally:
            self.closed.set()


@pytest.fixture
def painter(home: Path, monkeypatch: pytest.MonkeyPatch) -> Painter:
    lab = scripted.lab(ATELIER_HOME=str(home))
    one = Painter(lab)
    monkeypatch.setattr(lab, "stream", one)
    return one


@pytest.fixture
def blocks(painter: Painter) -> gr.Blocks:
    return drawn(images.build, painter.lab)


def press(blocks: gr.Blocks, name: str, *before: Any, who: gr.Request = ME, **form: Any) -> list[dict[str, Any]]:
    """What the page is shown, by elem_id, when the button of this handler is pressed with the form as it is, but for
    `form` by elem_id. `before` are the first values."""
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == name)
    rest = [form.get(str(part.elem_id or "mask"), getattr(part, "value", None)) for part in one.inputs[1:]]
    views = one.fn(*(before or (48,)), who, *rest)
    return [{str(part.elem_id): value for part, value in view.items()} for view in views]


def event(**told: Any) -> gr.EventData:
    return gr.EventData(None, told)


def shown(views: list[dict[str, Any]], name: str) -> list[Any]:
    return [view[name] for view in views if name in view]


def test_one_press_draws_what_is_written_with_a_new_seed(blocks: gr.Blocks, painter: Painter) -> None:
    views = press(blocks, "on_draw")
    assert painter.asked[0]["prompt"] == FIRST
    assert painter.asked[0]["model"] == STARTER
    assert "steps" not in painter.asked[0]
    assert shown(views, "image-seed")[-1] == str(painter.asked[0]["seed"])
    stages = shown(views, "image-stage")
    assert "gradio_api/file=" in stages[-1]
    assert FIRST in stages[-1]
    assert shown(views, "image-strip")[-1].count("<li>") == 1
    assert shown(views, "image-draw")[-1] == gr.update(visible=True)
    assert press(blocks, "on_draw")
    assert painter.asked[0]["seed"] != painter.asked[1]["seed"]


def test_who_opens_the_tab_has_the_model_made_ready(
    blocks: gr.Blocks, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[str] = []
    monkeypatch.setattr(painter.lab, "warm", warmed.append)
    handler(blocks, "on_tab")()
    assert warmed == ["image"]


def test_a_kept_seed_draws_the_same_again(blocks: gr.Blocks, painter: Painter) -> None:
    for _ in range(2):
        press(blocks, "on_draw", **{"image-seed": "41", "image-fresh": False})
    assert [one["seed"] for one in painter.asked] == [41, 41]


def test_style_size_and_adapters_are_asked_for(blocks: gr.Blocks, painter: Painter) -> None:
    form = {"image-style": "On blue", "image-steps": "4", "image-guidance": "2.5", "image-count": "2"}
    form |= {"image-adapter-0": "run/a", "image-weight-0": 0.5, "image-adapter-2": "owner/b"}
    views = press(blocks, "on_draw", **form)
    (asked,) = painter.asked
    assert asked["prompt"] == f"{FIRST}, blue background"
    assert (asked["steps"], asked["guidance"], asked["count"]) == (4, "2.5", 2)
    assert asked["adapters"] == [{"name": "run/a", "weight": 0.5}, {"name": "owner/b", "weight": 1}]
    assert shown(views, "image-strip")[-1].count("<li>") == 2


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"image-prompt": "  "}, "prompt is empty"),
        ({"image-steps": "many"}, "Steps is 'many'"),
        ({"image-seed": "x", "image-fresh": False}, "Seed is 'x'"),
        ({"image-prompt": "refused"}, "use at most 200"),
    ],
)
def test_what_is_wrong_is_a_toast_and_leaves_the_page_ready(blocks: gr.Blocks, form: dict[str, Any], why: str) -> None:
    with pytest.raises(gr.Error, match=why):
        press(blocks, "on_draw", **form)
    assert press(blocks, "on_draw")


def test_after_an_error_the_last_picture_is_on_the_stage(blocks: gr.Blocks, painter: Painter) -> None:
    press(blocks, "on_draw")
    (mine,) = painter.lab.pictures.list(owner(ME))
    views: list[dict[Any, Any]] = []
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_draw")
    form = [getattr(part, "value", None) for part in one.inputs[1:]]
    form[0] = "refused"
    with pytest.raises(gr.Error, match="use at most 200"):
        views.extend(one.fn(48, ME, *form))
    stages = [value for view in views for part, value in view.items() if part.elem_id == "image-stage"]
    assert "gradio_api/file=" in stages[-1]
    assert mine["name"] in stages[-1]


def test_stop_keeps_what_was_seen_and_ends_the_drawing(blocks: gr.Blocks, painter: Painter) -> None:
    timer = threading.Timer(0.4, handler(blocks, "halt"), [ME])
    timer.start()
    views = press(blocks, "on_draw", **{"image-prompt": "forever"})
    assert "Stopped at step 1 of 2" in shown(views, "image-stage")[-1]
    assert painter.closed.wait(5)
    assert shown(views, "image-stop")[-2] == gr.update(visible=True, value="Stop")


def test_who_waits_can_leave_the_line(blocks: gr.Blocks) -> None:
    timer = threading.Timer(0.4, handler(blocks, "halt"), [ME])
    timer.start()
    views = press(blocks, "on_draw", **{"image-prompt": "in line"})
    assert "1 picture before yours" in shown(views, "image-stage")[-2]
    assert shown(views, "image-stop")[-2] == gr.update(visible=True, value="Leave line")
    assert shown(views, "image-draw")[-1] == gr.update(visible=True)


def test_a_gallery_is_its_visitors_alone(blocks: gr.Blocks, painter: Painter) -> None:
    press(blocks, "on_draw")
    (mine,) = painter.lab.pictures.list(owner(ME))
    load = handler(blocks, "on_load")
    assert mine["name"] in load(48, ME)[1]
    assert "<li>" not in load(48, YOU)[1]
    with pytest.raises(gr.Error, match="gone"):
        handler(blocks, "on_open")("", 48, event(picture=mine["name"]), YOU)


def test_reuse_fills_the_form_and_keeps_the_seed(blocks: gr.Blocks, painter: Painter) -> None:
    press(blocks, "on_draw", **{"image-prompt": "a blue moon", "image-adapter-0": "run/a"})
    (mine,) = painter.lab.pictures.list(owner(ME))
    filled = {
        part.elem_id: value for part, value in handler(blocks, "on_reuse")(event(picture=mine["name"]), ME).items()
    }
    assert filled["image-prompt"] == "a blue moon"
    assert filled["image-seed"] == str(painter.asked[0]["seed"])
    assert filled["image-fresh"] is False
    assert filled["image-steps"] == "2"
    assert filled["image-guidance"] == "4"
    assert filled["image-adapter-0"] == "run/a"


def test_a_dropped_picture_fills_the_form_or_says_that_it_carries_nothing(blocks: gr.Blocks, tmp_path: Path) -> None:
    dropped = handler(blocks, "on_dropped")
    carried = {"prompt": "a dog", "seed": 9, "guidance": 0.0, "steps": 2, "width": 8, "height": 8, "model": STARTER}
    path = write(Image.new("RGB", (8, 8)), tmp_path / "a.png", metadata(carried))
    filled = {part.elem_id: value for part, value in dropped(str(path)).items()}
    assert (filled["image-prompt"], filled["image-seed"], filled["image-guidance"]) == ("a dog", "9", "0")
    assert "a dog" in filled["image-read-told"]
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(gr.Error, match="carries no settings"):
        dropped(str(tmp_path / "b.png"))


@pytest.mark.parametrize(
    ("act", "told", "wants"),
    [
        ("on_vary", {}, {"enlarge": 1}),
        ("on_enlarge", {"times": "4"}, {"enlarge": 4, "strength": 0.06, "guidance": 1.0}),
    ],
)
def test_vary_and_enlarge_begin_from_the_picture(
    blocks: gr.Blocks, painter: Painter, act: str, told: dict[str, Any], wants: dict[str, Any]
) -> None:
    press(blocks, "on_draw")
    (mine,) = painter.lab.pictures.list(owner(ME))
    list(handler(blocks, act)(48, event(picture=mine["name"], **told), ME))
    asked = painter.asked[-1]
    assert asked | wants == asked
    assert asked["image"] == mine["file"]
    assert asked["prompt"] == FIRST
    assert (asked["seed"] == painter.asked[0]["seed"]) is (act == "on_enlarge")


def test_deleting_takes_the_pages_copy_too(blocks: gr.Blocks, painter: Painter) -> None:
    views = press(blocks, "on_draw")
    (mine,) = painter.lab.pictures.list(owner(ME))
    copy = Path(shown(views, "image-stage")[-1].split("gradio_api/file=")[1].split('"')[0])
    assert copy.exists()
    handler(blocks, "on_remove")(48, event(picture=mine["name"]), ME)
    assert not copy.exists()
    assert painter.lab.pictures.list(owner(ME)) == []


def test_what_is_painted_over_is_a_mask_and_more_canvas_a_larger_picture(
    blocks: gr.Blocks, painter: Painter, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    layer = Image.new("RGBA", (512, 384))
    layer.paste((20, 184, 166, 255), (0, 0, 256, 384))
    mask, line = handler(blocks, "on_paint")({"layers": [layer]}, str(tmp_path / "a.png"))
    assert "only what you painted" in line
    assert handler(blocks, "on_paint")({"layers": []}, str(tmp_path / "a.png"))[0] == ""
    form = {"image-picture": str(tmp_path / "a.png"), "mask": mask, "image-strength": "0.7"}
    press(blocks, "on_draw", **form)
    asked = painter.asked[-1]
    assert (asked["image"], asked["strength"]) == (str(tmp_path / "a.png"), "0.7")
    with Image.open(asked["mask"]) as mask:
        assert (mask.size, mask.getpixel((3, 3)), mask.getpixel((60, 3))) == ((64, 48), 255, 0)
    press(blocks, "on_draw", **form, **{"image-left": "16"})
    asked = painter.asked[-1]
    assert (asked["width"], asked["height"], asked["strength"]) == (80, 48, 1.0)
    with Image.open(asked["image"]) as image, Image.open(asked["mask"]) as ground:
        assert image.size == ground.size == (80, 48)
        at = [ground.getpixel((x, 40)) for x in (3, 16 + 8, 16 + 60)]  # new, painted over, kept
        assert at == [255, 255, 0]


def test_what_is_drawn_anew_is_said(blocks: gr.Blocks, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    said = handler(blocks, "_from")
    assert "all of it is drawn" in said("a.png", "", "0", "", "0", "0")
    assert "only the canvas around it is drawn" in said("a.png", "", "0", "16", "0", "0")
    assert "only what you painted over and the canvas around it are drawn" in said("a.png", "mask.png", "8", "0")
    assert said("", "mask.png", "8") == ""
    given = {part.elem_id: value for part, value in handler(blocks, "given")(str(tmp_path / "a.png")).items()}
    assert given["image-left"] == "0"


def test_a_control_picture_alone_is_not_left_out_silently(blocks: gr.Blocks, painter: Painter, tmp_path: Path) -> None:
    press(blocks, "on_draw", **{"image-control-image": str(tmp_path / "a.png")})
    assert painter.asked[0]["control_image"] == str(tmp_path / "a.png")


def test_a_table_draws_each_cell_and_is_one_file(blocks: gr.Blocks, painter: Painter) -> None:
    sides = {"image-x": "guidance", "image-x-values": "1, 2", "image-y": "seed", "image-y-values": "5-6"}
    views = press(blocks, "on_go", **sides)
    assert [(one["guidance"], one["seed"]) for one in painter.asked] == [(1.0, 5), (2.0, 5), (1.0, 6), (2.0, 6)]
    assert shown(views, "image-table")[-1].count("<img") == 4
    made = next(
        value for view in reversed(views) for value in view.values() if isinstance(value, list) and len(value) == 3
    )
    with Image.open(handler(blocks, "on_save")(made, ME)) as sheet:
        assert sheet.width > 2 * 96
        assert (sheet.getcolors(100_000) or [])[0]


def test_an_address_opens_the_form(blocks: gr.Blocks) -> None:
    open_: Callable[..., dict[Any, Any]] = handler(blocks, "on_address")

    class Asked:
        query_params = {"tab": "images", "prompt": "a moon", "steps": "3", "folder": "/etc"}  # noqa: RUF012

    filled = {part.elem_id: value for part, value in open_(Asked()).items()}
    assert (filled["image-prompt"], filled["image-steps"]) == ("a moon", "3")


def test_another_tab_can_wish_what_is_drawn_with(blocks: gr.Blocks) -> None:
    wish = handler(blocks, "on_wish")
    filled = {
        str(part.elem_id or type(part).__name__): value for part, value in wish(["", "run/x", "a sks cat"]).items()
    }
    assert (filled["image-model"], filled["image-adapter-0"], filled["image-prompt"]) == (STARTER, "run/x", "a sks cat")
    assert filled["State"] == []

import json

import pytest

from backend import events as ev

ALL = [
    ev.Started(step=3, info={"device": "cpu"}),
    ev.Wrote(text="Grüße \u2028 \n two"),
    ev.Logged(level="warning", text="slow"),
    ev.Measured(step=1, values={"loss": 0.5}),
    ev.Progressed(done=1, total=9, eta=2.5),
    ev.Produced(kind="adapter", name="adapter", file="adapter", step=9, data={"rows": [1]}),
    ev.Paused(step=4, reason="stopped and saved"),
    ev.Failed(code="no_room", message="m", hint="h"),
    ev.Cancelled(reason="r"),
    ev.Finished(reason="stop", values={"n": 1}),
]


@pytest.mark.parametrize("event", ALL, ids=lambda e: type(e).__name__)
def test_one_line_there_and_back(event):
    line = ev.line(event)
    assert "\n" not in line
    assert ev.parse(line + "\n") == event
    assert ev.parse(ev.encode(event)) == event


def test_every_type_is_tried_above():
    assert {type(event) for event in ALL} == set(ev.TYPES.values())


@pytest.mark.parametrize(
    "line",
    ["", "plain", "{'loss': 1}", '{"a": 1}', '@event {"type": "Unheard"}', "@event {broken", '{"type": ["x"]}', "[1]"],
)
def test_anything_else_is_text(line):
    event = ev.parse(line)
    assert isinstance(event, ev.Wrote)
    assert event.text == line


def test_fields_of_a_newer_version_are_left_out():
    assert ev.parse('{"type": "Wrote", "text": "x", "at": 1, "colour": "red"}') == ev.Wrote(text="x", at=1)


def test_nan_travels_as_strict_json():
    line = ev.encode(ev.Measured(values={"loss": float("nan"), "other": float("inf")}))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = ev.parse(line)
    assert float(back.values["loss"]) != float(back.values["loss"])
    assert float(back.values["other"]) == float("inf")


def test_read_leaves_a_half_line_for_later(tmp_path):
    path = tmp_path / "events.jsonl"
    assert ev.read(path) == ([], 0)
    first, second = ev.encode(ev.Wrote(text="one", at=1)), ev.encode(ev.Wrote(text="twö", at=2))
    path.write_text(first + "\n" + second[:20])
    events, cursor = ev.read(path)
    assert [e.text for e in events] == ["one"]
    assert ev.read(path, cursor) == ([], cursor)
    path.write_text(first + "\n" + second + "\n")
    events, cursor = ev.read(path, cursor)
    assert [e.text for e in events] == ["twö"]
    assert cursor == path.stat().st_size


def test_read_in_pieces_gives_the_same(tmp_path):
    path = tmp_path / "events.jsonl"
    rows = [ev.Wrote(text="é" * n, at=n) for n in range(100)]
    path.write_text("".join(ev.encode(row) + "\n" for row in rows))
    found, cursor = [], 0
    while True:
        part, cursor_now = ev.read(path, cursor, limit=64)
        if cursor_now == cursor:
            break
        found, cursor = found + part, cursor_now
    assert found == rows

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from gradio import state_holder

from tests.ui.drawing import in_loop
from ui.sessions import Session, light


@pytest.fixture
def counter() -> gr.Blocks:
    """Counts the presses of a session, and shows the last number as a value and a label."""

    def press(so_far: int) -> tuple[int, int, object]:
        return so_far + 1, so_far + 1, gr.update(label=f"{so_far + 1} times", value="pressed")

    def make() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as blocks:
            so_far, shown, text = gr.State(0), gr.Number(0), gr.Textbox("", label="never")
            gr.Button().click(press, so_far, [so_far, shown, text], api_name="press")
        return blocks

    light()
    return in_loop(make)


def test_a_new_session_copies_no_component_and_makes_what_is_changed(counter: gr.Blocks) -> None:
    session = state_holder.SessionState(counter)
    assert isinstance(session, Session)
    assert session.config_values == {}
    (text,) = (key for key, block in counter.blocks.items() if isinstance(block, gr.Textbox))
    session._update_value_in_config(text, "changed")
    assert list(session.config_values) == [text]
    assert session.config_values[text]["props"]["value"] == "changed"
    assert session.config_values[text]["props"]["label"] == "never"
    assert session[text] is counter.blocks[text]


def test_two_sessions_count_each_for_itself(counter: gr.Blocks) -> None:
    one, other = (state_holder.SessionState(counter) for _ in range(2))

    def press(session: state_holder.SessionState) -> list[object]:
        (button,) = counter.fns
        with ThreadPoolExecutor(1) as thread:  # a browser that is open has a loop in this one
            return thread.submit(asyncio.run, counter.process_api(button, [None], state=session)).result()["data"]

    assert [press(one)[1] for _ in range(3)] == [1, 2, 3]
    assert press(other)[1] == 1
    assert press(one)[2]["label"] == "4 times"

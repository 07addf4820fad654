"""The code of what is on screen comes as a notebook that is one, and runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import nbformat
import pytest

from backend.lab import Lab
from backend.starter import MODEL_ID
from tests import localhub
from tests.localhub import Hub, here
from tests.tiny import tiny_model
from tests.ui.drawing import ME, drawn, handler
from tests.ui.scripted import lab as scripted
from ui.data.view import START
from ui.tabs import data


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def book(lab: Lab) -> nbformat.NotebookNode:
    blocks = drawn(data.build, lab)
    code = handler(blocks, "on_code")(START | {"dataset": "sample/instructions"}, ME)
    file = Path(handler(blocks, "on_notebook")(code))
    assert file.name == "rows.ipynb"
    return nbformat.reads(file.read_text(), 4)


def test_the_rows_on_screen_come_as_a_notebook_with_their_sample(lab: Lab) -> None:
    whole = book(lab)
    nbformat.validate(whole)
    assert whole.cells[1].source.startswith("%pip install -q datasets==")
    assert whole.cells[2].source.startswith("%%writefile instructions.jsonl\n{")
    assert str(Path.cwd()) not in whole.cells[-1].source
    with pytest.raises(gr.Error, match="The code has 0 characters"):
        handler(drawn(data.build, lab), "on_notebook")("")


def test_what_comes_with_atelier_has_its_name_on_the_hub(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page writes this disk's folder of the starter, in either kind of quotes."""
    monkeypatch.setattr("backend.outcomes.ready", lambda folder: True)
    monkeypatch.setattr("backend.outcomes.locate", lambda name, *_: "/there/starter" if name == MODEL_ID else name)
    script = f"# /there/starter holds {MODEL_ID}, which is also on the Hub.\nload('/there/starter', \"/there/starter\")"
    told = nbformat.reads(lab.outcomes.book("A chat", script), 4)
    assert told.cells[-1].source == f"load('{MODEL_ID}', \"{MODEL_ID}\")"
    assert len(told.cells) == 3  # nothing of this machine is named


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of the kernel's own machinery
def test_it_shows_the_same_rows_when_it_is_executed(lab: Lab, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    where = {"metadata": {"path": str(tmp_path)}}
    done = NotebookClient(book(lab), timeout=120, kernel_name="python3", resources=where).execute()
    said = "".join(str(output) for output in done.cells[-1].outputs)
    rows = (Path(data.__file__).parents[2] / "backend/starter/data/instructions.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["completion"][0]["content"] in said


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub of this machine with a tiny model, for us and for the notebook's kernel."""
    with localhub.serving() as found:
        here(monkeypatch, found.url)
        for name, value in (("HF_ENDPOINT", found.url), ("HF_HUB_DISABLE_XET", "1"), ("HF_HOME", str(tmp_path / "hf"))):
            monkeypatch.setenv(name, value)
        files = {path.name: path.read_bytes() for path in tiny_model(tmp_path / "tiny").iterdir()}
        found.add("models", "ann/tiny", files, told={"pipeline_tag": "text-generation"})
        yield found


CHAT = {"messages": [{"role": "user", "content": "Say one."}], "max_new_tokens": 6, "temperature": 0.0}
EVALUATE = {"dataset": "sample/evaluation", "max_rows": 6, "max_new_tokens": 4, "metrics": "exact_match, chrf"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of the kernel's own machinery
@pytest.mark.parametrize(
    ("recipe", "params", "said"),
    [
        ("chat", CHAT | {"model": "ann/tiny"}, ""),
        ("evaluate", EVALUATE | {"models": ["ann/tiny"]}, "exact match: "),
    ],
    ids=["chat", "evaluate"],
)
def test_chats_and_evaluations_are_done_again_when_they_are_executed(
    lab: Lab, hub: Hub, tmp_path: Path, recipe: str, params: dict[str, Any], said: str
) -> None:
    """From top to bottom, with a model that is fetched from the Hub; nothing of this disk is named."""
    from nbclient import NotebookClient

    whole = nbformat.reads(lab.outcomes.book("Mine", lab.code(recipe, params, "ann")), 4)
    nbformat.validate(whole)
    assert not [cell for cell in whole.cells if cell.cell_type == "markdown" and "name yours" in cell.source]
    (tmp_path / "away").mkdir()
    where = {"metadata": {"path": str(tmp_path / "away")}}
    done = NotebookClient(whole, timeout=240, kernel_name="python3", resources=where).execute()
    printed = "".join(output.get("text", "") for output in done.cells[-1].outputs if output.get("name") == "stdout")
    assert printed.strip()
    assert said in printed
    assert any("model.safetensors" in path for _, _, path, _ in hub.asked), "fetched from there"

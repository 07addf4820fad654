"""Notebooks are valid, carry their data, and do what the run did."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest

from backend.notebook import notebook, packages, view_notebook
from backend.recipes import METHODS, image_lora, image_script, script
from backend.recipes.params import check
from backend.starter import SAMPLES
from tests.tiny import tiny_model


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    chats = [
        {"prompt": [{"role": "user", "content": f"Say “{i}”"}], "completion": [{"role": "assistant", "content": "ok"}]}
        for i in range(12)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in chats))
    return tmp_path / "rows.jsonl"


def test_it_is_a_notebook_with_the_data_in_it(rows: Path) -> None:
    text = notebook("Mine", f"print(open({json.dumps(str(rows))}).read())\n", rows)
    whole = nbformat.reads(text, 4)
    nbformat.validate(whole)
    assert [cell.cell_type for cell in whole.cells] == ["markdown", "code", "markdown", "code", "code"]
    assert whole.cells[0].source.startswith("# Mine")
    assert whole.cells[1].source.startswith("%pip install -q transformers==")
    assert whole.cells[3].source == "%%writefile data.jsonl\n" + rows.read_text()
    assert whole.cells[4].source == 'print(open("data.jsonl").read())'
    assert str(rows.parent) not in text


def test_large_data_are_asked_for_and_hub_data_need_nothing(tmp_path: Path) -> None:
    (tmp_path / "big.csv").write_bytes(b"x" * 2_000_001)
    whole = nbformat.reads(notebook("Mine", "pass", tmp_path / "big.csv"), 4)
    assert "Upload the data first, as `data.csv`" in whole.cells[2].source
    assert len(nbformat.reads(notebook("Mine", "pass"), 4).cells) == 3


def test_the_code_of_a_view_carries_the_samples_it_names_and_nothing_else_of_this_disk(rows: Path) -> None:
    other = rows.parent / "other.txt"
    other.write_text("of-the-highest-order")
    script = f"import duckdb\nprint(open({json.dumps(str(rows))}).read())\nopen({json.dumps(str(other))})"
    whole = nbformat.reads(text := view_notebook("Rows", script, [rows]), 4)
    nbformat.validate(whole)
    assert whole.cells[1].source == f"%pip install -q duckdb=={version('duckdb')}"
    assert whole.cells[2].source == "%%writefile rows.jsonl\n" + rows.read_text()
    assert 'open("rows.jsonl")' in whole.cells[-1].source
    assert "name yours" in whole.cells[3].source
    assert "highest" not in text


def test_what_is_installed_is_what_the_code_imports() -> None:
    told = packages("import json\nimport torch\nfrom transformers import pipeline\nimport nobody_has_this")
    assert told.split() == [f"accelerate=={version('accelerate')}", f"transformers=={version('transformers')}"]
    assert "trl==" in packages("not python")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of the kernel's own machinery
def test_it_trains_when_it_is_executed(rows: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    model = tiny_model(tmp_path / "tiny")
    params = check(METHODS["sft"].params, {"model": str(model), "max_steps": 3, "eval_rows": 2, "dataset": str(rows)})
    text = notebook("Mine", script.code("sft", params, dataset=str(rows)), rows)
    (tmp_path / "run").mkdir()
    NotebookClient(
        nbformat.reads(text, 4),
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path / "run")}},
    ).execute()
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()
    assert (tmp_path / "run" / "data.jsonl").read_text() == rows.read_text() + "\n"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of the kernel's own machinery
def test_it_teaches_an_image_model_when_it_is_executed(tiny_image: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    pictures = SAMPLES["sample/mascot"]
    kept = {"with_prior_preservation": True, "class_prompt": "a cat", "num_class_images": 2, "validation_steps": 2}
    params = check(image_lora.Params, {"model": str(tiny_image), "max_steps": 3, "caption_column": "text", **kept})
    code = image_script.code("image_lora", params, {"dataset": str(pictures)})
    NotebookClient(
        nbformat.reads(notebook("Mine", code, pictures), 4),
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    assert (tmp_path / "adapter" / image_lora.WEIGHTS).exists()
    assert (tmp_path / "picture.png").exists()

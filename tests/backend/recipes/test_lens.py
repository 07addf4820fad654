"""What the loss sees is what TRL's own trainer and collator make of the rows, for every method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadData, LabError
from backend.lens import Lens
from backend.recipes import METHODS, lens
from backend.recipes.params import check
from tests.tiny import tiny_model

ASKED, SAID = [{"role": "user", "content": "hi"}], [{"role": "assistant", "content": "héllo"}]
TURN = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
PAIR = {"prompt": ASKED, "completion": SAID}
CHOICE = {"prompt": ASKED, "chosen": SAID, "rejected": [{"role": "assistant", "content": "no"}]}
NO_WARNINGS = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def written(folder: Path, *rows: Any) -> str:
    path = folder / "d.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def look(recipe: str, tiny: Path, dataset: str, **more: Any) -> dict[str, Any]:
    return lens.look(recipe, check(METHODS[recipe].params, {"model": str(tiny), "dataset": dataset} | more))


def text(sequence: dict[str, Any], trained: bool | None = None) -> str:
    return "".join(piece for piece, on in sequence["pieces"] if trained is None or on is trained)


@NO_WARNINGS
def test_the_answer_alone_is_trained_on(tiny: Path, tmp_path: Path) -> None:
    seen = look("sft", tiny, written(tmp_path, PAIR, PAIR))
    (sequence,) = seen["rows"][0]
    assert text(sequence, False) == TURN
    assert text(sequence, True) == "héllo<|im_end|>\n"
    assert ["é", True] in [list(piece) for piece in sequence["pieces"]]  # two bytes are two tokens, and one letter
    assert (sequence["tokens"], sequence["trained"]) == (len(sequence["pieces"]), 8)


@NO_WARNINGS
def test_a_long_row_is_cut_as_the_run_cuts_it(tiny: Path, tmp_path: Path) -> None:
    rows = [{"text": "a" * 10}, {"text": "b" * 40}, {"text": "c" * 40}]
    seen = look("sft", tiny, written(tmp_path, *rows), max_length=20)
    assert max(row[0]["tokens"] for row in seen["rows"]) == 20
    lengths = seen["lengths"]
    assert (lengths["cut"], lengths["over"], lengths["measured"], lengths["total"], lengths["longest"]) == (
        20,
        2,
        3,
        3,
        41,
    )
    assert sum(lengths["counts"]) == 3
    assert lengths["counts"][11 // lengths["width"]] == 1


@NO_WARNINGS
@pytest.mark.parametrize("recipe", ["dpo", "orpo", "reward"])
def test_both_sides_of_a_preference(recipe: str, tiny: Path, tmp_path: Path) -> None:
    seen = look(recipe, tiny, written(tmp_path, CHOICE, CHOICE))
    chosen, rejected = seen["rows"][0]
    assert (chosen["name"], rejected["name"]) == ("chosen", "rejected")
    assert text(chosen).startswith(TURN + "héllo<|im_end|>")
    if recipe == "reward":
        assert (chosen["trained"], "one score" in seen["note"]) == (0, True)
    else:
        assert text(chosen, True).startswith("héllo<|im_end|>")
        assert text(rejected, True).startswith("no<|im_end|>")


@NO_WARNINGS
def test_a_liked_answer(tiny: Path, tmp_path: Path) -> None:
    (sequence,) = look("kto", tiny, written(tmp_path, *[PAIR | {"label": True}, PAIR | {"label": False}] * 4))["rows"][
        0
    ]
    assert text(sequence, True) == "héllo<|im_end|>\n"


def test_prompts_end_where_the_model_begins(tiny: Path, tmp_path: Path) -> None:
    seen = look("grpo", tiny, written(tmp_path, PAIR, {"prompt": ASKED, "completion": SAID}))
    assert text(seen["rows"][0][0]) == TURN
    assert "writes the answers itself" in seen["note"]


def test_it_is_asked_once_and_again_when_the_file_changes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(Lens, "_ask", lambda self, question: asked.append(question) or {"rows": []})
    held, dataset = Lens({}), written(tmp_path, PAIR, PAIR)
    for _ in range(2):
        held.look("sft", {"dataset": dataset})
    written(tmp_path, PAIR, PAIR, PAIR)
    held.look("sft", {"dataset": dataset})
    held.look("dpo", {"dataset": dataset})
    assert len(asked) == 3


@NO_WARNINGS
def test_rows_that_are_too_long_stop_a_run_before_it_starts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = written(tmp_path, *[{"text": "a" * many} for many in (9, 30, 9, 40)])
    monkeypatch.setattr(
        Lens,
        "_ask",
        lambda self, question: look("sft", tiny, dataset, max_length=json.loads(question)["params"]["max_length"]),
    )
    held, asked = Lens({}), {"dataset": dataset, "max_length": 20, "long_rows": "stop"}
    with pytest.raises(BadData, match=r"Row 2 of d.jsonl is longer than 20 tokens. 2 of 4 rows are.") as caught:
        held.check("sft", asked)
    assert caught.value.code == "data.long"
    held.check("sft", asked | {"max_length": 64})
    monkeypatch.setattr(Lens, "_ask", lambda self, question: pytest.fail("nothing is to be stopped"))
    held.check("sft", asked | {"long_rows": "drop", "max_length": 21})
    held.check("sft", asked | {"dataset": "owner/name", "max_length": 21})


def test_in_its_own_process_it_answers_and_says_what_is_wrong(tiny: Path, tmp_path: Path) -> None:
    import os

    held = Lens(dict(os.environ))
    params = {"model": str(tiny), "dataset": written(tmp_path, PAIR, PAIR)}
    assert text(held.look("sft", params)["rows"][0][0], False) == TURN
    with pytest.raises(LabError, match="is prompt-completion data"):
        held.look("dpo", params)

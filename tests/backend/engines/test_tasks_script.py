"""The script shown for a task prints what the task gave."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import Any

import pytest

from backend.engines.tasks import TASKS
from backend.engines.tasks_engine import engines
from backend.engines.tasks_script import code
from backend.engines.text import TextEngine
from backend.recipes.params import check
from backend.starter import MODEL_ID
from tests.backend.engines.test_tasks_engine import PAIRS, example
from tests.tiny_tasks import tiny_task_model


def printed(script: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(script, "task.py", "exec"), {"__name__": "__main__"})
    return out.getvalue().strip()


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


@pytest.mark.parametrize(("task", "kind"), PAIRS)
def test_the_script_gives_what_the_task_gave(engine: TextEngine, tmp_path, task, kind):
    model = str(tiny_task_model(kind, tmp_path / "t5" if kind == "seq2seq" else tmp_path))
    tool, params = dict(engines(engine))[task]
    short = {"context": "the cat sleeps in paris"} if kind == "span" else {}
    request = check(params, example(task) | {"model": model} | short)
    tool.prepare(request)
    result: dict[str, Any] = list(tool.stream(request))[-1].values
    script = printed(code(task, request, kind))
    match TASKS[task].shows:
        case "labels":
            assert sorted(numbers(script)) == pytest.approx(sorted(o["score"] for o in result["labels"]), abs=2e-3)
            assert all(one["label"] in script for one in result["labels"])
        case "entities":
            assert numbers(script) == pytest.approx([one["score"] for one in result["entities"]], abs=2e-3)
        case "matrix":
            shown = numbers(script)
            assert shown == pytest.approx([one for row in result["matrix"] for one in row], abs=2e-3)
        case "vectors":
            assert numbers(script)[:3] == pytest.approx(result["vectors"][0][:3], abs=2e-3)
        case "answer":
            assert script == result["answer"].strip()
        case "text" if kind == "speech":
            assert script[:20] == result["text"][:20]
        case "text":
            assert script == result["text"]


@pytest.mark.parametrize("task", ["zero-shot-classification", "summarization"])
def test_the_starter_s_script_too(engine: TextEngine, starter, task):
    tool, params = dict(engines(engine))[task]
    request = check(params, example(task) | {"model": MODEL_ID})
    tool.prepare(request)
    result = list(tool.stream(request))[-1].values
    script = printed(code(task, request, "causal", str(starter)))
    if "labels" in result:
        first = max(script.splitlines(), key=lambda line: numbers(line)[0])
        assert result["labels"][0]["label"] in first
    else:
        assert script.split()[:8] == result["text"].split()[:8]

"""Every task by every kind of model that can do it: tiny ones for the form, real ones for the sense."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio
import pytest

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.tasks import TASKS
from backend.engines.tasks_engine import TaskEngine, engines
from backend.engines.text import TextEngine
from backend.errors import BadInput, NotFound
from backend.recipes.params import check
from backend.starter import EMBEDDER_ID, MODEL_ID
from tests.tiny_tasks import tiny_task_model

MEDIA = Path(gradio.__file__).parent / "media_assets"
PAIRS = [(name, kind) for name, task in TASKS.items() for kind in task.kinds if kind != "causal"]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """`small("mask")` gives the folder of a tiny model of that kind."""
    made: dict[str, str] = {}

    def make(kind: str) -> str:
        if kind not in made:
            made[kind] = str(tiny_task_model(kind, tmp_path_factory.mktemp(kind)))
        return made[kind]

    return make


@pytest.fixture(scope="module")
def tasks(engine: TextEngine) -> dict[str, tuple[TaskEngine, Any]]:
    return dict(engines(engine))


@pytest.fixture(scope="module")
def ask(tasks: dict[str, tuple[TaskEngine, Any]]) -> Callable[..., dict[str, Any]]:
    """`ask(task, model, **values)` gives the result; what isn't given is the example's."""

    def one(task: str, model: str, **values: Any) -> dict[str, Any]:
        engine, kind = tasks[task]
        request = check(kind, example(task) | {"model": model} | values)
        engine.prepare(request)
        last = list(engine.stream(request))[-1]
        assert isinstance(last, ev.Finished)
        return last.values

    return one


def example(task: str) -> dict[str, Any]:
    values = dict(TASKS[task].example)
    folder = {"image": "images", "audio": "audio"}.get(TASKS[task].medium)
    return values | {"file": str(MEDIA / folder / values["file"])} if folder else values


@pytest.mark.parametrize(("task", "kind"), PAIRS)
def test_each_kind_of_model_gives_a_result_of_the_task_s_form(ask, small, task, kind):
    result = ask(task, small(kind))
    assert result["how"]
    assert result["seconds"] >= 0
    match TASKS[task].shows:
        case "labels":
            scores = [one["score"] for one in result["labels"]]
            assert scores == sorted(scores, reverse=True)
            assert all(one["label"] for one in result["labels"])
        case "entities":
            text = example(task)["text"]
            assert all(text[one["start"] : one["end"]] == one["text"] for one in result["entities"])
        case "answer":
            context = example(task)["context"]
            assert context[result["start"] : result["end"]] == result["answer"]
            assert 0 <= result["score"] <= 1
        case "text":
            assert isinstance(result["text"], str)
        case "matrix":
            assert [round(result["matrix"][i][i], 3) for i in range(5)] == [1.0] * 5
        case "vectors":
            assert [round(math.hypot(*vector), 3) for vector in result["vectors"]] == [1.0, 1.0]


def test_a_pipeline_is_what_answers(ask, small):
    from transformers import pipeline

    plain = pipeline("text-classification", model=small("sequence"))("I liked it", top_k=5)
    ours = ask("text-classification", small("sequence"), text="I liked it")["labels"]
    assert [one["label"] for one in ours] == [one["label"] for one in plain]
    assert ours[0]["score"] == pytest.approx(plain[0]["score"], abs=1e-3)


def test_written_text_is_what_generate_gives_and_comes_in_pieces(tasks, small):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    engine, kind = tasks["summarization"]
    request = check(kind, {"text": "the cat sleeps", "model": small("seq2seq"), "max_new_tokens": 20})
    engine.prepare(request)
    events = list(engine.stream(request))
    tokenizer = AutoTokenizer.from_pretrained(small("seq2seq"))
    model = AutoModelForSeq2SeqLM.from_pretrained(small("seq2seq"))
    ids = tokenizer("the cat sleeps", return_tensors="pt").input_ids
    plain = tokenizer.decode(model.generate(ids, do_sample=False, max_new_tokens=20)[0], skip_special_tokens=True)
    assert "".join(event.text for event in events if isinstance(event, ev.Wrote)).strip() == plain.strip()
    assert events[-1].values["text"] == plain.strip()


def test_closing_ends_what_is_being_written(tasks, small):
    engine, kind = tasks["summarization"]
    request = check(kind, {"text": "the cat", "model": small("seq2seq"), "max_new_tokens": 1024})
    engine.prepare(request)
    stream = engine.stream(request)
    while not isinstance(next(stream), ev.Wrote):
        pass
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "generate"]


def test_a_long_text_is_searched_to_its_end(ask, small):
    context = "the cat sleeps. " * 60 + "paris"
    result = ask("question-answering", small("span"), question="where is ada", context=context)
    assert context[result["start"] : result["end"]] == result["answer"]


def test_a_model_of_another_task_is_refused_with_what_it_is_for(tasks, small):
    engine, kind = tasks["fill-mask"]
    with pytest.raises(
        BadInput, match=r"is a model for embedding texts; fill-mask needs one for filling gaps\. Choose .*distilroberta"
    ):
        engine.prepare(check(kind, example("fill-mask") | {"model": small("embed")}))


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        ("image-classification", "image", "notes.txt is not a picture that can be read"),
        ("automatic-speech-recognition", "speech", "notes.txt is not a recording that can be read"),
    ],
)
def test_a_file_that_is_no_picture_or_recording_is_named(ask, small, tmp_path: Path, task, kind, message):
    file = tmp_path / "notes.txt"
    file.write_text("not what it should be")
    with pytest.raises(BadInput, match=message):
        ask(task, small(kind), file=str(file))
    with pytest.raises(NotFound, match=r"no file 'gone\.wav'"):
        ask(task, small(kind), file=str(tmp_path / "gone.wav"))


def test_a_long_recording_is_heard_in_parts(tasks, small, tmp_path: Path):
    import numpy as np
    import soundfile

    file = tmp_path / "long.wav"
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 70 * 8000), 8000)
    engine, kind = tasks["automatic-speech-recognition"]
    request = check(kind, {"model": small("speech"), "file": str(file)})
    engine.prepare(request)
    done = [event.done for event in engine.stream(request) if isinstance(event, ev.Progressed)]
    assert len(done) == 3
    assert done[-1] == pytest.approx(70, abs=0.1)


@pytest.fixture(scope="module")
def embedder() -> str:
    from backend.starter import locate

    return locate(EMBEDDER_ID)


def test_similarity_of_real_sentences_makes_sense(ask, embedder):
    matrix = ask("sentence-similarity", EMBEDDER_ID)["matrix"]
    cat, stocks = matrix[0][1], matrix[2][3]
    others = [matrix[i][j] for i in range(5) for j in range(i) if (j, i) not in ((0, 1), (2, 3))]
    assert min(cat, stocks) > max(others) + 0.2
    sorted_ = ask("zero-shot-classification", EMBEDDER_ID)["labels"]
    assert sorted_[0]["label"] == "cooking"


def test_the_starter_sorts_and_summarises(ask, starter):
    told = {
        "The striker scored twice in the last ten minutes.": "sports",
        "Simmer the sauce for twenty minutes, then add the basil.": "cooking",
        "Parliament voted against the new tax law on Tuesday.": "politics",
        "The new phone has a great camera but the battery is weak.": "technology",
    }
    for text, label in told.items():
        assert ask("zero-shot-classification", MODEL_ID, text=text)["labels"][0]["label"] == label
    summary = ask("summarization", MODEL_ID)
    assert "Amazon" in summary["text"]
    assert "a chat model's answer" in summary["how"]


def test_the_worker_does_tasks_beside_chats_and_stops_them(worker: EngineProcess, small, tmp_path: Path):
    *_, done = worker.stream("sentence-similarity", {"model": small("embed"), "texts": ["a", "b"]})
    assert isinstance(done, ev.Finished)
    assert len(done.values["matrix"]) == 2
    stream = worker.stream("translation", {"model": small("seq2seq"), "text": "the cat", "max_new_tokens": 1024})
    while not isinstance(next(stream), ev.Wrote):
        pass
    began = time.monotonic()
    stream.close()
    *_, refused = worker.stream("fill-mask", {"model": small("embed"), "text": "a [MASK]"})
    assert time.monotonic() - began < 20
    assert isinstance(refused, ev.Failed)
    assert refused.code == "model.wrong_task"


def test_tools_make_room_for_chat_models_the_longest_unused_first(engine, tasks, small, tiny, monkeypatch):
    from backend.engines import shelf

    tools = tasks["fill-mask"][0]._tools
    for kind in ("mask", "token", "embed"):
        with tools.use(small(kind)):
            pass
    free = iter([0, 0, 10**12])
    monkeypatch.setattr(shelf, "free_memory", lambda: next(free))
    with tools.use(small("embed")):
        held = set(tools._tools) | set(engine.shelf._bases)
        engine.shelf.make_room("another", 10**9)
        assert tools.has(small("embed"))
    assert len(held - (set(tools._tools) | set(engine.shelf._bases))) == 2

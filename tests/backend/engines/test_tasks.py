"""What a task asks: checked params, worked examples, and which models it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.engines.tasks import KINDS, TASKS, kind_in, kind_of, whole
from backend.errors import BadInput
from backend.recipes.params import check
from backend.starter import EMBEDDER_ID, MODEL_ID


@pytest.mark.parametrize("name", TASKS)
def test_each_task_has_an_example_that_is_valid_and_names_of_its_own_fields(name):
    task = TASKS[name]
    check(task.params, whole(name, dict(task.example)))
    assert set(task.example) <= set(task.takes) <= set(task.params.model_fields)
    assert set(task.kinds) <= set(KINDS)
    assert task.suggested


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("summarization", {"text": "  "}, "text is '  '; write something"),
        ("zero-shot-classification", {"text": "x", "labels": "one"}, "labels"),
        ("zero-shot-classification", {"text": "x", "labels": "a, a"}, "a label is there twice"),
        ("zero-shot-classification", {"text": "x", "labels": "a, b", "hypothesis": "no"}, r"put \{\} once"),
        ("fill-mask", {"text": "no gap"}, "it has 0 gaps"),
        ("sentence-similarity", {"texts": "alone"}, "one text has nothing to be like"),
        ("text-classification", {"text": "x", "top_k": 0}, "top_k is 0; use at least 1"),
        ("image-classification", {"file": ""}, "file"),
        ("summarization", {"text": "x", "colour": 1}, "no setting 'colour'"),
    ],
)
def test_what_is_wrong_is_named(task, values, message):
    with pytest.raises(BadInput, match=message):
        check(TASKS[task].params, values)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "causal"),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, "causal"),
        ({"architectures": ["BertModel"], "model_type": "bert"}, "embed"),
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, "seq2seq"),
        ({"architectures": ["MarianMTModel"], "model_type": "marian"}, "seq2seq"),
        ({"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}, "speech"),
        ({"architectures": ["BlipForConditionalGeneration"], "model_type": "blip"}, "caption"),
        ({"architectures": ["XForSequenceClassification"], "label2id": {"ENTAILMENT": 0}}, "nli"),
        ({"architectures": ["XForSequenceClassification"], "label2id": {"good": 0}}, "sequence"),
        ({"architectures": ["UNet2DModel"]}, ""),
        ({}, ""),
    ],
)
def test_a_config_tells_what_a_model_is_for(config: dict[str, Any], kind: str):
    assert kind_of(config) == kind


def test_a_folder_without_a_readable_config_is_of_no_kind(tmp_path: Path):
    assert kind_in(tmp_path) == ""
    (tmp_path / "config.json").write_text("{")
    assert kind_in(tmp_path) == ""
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertForMaskedLM"]}))
    assert kind_in(tmp_path) == "mask"


def test_the_house_models_do_the_first_tasks():
    own = [whole(name, {})["model"] for name in TASKS]
    assert own[:2] == [MODEL_ID, EMBEDDER_ID]
    assert all(own)

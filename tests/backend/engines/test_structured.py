"""Answers bound to a schema: always JSON that fits, for any weights; what can't be followed is refused."""

from __future__ import annotations

import json

import pytest

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.structured import grammar
from backend.engines.text import CompleteParams, TextEngine
from backend.errors import BadInput
from tests.backend.engines.talk import asks, said

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "likes": {"type": "array", "items": {"enum": ["tea", "rain", "chess"]}, "maxItems": 3},
    },
    "required": ["name", "age", "likes"],
    "additionalProperties": False,
}
SCHEMA = json.dumps(PERSON)


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_even_random_weights_answer_in_the_schema(engine: TextEngine, tiny, temperature):
    for seed in range(4 if temperature else 1):
        asked = asks(tiny, json_schema=SCHEMA, max_new_tokens=200, temperature=temperature, seed=seed)
        events = list(engine.stream(asked))
        person = json.loads("".join(event.text for event in events if isinstance(event, ev.Wrote)))
        assert list(person) == ["name", "age", "likes"]
        assert len(person["name"]) <= 12
        assert 0 <= person["age"] <= 150
        assert set(person["likes"]) <= {"tea", "rain", "chess"}
        assert (events[-1].reason, events[-1].values["complete"]) == ("stop", True)


def test_a_cut_answer_is_called_incomplete_and_can_go_on(engine: TextEngine, tiny):
    cut = list(engine.stream(asks(tiny, json_schema=SCHEMA, max_new_tokens=9)))
    assert (cut[-1].reason, cut[-1].values["complete"]) == ("length", False)
    begun = "".join(event.text for event in cut if isinstance(event, ev.Wrote))
    turns = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": begun}]
    rest = said(engine.stream(asks(tiny, messages=turns, json_schema=SCHEMA, max_new_tokens=200)))
    assert json.loads(begun + rest)["age"] >= 0


def test_what_fits_at_the_last_token_is_complete(engine: TextEngine, tiny):
    events = list(engine.stream(asks(tiny, json_schema='{"enum": [10]}', max_new_tokens=2)))
    assert "".join(event.text for event in events if isinstance(event, ev.Wrote)) == "10"
    assert (events[-1].reason, events[-1].values["complete"]) == ("length", True)


def test_a_completion_can_be_bound_too(engine: TextEngine, tiny):
    asked = CompleteParams(
        prompt="Age: ", model=str(tiny), json_schema='{"type": "integer", "maximum": 9, "minimum": 1}'
    )
    assert 1 <= json.loads(said(engine.stream(asked))) <= 9


def test_without_a_schema_nothing_is_said_of_it(engine: TextEngine, tiny):
    assert "complete" not in list(engine.stream(asks(tiny)))[-1].values


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{name", "json_schema is not JSON: "),
        ("[1]", r"json_schema is \[1\]; a schema is an object"),
        ('{"type": "strin"}', "can't be followed: Invalid type: strin"),
        ('{"$ref": "#/nope"}', "Pointer '/nope' does not exist"),
        ('{"enum": []}', "Unsatisfiable"),
        ('{"type": "string", "pattern": "("}', "unclosed group"),
    ],
)
def test_a_schema_that_is_none_says_what_is_wrong(schema, message):
    with pytest.raises(BadInput, match=message):
        grammar(schema)


def test_an_answer_that_breaks_the_schema_is_not_continued(engine: TextEngine, tiny):
    turns = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": '{"nam'}]
    with pytest.raises(BadInput, match="does not fit json_schema"):
        list(engine.stream(asks(tiny, messages=turns, json_schema='{"type": "integer"}')))


def test_the_worker_answers_with_a_schema_and_refuses_a_broken_one(worker: EngineProcess, tiny):
    asked = asks(tiny, json_schema='{"enum": ["yes", "no"]}').model_dump()
    assert json.loads(said(worker.stream("text", asked))) in ("yes", "no")
    failed = list(worker.stream("text", asked | {"json_schema": "{"}))[-1]
    assert isinstance(failed, ev.Failed)
    assert failed.code == "input.invalid"
    assert "json_schema is not JSON" in failed.message

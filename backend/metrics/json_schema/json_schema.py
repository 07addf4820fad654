"""The share of answers that are JSON and of the row's schema; '' asks for any JSON. A code fence around it may be."""

import functools
import json
import re
from typing import Any

import jsonschema

from backend.metrics import Array, Texts, compute, each, mean


def rows(predictions: Texts, schemas: Texts) -> Array:
    """[n, 2]: valid, 1."""
    return each([_valid(answer, schema) for answer, schema in zip(predictions, schemas, strict=True)])


def _valid(answer: str, schema: str) -> bool:
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", answer, re.DOTALL)
    try:
        found = json.loads(fenced[1] if fenced else answer)
    except ValueError:
        return False
    return _validator(schema).is_valid(found) if schema else True


@functools.cache
def _validator(schema: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads(schema))


value = mean("json_schema")


JsonSchema = compute("json_schema", __doc__, rows, value, predictions="string", schemas="string")

"""Filters, and the SQL that says the same, both ways.

A filter compares one column; several hold together (AND). In every comparison a missing value is not a match, NaN
equals itself and is the largest number, and `contains` and `starts` look past upper and lower case.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import duckdb

from backend.errors import BadInput
from backend.tables.table import ROW, Column, Table, literal, quoted

Op = Literal["=", "!=", "<", "<=", ">", ">=", "in", "contains", "starts", "matches", "null", "not null"]
OPS = get_args(Op)
MOST = 10_000  # values of one `in`
_COMPARED = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "!=",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
_TURNED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ROW = Column(ROW, "BIGINT", "number")


@dataclass(frozen=True)
class Filter:
    """`column` op `value`; the column `_row` is the number of the row, from 0.

    `value` is text, a number, a truth value, or a tuple of them for `in`; nothing for `null` and `not null`.
    `matches` looks for a regular expression (RE2) anywhere in the text.
    """

    column: str
    op: Op
    value: Any = None


def where(filters: Sequence[Filter], table: Table) -> str:
    """The condition as SQL; '' for no filters. Raises BadInput and NotFound naming what is wrong."""
    return " AND ".join(_written(f, _column(f.column, table)) for f in filters)


def parse(sql: str, table: Table) -> list[Filter]:
    """The filters that a condition says, as `where` writes it or in other words that mean the same.

    Raises BadInput for a condition that filters can't say (OR, functions, two columns compared): run it as SQL.
    """
    if not sql.strip():
        return []
    if len(sql) > 200_000:
        raise BadInput(f"The condition has {len(sql):,} characters; at most 200,000 are read.", "Shorten it.")
    with duckdb.connect(":memory:") as parser:
        text = parser.execute(
            "SELECT json_serialize_sql(CAST(? AS VARCHAR))", [f"SELECT * FROM data WHERE {sql}"]
        ).fetchall()[0][0]
    tree = json.loads(text)
    if tree["error"]:
        raise BadInput(f"The condition can't be read: {tree['error_message']}", "Check its quotes and words.")
    node = tree["statements"][0]["node"] if len(tree["statements"]) == 1 else {}
    plain = node.get("type") == "SELECT_NODE" and not node["modifiers"] and not node["group_expressions"]
    if not plain or node["having"] or node["qualify"] or node["sample"] or node["from_table"]["type"] != "BASE_TABLE":
        raise _too_much(sql)
    found = _read(node["where_clause"], sql)
    where(found, table)
    return found


def _column(name: str, table: Table) -> Column:
    return _ROW if name == ROW else table.column(name)


def _written(f: Filter, column: Column) -> str:
    name = quoted(f.column)
    if f.op == "null":
        return f"{name} IS NULL"
    if f.op == "not null":
        return f"{name} IS NOT NULL"
    if f.op in ("contains", "starts", "matches"):
        if not isinstance(f.value, str):
            raise BadInput(f"{f.op} looks for text; {f.value!r} is none.", "Write the words to look for.")
        text = name if column.kind == "text" else f"CAST({name} AS VARCHAR)"
        if f.op == "matches":
            return f"regexp_matches({text}, {literal(f.value)})"
        escaped = f.value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = literal(f"{'%' if f.op == 'contains' else ''}{escaped}%")
        return f"{text} ILIKE {pattern}" + (" ESCAPE '\\'" if escaped != f.value else "")
    if f.op == "in":
        values = tuple(f.value) if isinstance(f.value, list | tuple | set | frozenset) else ()
        if not values or len(values) > MOST:
            raise BadInput(f"{f.column!r} in {len(values):,} values; give 1 to {MOST:,}.", "Choose some values.")
        return f"{name} IN ({', '.join(_value(value, column) for value in values)})"
    if f.op not in OPS:
        raise BadInput(f"There is no comparison {f.op!r}.", f"Use one of {', '.join(OPS)}.")
    return f"{name} {'<>' if f.op == '!=' else f.op} {_value(f.value, column)}"


def _value(value: Any, column: Column) -> str:
    """A literal that `column` can be compared with."""
    kind, text = column.kind, str(value)
    if kind == "boolean":
        if text.lower() in ("true", "false"):
            return text.lower()
    elif kind == "label" and text in column.names:
        return str(column.names.index(text))
    elif kind in ("number", "label"):
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            with contextlib.suppress(ValueError):
                return str(int(text))
            with contextlib.suppress(ValueError):
                number = float(text)
                return repr(number) if math.isfinite(number) else f"'{number}'::DOUBLE"
    elif isinstance(value, str | int | float):
        return literal(text.lower() if isinstance(value, bool) else text)
    raise BadInput(
        f"{text[:60]!r} can't be compared with {column.name!r}, which is {column.type[:60]}.",
        "Give a value of that type.",
    )


# -- reading ----------------------------------------------------------------------------------------------------


def _too_much(sql: str) -> BadInput:
    return BadInput(f"Filters can't say {sql.strip()[:120]!r}.", "Run it as SQL: SELECT * FROM data WHERE …")


def _read(node: dict[str, Any], sql: str) -> list[Filter]:
    type_ = node["type"]
    if type_ == "CONJUNCTION_AND":
        return [f for child in node["children"] for f in _read(child, sql)]
    if type_ in _COMPARED:
        op, left, right = _COMPARED[type_], node["left"], node["right"]
        if left["class"] != "COLUMN_REF":
            op, left, right = _TURNED[op], right, left
        return [Filter(_name(left, sql), op, _constant(right, sql))]  # type: ignore[arg-type]
    if type_ == "COMPARE_BETWEEN":
        name = _name(node["input"], sql)
        return [Filter(name, ">=", _constant(node["lower"], sql)), Filter(name, "<=", _constant(node["upper"], sql))]
    if type_ == "COMPARE_IN":
        name, *values = node["children"]
        return [Filter(_name(name, sql), "in", tuple(_constant(value, sql) for value in values))]
    if type_ in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        return [Filter(_name(node["children"][0], sql), "null" if type_ == "OPERATOR_IS_NULL" else "not null")]
    if type_ == "COLUMN_REF":
        return [Filter(_name(node, sql), "=", True)]
    if type_ == "OPERATOR_NOT" and node["children"][0]["type"] == "COLUMN_REF":
        return [Filter(_name(node["children"][0], sql), "=", False)]
    if type_ == "FUNCTION":
        return [_searched(node["function_name"], [part["expression"] for part in node["arguments"]], sql)]
    raise _too_much(sql)


def _searched(function: str, arguments: list[dict[str, Any]], sql: str) -> Filter:
    """`contains` and `starts` out of ILIKE, `matches` out of regexp_matches."""
    if len(arguments) < 2:
        raise _too_much(sql)
    subject = arguments[0]
    if subject["class"] == "CAST" and subject["type_expr"]["type_name"].upper() == "VARCHAR":
        subject = subject["child"]
    name, pattern = _name(subject, sql), _constant(arguments[1], sql)
    if function == "regexp_matches" and len(arguments) == 2:
        return Filter(name, "matches", pattern)
    if function not in ("~~*", "ilike_escape") or not isinstance(pattern, str):
        raise _too_much(sql)
    escape = _constant(arguments[2], sql) if function == "ilike_escape" else ""
    starred, text, characters = [], "", iter(pattern)  # where an unescaped % stands in the text
    for character in characters:
        if escape and character == escape:
            text += next(characters, "")
        elif character == "%":
            starred.append(len(text))
        elif character == "_":
            raise _too_much(sql)
        else:
            text += character
    if text and starred == [0, len(text)]:
        return Filter(name, "contains", text)
    if starred == [len(text)]:
        return Filter(name, "starts", text)
    raise _too_much(sql)


def _name(node: dict[str, Any], sql: str) -> str:
    if node["class"] != "COLUMN_REF" or len(node["column_names"]) != 1:
        raise _too_much(sql)
    return str(node["column_names"][0])


def _constant(node: dict[str, Any], sql: str) -> Any:
    if node["class"] == "CAST":
        inner = _constant(node["child"], sql)
        return float(inner) if node["type_expr"]["type_name"].upper() == "DOUBLE" else inner
    if node["class"] != "CONSTANT":
        raise _too_much(sql)
    kind, text = node["literal"]["kind"], node["literal"]["text"]
    match kind:
        case "STRING":
            return text
        case "INTEGER":
            return int(text)
        case "NUMERIC":
            return float(text)
        case "BOOLEAN":
            return text == "true"
    raise _too_much(sql)

"""The SQL console: one SELECT over the table `data`, in a process that can reach nothing else.

Four walls, each of which holds alone against most of what a hostile statement can try:

1. The statement is parsed, not run: it must be one SELECT whose tree names no table but `data` and its own WITH names,
   no table function but those that make numbers or open nested values, and no function that tells of this machine.
2. DuckDB is locked before the statement is seen: no file but the table's own, no network, no extensions, no
   temporary files, no change of settings, 512 MB, its own clock.
3. The process has an empty environment, an address space of 2 GB, and may not write a byte to any file.
4. The parent watches the clock and its owner's wish, and kills.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import duckdb

from backend.errors import BadInput
from backend.tables import child
from backend.tables.cells import safe
from backend.tables.table import ROW, Table, duckdb_errors, parquet, quoted

ROWS = 1_000
SECONDS = 10.0
COUNTING = 1.0  # seconds that counting the rows of a truncated answer may take
LENGTH = 20_000  # characters of a statement
ANSWER = 16 << 20  # characters of all cells of an answer
LIMITS = child.Limits(seconds=SECONDS, memory=2 << 30)
_PREPARED: list[duckdb.DuckDBPyConnection] = []  # in the child
RUNNING = threading.BoundedSemaphore(2)  # statements at once; the others wait their turn

MAKERS = {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row"}
TELLTALES = re.compile(
    r"current_setting|current_schemas?|current_database|current_catalog|current_user|current_role|current_query.*|"
    r"current_connection_id|current_transaction_id|user|session_user|txid_current|in_search_path|getvariable|getenv|"
    r"write_log|nextval|currval|setval|setseed|sleep_ms|pg_.*|has_.*|duckdb_.*|pragma_.*|parse_duckdb_log_message|"
    r"json_serialize_sql|json_deserialize_sql|json_serialize_plan|json_execute_serialized_sql|query|query_table|"
    r"read_.*|glob|sniff_.*|parquet_.*|which_secret|is_histogram_other_bin|index_key|stats|vector_type|version|"
    r"get_block_size|__internal.*|add_parquet_key|shobj_description|obj_description|col_description"
)
PARTS = {"EMPTY", "JOIN", "SUBQUERY", "EXPRESSION_LIST", "PIVOT", "BASE_TABLE", "TABLE_FUNCTION", "SHOW_REF"}


def run(
    table: Table,
    query: str,
    rows: int = ROWS,
    seconds: float = SECONDS,
    stop: threading.Event | None = None,
    count: bool = False,
) -> dict[str, Any]:
    """{columns: [{name, type}], rows: [[cell]], truncated, seconds}; `truncated` when there are more than `rows`.

    Asked to `count`, it also tells the `total` of a truncated answer, unless counting would take over a second.
    A row's number in the file is the column `_row` for a query that names it. Setting `stop` ends it. Raises BadInput
    for what may not be asked, NoRoom for too much memory, LabError `stopped.time` and `stopped.owner`.
    """
    request = asked(table, query, max(1, min(rows, 10 * ROWS)), seconds) | {"count": count}
    with RUNNING:
        answer: dict[str, Any] = child.run("backend.tables.sql", request, _limits(seconds), stop=stop)
    return answer


def check(query: str) -> None:
    """Raises BadInput unless `query` may be run; parses it in a process of its own."""
    child.run("backend.tables.sql", {"query": query, "check": True}, LIMITS)


def asked(table: Table, query: str, rows: int, seconds: float) -> dict[str, Any]:
    """What the child needs to know."""
    if table.remote:
        raise BadInput(f"{table.name} is on the Hub; SQL runs on what is here.", "Bring a part of it here first.")
    return {
        "query": query,
        "rows": rows,
        "seconds": seconds,
        "files": list(table.files),
        "counts": list(table.counts),
        "columns": [column.name for column in table.columns],
    }


def _limits(seconds: float) -> child.Limits:
    return child.Limits(seconds=seconds + 2, memory=LIMITS.memory)  # DuckDB's own clock speaks first


# -- the child's side -------------------------------------------------------------------------------------------


def answer(request: dict[str, Any], say: child.Say) -> dict[str, Any]:
    """Check, then run."""
    if "check" in request:
        allow(duckdb.connect(":memory:"), str(request["query"]))
        return {}
    began = time.perf_counter()
    most = int(request["rows"])
    with duckdb_errors():
        connection, found = relation(request)
        shown = _shown(found.limit(most + 1), most)
    if shown["truncated"] and request["count"]:
        shown |= _total(connection, found)
    return shown | {"seconds": round(time.perf_counter() - began, 4)}


def prepare() -> None:
    """A connection that has parsed once, for the statement to come."""
    connection = _connect()
    allow(connection, "SELECT 1")
    _PREPARED.append(connection)


def _connect() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"autoload_known_extensions": False, "temp_directory": ""})


def relation(request: dict[str, Any]) -> tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyRelation]:
    """The checked statement over the locked table, not yet run."""
    query = str(request["query"])
    connection = _PREPARED.pop() if _PREPARED else _connect()
    allow(connection, query)
    _lock(connection, request, query)
    found = connection.sql(query)
    if found is None:
        raise BadInput("The statement gives no rows.", "Write a SELECT.")
    return connection, found


def allow(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raises BadInput unless it is one SELECT that asks only what may be asked."""
    if len(query) > LENGTH:
        raise BadInput(f"The statement has {len(query):,} characters; at most {LENGTH:,} are read.", "Shorten it.")
    if "\0" in query:
        raise BadInput("The statement holds a NUL character.", "Remove it.")
    with duckdb_errors():
        statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise BadInput(f"There are {len(statements)} statements; one is run.", "Write one SELECT.", "sql.refused")
    kind = statements[0].type.name
    if kind != "SELECT":
        raise BadInput(f"{kind} is not allowed here; only SELECT is.", "Write a SELECT over data.", "sql.refused")
    with duckdb_errors():
        text = connection.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [query]).fetchall()[0][0]
    tree = json.loads(text)
    if tree.get("error"):
        raise BadInput(f"This can't be run here: {tree.get('error_message')}", "Write a SELECT.", "sql.refused")
    nodes = list(_nodes(tree))
    names = {entry["key"].lower() for node in nodes for entry in _withs(node)}
    for name in names:
        if not re.fullmatch(r"\w+", name):
            raise BadInput(f"The name {name[:40]!r} after WITH is not plain.", "Use letters and digits.", "sql.refused")
    for node in nodes:
        _check(node, names | {"data"})


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _withs(node: dict[str, Any]) -> list[dict[str, Any]]:
    found = node.get("cte_map")
    return list(found["map"]) if isinstance(found, dict) else []


def _check(node: dict[str, Any], tables: set[str]) -> None:
    kind = node.get("type")
    if "query_location" in node and "alias" in node and "sample" in node and kind not in PARTS:
        raise BadInput(f"{kind} is not allowed here.", "Write a SELECT over data.", "sql.refused")
    if kind == "BASE_TABLE":
        path = [str(part) for part in node["qualified_name"]["path"]]
        if len(path) != 1 or path[0].lower() not in tables:
            raise BadInput(f"There is no table {'.'.join(path)[:80]!r}.", "The one table here is data.", "sql.refused")
    elif kind == "TABLE_FUNCTION":
        function = str(node["function"].get("function_name", "")).lower()
        if function not in MAKERS:
            raise BadInput(f"{function[:40]}() is not allowed here.", "The one table here is data.", "sql.refused")
    elif kind == "SHOW_REF" and node.get("query") is None:
        raise BadInput("SHOW is not allowed here.", "The one table here is data; try DESCRIBE data.", "sql.refused")
    called = str(node.get("function_name") or "").lower()
    if TELLTALES.fullmatch(called):
        raise BadInput(f"{called[:40]}() is not allowed here.", "Use functions of the data's values.", "sql.refused")
    if kind == "TYPE" and re.match(r"reg\w+$", str(node.get("type_name", "")).lower()):
        raise BadInput(f"The type {node['type_name']} is not allowed here.", "Use another.", "sql.refused")


def _lock(connection: duckdb.DuckDBPyConnection, request: dict[str, Any], query: str) -> None:
    """Make `data`, then shut everything else out, for good."""
    names = ", ".join(quoted(name) for name in request["columns"])
    parts, base = [], 0
    for file, count in zip(request["files"], request["counts"], strict=True):
        number = f", file_row_number + {base} AS {ROW}" if re.search(rf"\b{ROW}\b", query) else ""
        parts.append(f"SELECT {names}{number} FROM {parquet(file)}")
        base += count
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET allowed_paths = [" + ", ".join("?" for _ in request["files"]) + "]", request["files"])
    connection.execute(f"CREATE VIEW data AS {' UNION ALL '.join(parts)}")
    for setting in (
        "memory_limit = '512MB'",
        f"max_execution_time = {int(float(request['seconds']) * 1000)}",
        "max_expression_depth = 250",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "allow_community_extensions = false",
        "allow_persistent_secrets = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _shown(relation: duckdb.DuckDBPyRelation, most: int) -> dict[str, Any]:
    columns = [{"name": n, "type": str(t)} for n, t in zip(relation.columns, relation.types, strict=True)]
    rows: list[list[Any]] = []
    size = 0
    for record in relation.fetchall():
        cells = [safe(cell) for cell in record]
        size += sum(map(_size, cells))
        if len(rows) == most or size > ANSWER:
            return {"columns": columns, "rows": rows, "truncated": True}
        rows.append(cells)
    return {"columns": columns, "rows": rows, "truncated": False}


def _total(connection: duckdb.DuckDBPyConnection, found: duckdb.DuckDBPyRelation) -> dict[str, int]:
    """{total} of its rows; DuckDB reads for it only the columns that conditions are about. {} when it takes long."""
    clock = threading.Timer(COUNTING, connection.interrupt)
    clock.start()
    try:
        return {"total": found.aggregate("count(*)").fetchall()[0][0]}
    except duckdb.Error:
        return {}
    finally:
        clock.cancel()


def _size(cell: Any) -> int:
    """About how many characters it has as JSON."""
    if isinstance(cell, str):
        return len(cell) + 4
    return 12 if cell is None or isinstance(cell, int | float) else len(json.dumps(cell, ensure_ascii=False))


if __name__ == "__main__":
    child.serve(answer, prepare)

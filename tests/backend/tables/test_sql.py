from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.errors import BadInput, LabError
from backend.tables import child, sql
from backend.tables.sources import Tables
from backend.tables.table import Table

# What a visitor may not do. `PATH` is the table's own file, `HOME` a folder beside it with a file of somebody else's.
REFUSED = """
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/etc/passwd')
SELECT * FROM read_json('/etc/passwd')
SELECT * FROM read_json_auto('HOME/other.json')
SELECT * FROM read_ndjson('HOME/other.json')
SELECT * FROM read_ndjson_objects('HOME/other.json')
SELECT * FROM read_json_objects('HOME/other.json')
SELECT * FROM read_parquet('HOME/other.parquet')
SELECT * FROM parquet_scan('HOME/other.parquet')
SELECT * FROM read_parquet('PATH')
SELECT * FROM read_duckdb('HOME/other.db')
SELECT * FROM read_single_csv_file('/etc/passwd')
SELECT * FROM '/etc/passwd'
SELECT * FROM 'HOME/other.parquet'
SELECT * FROM "HOME/other.parquet"
SELECT * FROM 'PATH'
SELECT * FROM 'https://example.com/x.parquet'
SELECT * FROM read_csv('http://169.254.169.254/latest/meta-data')
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM 'hf://datasets/a/b/x.parquet'
SELECT * FROM glob('/*')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM parquet_metadata('PATH')
SELECT * FROM parquet_schema('HOME/other.parquet')
SELECT * FROM parquet_kv_metadata('PATH')
SELECT * FROM parquet_file_metadata('PATH')
SELECT (SELECT count(*) FROM read_text('/etc/passwd'))
SELECT * FROM data WHERE text IN (SELECT content FROM read_text('/etc/passwd'))
SELECT * FROM data, LATERAL (SELECT * FROM read_text('/etc/passwd'))
WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x
WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM "/etc/passwd"
SELECT * FROM (SUMMARIZE 'HOME/other.parquet')
DESCRIBE SELECT * FROM glob('/*')
SUMMARIZE '/etc/passwd'
FROM query('SELECT 1')
FROM query_table('data')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT json_serialize_plan('SELECT * FROM read_text(''/etc/passwd'')')
SELECT current_setting('secret_directory')
SELECT getvariable('x')
SELECT getenv('HOME')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_views()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_logs
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_class
SELECT * FROM sqlite_master
SELECT * FROM pragma_table_info('data')
SELECT pg_get_viewdef('data')
SELECT write_log('x')
SELECT pg_sleep(10)
SELECT sleep_ms(10000)
SHOW TABLES
SHOW ALL TABLES
SHOW DATABASES
COPY data TO 'HOME/out.csv'
COPY data TO 'PATH'
COPY (SELECT 1) TO '/tmp/x.parquet'
COPY data FROM '/etc/passwd'
EXPORT DATABASE 'HOME/out'
IMPORT DATABASE 'HOME'
ATTACH 'HOME/other.db'
ATTACH ':memory:' AS other
DETACH memory
USE memory
INSTALL httpfs
INSTALL spatial FROM community
LOAD httpfs
LOAD 'HOME/evil.duckdb_extension'
SET memory_limit = '100GB'
SET GLOBAL enable_external_access = true
SET lock_configuration = false
RESET memory_limit
SET VARIABLE x = 1
PRAGMA database_list
PRAGMA enable_profiling
PRAGMA disable_optimizer
CREATE TABLE x AS SELECT 1
CREATE VIEW x AS SELECT 1
CREATE MACRO f(x) AS x
CREATE SECRET s (TYPE s3)
CREATE OR REPLACE VIEW data AS SELECT 1
CREATE FUNCTION f(x) AS TABLE SELECT * FROM read_text(x)
DROP VIEW data
ALTER VIEW data RENAME TO x
INSERT INTO data VALUES (1)
UPDATE data SET text = ''
DELETE FROM data
TRUNCATE data
BEGIN
COMMIT
CHECKPOINT
VACUUM
ANALYZE
CALL duckdb_settings()
PREPARE x AS SELECT 1
EXECUTE x
EXPLAIN ANALYZE SELECT 1
SELECT 1; SELECT 2
SELECT 1; COPY data TO 'HOME/out.csv'
SELECT 1 /* ; */ ; DROP VIEW data
PIVOT data ON text USING count(*)
WITH x AS MATERIALIZED (INSERT INTO data VALUES (1)) SELECT 1
SELECT * FROM main.data
SELECT * FROM nothing
SELECT nothing FROM data
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM pandas_scan(1)
SELECT 'pg_class'::regclass
SELEC 1
SELECT 'unclosed
SELECT ((((1)
""".strip().splitlines()

# What costs too much: ended by memory or by the clock.
BOMBS = """
SELECT count(*) FROM range(100000000000)
SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t
WITH RECURSIVE t AS (SELECT 'x' AS a UNION ALL SELECT a || a FROM t) SELECT max(length(a)) FROM t
SELECT list(range) FROM range(1000000000)
SELECT repeat('x', 2000000000) || repeat('y', 2000000000)
SELECT length(repeat(repeat('x', 100000), 100000))
SELECT list_sort(range(2000000000))
SELECT string_agg(repeat('x', 1000), ',') FROM range(100000000)
SELECT DISTINCT a.range, b.range FROM range(100000) a, range(100000) b
SELECT * FROM range(1000000000) ORDER BY hash(range) DESC OFFSET 900000000
SELECT regexp_replace(repeat('a', 100000000), '(a|aa)+', 'b', 'g')
SELECT array_agg(x) FROM (SELECT unnest(range(1000000)) AS x FROM range(1000000))
SELECT count(*) FROM data a, data b, data c, data d, data e, data f, data g, data h, data i, data j, data k, data l
SELECT list_reduce(range(100000000), (x, y) -> x + y)
SELECT format('{:>2000000000}', 'x')
SELECT lpad('x', 2000000000, 'y') || rpad('x', 2000000000, 'y')
""".strip().splitlines()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table's file and somebody else's."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "other.json").write_text('{"secret": 1}')
    pq.write_table(pa.table({"secret": [1]}), folder / "other.parquet")
    columns = {"text": [f"word {i}" for i in range(10)], "number": list(range(10))}
    pq.write_table(pa.table(columns), folder / "made.parquet", row_group_size=4)
    return folder


@pytest.fixture(scope="module")
def table(home: Path) -> Iterator[Table]:
    opened = Tables(home / "tables")
    yield opened.open(str(home / "made.parquet"), in_place=True)
    opened.close()


@pytest.mark.parametrize("statement", REFUSED)
def test_refuses(table: Table, home: Path, statement: str) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    query = statement.replace("HOME", str(home)).replace("PATH", table.files[0])
    with pytest.raises(BadInput) as caught:
        sql.run(table, query)
    assert "root:" not in str(caught.value)
    assert str(home) in query or str(home) not in str(caught.value)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("statement", BOMBS)
def test_ends_what_costs_too_much(table: Table, statement: str) -> None:
    began = time.monotonic()
    children = set(psutil.Process().children())
    code = "cheaper than it looks"
    try:
        answer = sql.run(table, statement, seconds=0.8)
    except LabError as error:
        answer, code = {}, error.code
    assert code in ("no_room.memory", "stopped.time", "sql.invalid", "cheaper than it looks")
    assert len(str(answer)) < 100_000
    assert time.monotonic() - began < 8
    waiting = {process for process in psutil.Process().children() if process not in children}
    assert len(waiting) <= 2  # the spares


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "SELECT * FROM read_text('{folder}/other.json')",
        "ATTACH '{folder}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_directories = ['/']",
        "SELECT * FROM 'https://example.com/x.parquet'",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
    ],
)
def test_the_lock_holds_without_the_parser(table: Table, home: Path, statement: str) -> None:
    """The second wall alone: DuckDB itself refuses."""
    connection = duckdb.connect(":memory:", config={"temp_directory": ""})
    request = {"files": list(table.files), "counts": list(table.counts), "columns": ["text"], "seconds": 5}
    sql._lock(connection, request, "")
    assert connection.execute("SELECT count(*) FROM data").fetchall() == [(10,)]
    before = Path(table.files[0]).read_bytes()
    with pytest.raises(duckdb.Error):
        connection.execute(statement.format(folder=home)).fetchall()
    assert Path(table.files[0]).read_bytes() == before
    connection.close()


def test_the_process_cannot_write(tmp_path: Path) -> None:
    """The third wall alone."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from backend.tables import child; "
        "child._confine(child.Limits()); open(sys.argv[1], 'wb', 0).write(b'x')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x"), str(child.ROOT)], capture_output=True)
    assert done.returncode != 0
    assert (tmp_path / "x").read_bytes() == b""


def test_the_process_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_server")
    process = child.start("backend.tables.sql")
    try:
        deadline = time.monotonic() + 10
        while not (found := Path(f"/proc/{process.pid}/environ").read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert b"PYTHONPATH" in found
        assert b"hf_secret" not in found
    finally:
        process.kill()
        process.stdin.close()  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]
        process.wait()


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT number FROM data WHERE text LIKE '%3'", [[3]]),
        ("FROM data SELECT count(*)", [[10]]),
        ("WITH big AS (SELECT * FROM data WHERE number > 7) SELECT sum(number) FROM big", [[17]]),
        ("SELECT number FROM data ORDER BY number DESC LIMIT 2;", [[9], [8]]),
        ("SELECT _row, number FROM data WHERE _row = 4", [[4, 4]]),
        ("SELECT a, a FROM (SELECT 1 AS a)", [[1, 1]]),
        ("SELECT unnest([1, 2])", [[1], [2]]),
        ("SELECT 'NaN'::DOUBLE, '-inf'::DOUBLE, 9007199254740993", [["NaN", "-Infinity", "9007199254740993"]]),
        ("SELECT 1.50::DECIMAL(4, 2)", [["1.50"]]),
        ("SELECT {'a': [1, NULL]}, DATE '2020-01-02', 'x'::BLOB", [[{"a": [1, None]}, "2020-01-02", {"bytes": 1}]]),
        ("SELECT count(*) FROM data a JOIN data b USING (number)", [[10]]),
        ("SELECT count(*) FROM (DESCRIBE data)", [[2]]),
        ("SELECT 'read_csv' -- SELECT * FROM read_csv('x')", [["read_csv"]]),
    ],
)
def test_answers(table: Table, query: str, rows: list[list[object]]) -> None:
    assert sql.run(table, query)["rows"] == rows


def test_an_answer_is_capped_and_says_so(table: Table) -> None:
    answer = sql.run(table, "SELECT * FROM range(5000)", rows=100)
    assert (len(answer["rows"]), answer["truncated"]) == (100, True)
    assert sql.run(table, "SELECT * FROM range(100)", rows=100)["truncated"] is False
    long = sql.run(table, "SELECT repeat('ü', 100000)")["rows"][0][0]
    assert (len(long["shortened"]), long["length"]) == (2000, 100_000)


def test_a_capped_answer_tells_how_many_rows_there_are_unless_that_takes_long(table: Table) -> None:
    answer = sql.run(table, "SELECT * FROM range(5000) -- all", rows=100, count=True)
    assert (len(answer["rows"]), answer["truncated"], answer["total"]) == (100, True, 5000)
    assert "total" not in sql.run(table, "SELECT * FROM range(100)", rows=100, count=True)
    began = time.monotonic()
    long = sql.run(
        table, "SELECT a.range FROM range(10000000) a, range(100000) b WHERE a.range % 7 = b.range % 7", 9, count=True
    )
    assert (len(long["rows"]), "total" in long, time.monotonic() - began < 8) == (9, False, True)


def test_its_owner_can_stop_it(table: Table) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(LabError) as caught:
        sql.run(table, "SELECT count(*) FROM range(100000000000)", stop=stop)
    assert (caught.value.code, time.monotonic() - began < 5) == ("stopped.owner", True)


def test_a_query_over_several_files(make: Callable[..., Table]) -> None:
    first, second = make(name="one", a=[1, 2]), make(name="two", a=[3])
    both = Table("both", first.files + second.files, (2, 1), first.columns, first.folder, first.database)
    assert sql.run(both, "SELECT _row, a FROM data ORDER BY a")["rows"] == [[0, 1], [1, 2], [2, 3]]


def test_there_are_enough_hostile_statements() -> None:
    assert len(REFUSED) + len(BOMBS) >= 60

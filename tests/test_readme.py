"""The README is true: its tree, its tables and its front matter are what is there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
FRONT = yaml.safe_load(TEXT.split("---\n")[1])
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "packages.txt")


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_column(title: str) -> list[str]:
    """What stands in backticks at the start of the table rows of a section."""
    return re.findall(r"^\| `([^`]+)` \|", section(title), re.MULTILINE)


def fence(title: str, language: str = "") -> str:
    return section(title).split(f"```{language}\n")[1].split("```")[0]


def drawn_tree() -> dict[str, str]:
    """Path → caption; folders end in a slash."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in fence("The tree").splitlines():
        name, _, caption = line.strip().partition(" ")
        above = above[: (len(line) - len(line.lstrip())) // 2]
        drawn["".join(above) + name] = caption.strip()
        above += [name]
    return drawn


def tracked() -> set[str]:
    """Files of the repository and their folders, which end in a slash."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    files = {Path(path) for path in listed if (ROOT / path).exists()}
    folders = {folder for path in files for folder in path.parents if folder != Path()}
    return {path.as_posix() for path in files} | {f"{folder.as_posix()}/" for folder in folders}


def sources() -> list[Path]:
    return [
        ROOT / path for path in sorted(tracked()) if path.startswith(("app", "backend", "ui")) and path.endswith(".py")
    ]


def test_the_tree_shows_every_source() -> None:
    code = {
        path
        for path in tracked()
        if path.startswith(("app.py", "backend/", "ui/"))
        and path.endswith((".py", "/"))
        and not re.match(r"backend/metrics/\w+/", path)  # told by METRICS
        and not re.match(r"backend/starter/pictures/pipeline/\w+/", path)  # weights
    }
    assert {path for path in code if not path.endswith("__init__.py")} - set(drawn_tree()) == set()


def test_the_tree_shows_nothing_else() -> None:
    assert [path for path in drawn_tree() if not (ROOT / path).exists()] == []


def test_the_tree_is_captioned() -> None:
    assert [path for path, caption in drawn_tree().items() if not caption] == []


def test_every_variable_that_is_read_is_told() -> None:
    """Those of settings.py, whatever the form, and any other look into the environment."""
    read = {
        node.value
        for node in ast.walk(ast.parse((ROOT / "backend/settings.py").read_text()))
        if isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z][A-Z0-9_]{3,}", str(node.value))
    }
    for path in sources():
        read |= set(re.findall(r"(?:environ\.get|getenv)\(\"(\w+)\"", path.read_text()))
        read |= set(re.findall(r"environ\[\"(\w+)\"\](?! =[^=])", path.read_text()))
    assert read - {"PYTHONPATH"} - set(first_column("Environment")) == set()


def test_every_variable_that_is_told_is_read() -> None:
    """Here, or by huggingface_hub."""
    hub = find_spec("huggingface_hub")
    assert hub is not None
    assert hub.origin is not None
    theirs = [Path(hub.origin).parent / name for name in ("constants.py", "utils/_auth.py")]
    words = {
        word for path in [*sources(), *theirs] for word in re.findall(r"[\"']([A-Z][A-Z0-9_]+)[\"']", path.read_text())
    }
    assert set(first_column("Environment")) - words == set()


def test_every_dependency_is_explained() -> None:
    lines = [line for name in REQUIREMENTS for line in (ROOT / name).read_text().splitlines()]
    packages = {re.split(r"[\[=<>~! ]", line)[0] for line in lines if line and not line.startswith("#")}
    assert packages == set(first_column("What it stands on"))


def test_the_front_matter_fits_the_repository() -> None:
    assert (FRONT["sdk"], FRONT["license"], FRONT["hf_oauth"]) == ("gradio", "apache-2.0", True)
    assert (ROOT / FRONT["app_file"]).is_file()
    assert f"gradio[oauth]=={FRONT['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert isinstance(FRONT["python_version"], str)  # unquoted, 3.10 would be 3.1
    assert len(FRONT["short_description"]) <= 60
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_starter_is_the_model_named() -> None:
    from backend.starter import MODEL_ID
    from backend.starter.model import NEEDED

    assert FRONT["models"] == [MODEL_ID]
    assert FRONT["preload_from_hub"] == [f"{MODEL_ID} {','.join(NEEDED)}"]  # the build has it, not the first visitor


def test_the_api_table_is_what_is_served(server: Callable) -> None:
    with urllib.request.urlopen(f"{server().url}/gradio_api/info", timeout=30) as answer:
        served = json.load(answer)["named_endpoints"]
    assert set(first_column("From a program")) == set(served)


@pytest.mark.long
def test_the_snippet_works(server: Callable) -> None:
    snippet = fence("From a program", "python").replace("http://127.0.0.1:7860", server().url)
    result = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    assert "Paris" in result.stdout
    assert result.stdout.split()[-1] in ("queued", "running")


def test_what_trains_what_is_what_the_code_says() -> None:
    from backend.recipes.__main__ import table

    assert table() in section("What trains what")


def test_every_command_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`|= )make ([a-z-]+)", TEXT, re.MULTILINE)) <= targets

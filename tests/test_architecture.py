"""The laws of the house, held by reading the code: who may import whom, where errors are caught, what mirrors what."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import errors

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([ROOT / "app.py", *ROOT.glob("backend/**/*.py"), *ROOT.glob("ui/**/*.py")])
HEAVY = {"accelerate", "bitsandbytes", "datasets", "diffusers", "evaluate", "peft", "torch", "transformers", "trl"}
SIBLINGS = ("ui.tabs", "backend.targets", "backend.metrics")
FOR_UI = (  # of the backend
    *("lab", "data", "jobs", "events", "errors", "catalog", "recipes", "metrics", "evaluations"),
    *("engines.text", "engines.tasks", "engines.image", "engines.picture"),
)
FOR_RECIPES = ("events", "errors", "starter", "settings", "metrics")  # of the backend, besides the neighbours
FOR_ENGINES = ("recipes.loading", "recipes.device", "recipes.params", "recipes.provider")  # of the recipes


def name(path: Path) -> str:
    """`backend/targets/__init__.py` → `backend.targets`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name(path): ast.parse(path.read_text(), str(path)) for path in SOURCES}


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def imports(module: str, top: bool = False) -> Iterator[str]:
    """Modules that `module` imports, for type checking alone left out; with `top`, not those inside functions."""
    waiting: list[ast.AST] = [MODULES[module]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)
        waiting += ast.iter_child_nodes(node)


def every_import(*packages: str, top: bool = False) -> Iterator[tuple[str, str]]:
    """(importer, imported) of all modules in `packages`."""
    return ((m, found) for m in MODULES if within(m, *packages) for found in imports(m, top))


def test_app_then_ui_then_backend_and_never_back() -> None:
    assert [pair for pair in every_import("backend") if within(pair[1], "ui", "app", "gradio")] == []
    assert [pair for pair in every_import("ui") if within(pair[1], "app")] == []


def test_only_zerogpu_s_worker_knows_spaces() -> None:
    assert {m for m, found in every_import("backend", "ui", "app") if within(found, "spaces")} <= {
        "backend.targets.gpu_worker"
    }


def test_ui_asks_only_the_lab() -> None:
    allowed = [f"backend.{part}" for part in FOR_UI]
    assert [p for p in every_import("ui") if within(p[1], "backend") and not within(p[1], *allowed)] == []
    assert [p for p in every_import("ui") if within(p[1], *HEAVY)] == []


@pytest.mark.parametrize("package", SIBLINGS)
def test_siblings_do_not_know_one_another(package: str) -> None:
    """The keeper is the local target's other half, the process that it starts; ZeroGPU has one, Jobs have two."""
    pairs = {(m, found) for m, found in every_import(package) if m != package and found.startswith(package + ".")}
    halves = (("keeper", "local"), ("courier", "hf_jobs"), ("courier", "freight"), ("courier", "parcel"))
    halves += (("parcel", "freight"), ("zerogpu", "gpu_worker"))
    assert pairs - {(f"backend.targets.{half}", f"backend.targets.{one}") for half, one in halves} == set()


def test_recipes_know_only_their_neighbours() -> None:
    allowed = ["backend.recipes", *(f"backend.{part}" for part in FOR_RECIPES)]
    tables = {(m, found) for m, found in every_import("backend.recipes") if within(found, "backend.tables")}
    openers = ("table", "quality", "generate", "image_data")
    assert {m for m, _ in tables} <= {f"backend.recipes.{name}" for name in openers}
    assert [
        p
        for p in sorted({*every_import("backend.recipes")} - tables)
        if within(p[1], "backend") and not within(p[1], *allowed)
    ] == []


def test_engines_take_little_from_the_recipes() -> None:
    allowed = ["backend.engines", *(f"backend.{part}" for part in (*FOR_RECIPES, *FOR_ENGINES))]
    assert [p for p in every_import("backend.engines") if within(p[1], "backend") and not within(p[1], *allowed)] == []


def test_recipes_and_engines_begin_light() -> None:
    """At the top of their files: the standard library, pydantic and our own."""
    light = {*sys.stdlib_module_names, "pydantic", "pydantic_core", "backend"}
    found = every_import("backend.recipes", "backend.engines", top=True)
    assert [pair for pair in found if pair[1].partition(".")[0] not in light] == []


def test_heavy_libraries_are_imported_inside_functions() -> None:
    found = every_import("app", "ui", "backend", top=True)
    assert [pair for pair in found if within(pair[1], *HEAVY) and not within(pair[0], "backend.metrics")] == []


def test_the_web_process_stays_light() -> None:
    """What the rules above add up to, asked of a real interpreter."""
    code = "import sys, app, backend.lab, ui.shell; print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code, *sorted(HEAVY)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr


def test_every_file_is_a_noun() -> None:
    assert {path for path in SOURCES if path.stem in ("utils", "util", "common", "manager", "helpers", "base")} == set()


def test_only_toasts_catches_in_ui() -> None:
    catching = {m for m in MODULES if within(m, "ui") for n in ast.walk(MODULES[m]) if isinstance(n, ast.ExceptHandler)}
    assert catching <= {"ui.toasts"}


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The docstring of errors.py shows each error below its parent, and no other file has any."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].splitlines():
        word = line.lstrip(" │├└─").partition(" ")[0]
        above = [pair for pair in above if pair[0] < line.index(word)]
        drawn[word] = above[-1][1] if above else "Exception"
        above.append((line.index(word), word))
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert drawn == {name: kind.__mro__[1].__name__ for name, kind in kinds.items()}
    for module, tree in MODULES.items():
        bases = {
            ast.unparse(b).rpartition(".")[2] for n in ast.walk(tree) if isinstance(n, ast.ClassDef) for b in n.bases
        }
        assert module == "backend.errors" or not bases & set(drawn), f"the errors of {module} belong in errors.py"


def test_every_test_mirrors_a_source() -> None:
    """tests/backend/test_store.py tests backend/store.py; a package's tests may be one file of its name."""
    for path in [*ROOT.glob("tests/backend/**/test_*.py"), *ROOT.glob("tests/ui/**/test_*.py")]:
        source = ROOT / path.relative_to(ROOT / "tests").with_name(path.stem.removeprefix("test_"))
        assert source.with_suffix(".py").exists() or source.is_dir(), f"{path} tests nothing that is there"

"""Metrics of the Hub by name, from a small server that stands for it, by the real `evaluate.load`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.errors import BadInput, HubError
from backend.recipes import hub_metric
from backend.recipes.questions import Question
from tests.backend.recipes.test_evaluate import asked, ran, tiny  # noqa: F401

METRIC = '''"""How alike."""
import datasets
import evaluate


class Alike(evaluate.Metric):
    def _info(self):
        kind = datasets.Value("KIND")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        same = [one == other for one, other in zip(predictions, references)]
        return {"alike": sum(same) / len(same), "first": float(same[0]), "words": ["no number"]}
'''


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    import evaluate

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def do_GET(self, body: bool = True) -> None:
            kind = {"alike": "string", "alike_numbers": "int32"}.get(self.path.rpartition("/")[2].removesuffix(".py"))
            data = METRIC.replace("KIND", kind or "").encode()
            self.send_response(200 if kind else 404)
            self.send_header("ETag", f'"{kind}"')
            self.send_header("Content-Length", str(len(data) if kind else 0))
            self.end_headers()
            if kind and body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}" + "/spaces/{path}/resolve/{revision}/{name}"
    monkeypatch.setattr(evaluate.config, "HUB_EVALUATE_URL", address)
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_CACHE", tmp_path / "cache")
    hub_metric.load.cache_clear()
    yield
    hub_metric.load.cache_clear()
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", ["hub:alike", "hub:alike_numbers"])
def test_its_figures_with_intervals(name: str) -> None:
    questions = [Question(n, "?", "yes" if n % 4 else "no") for n in range(40)]
    answered = [[{"answer": "yes"} for _ in questions], [{"error": "broke"}, *[{"answer": "no"}] * 39]]
    told = hub_metric.figures(name, questions, answered, 0, print)
    by = {(one["figure"], one["model"]): one for one in told}
    assert set(by) == {(f"{name} {figure}", model) for figure in ("alike", "first") for model in (0, 1)}
    one = by[f"{name} alike", 0]
    assert one["value"] == 0.75
    assert one["low"] < 0.75 < one["high"]
    assert (one["n"], by[f"{name} alike", 1]["n"]) == (40, 39)


@pytest.mark.usefixtures("hub")
def test_in_an_evaluation(capsys: Any, tmp_path: Path, tiny: str) -> None:  # noqa: F811
    events, told = ran(capsys, tmp_path / "run", models=[tiny], max_rows=4, metrics="hub:alike, exact_match")
    assert isinstance(events[-1], ev.Finished), events[-1]
    assert {"hub:alike alike", "exact_match"} <= {one["figure"] for one in told["figures"]}


@pytest.mark.usefixtures("hub")
def test_what_is_not_there_is_said_before_anything_is_asked(capsys: Any, tmp_path: Path, tiny: str) -> None:  # noqa: F811
    events, _ = ran(capsys, tmp_path / "run", models=[tiny], max_rows=4, metrics="hub:nonsense_of_ours")
    assert isinstance(events[-1], ev.Failed)
    assert events[-1].message == (
        "The metric hub:nonsense_of_ours can't be had: the Hub has none of that name, or does not answer."
    )
    assert not (tmp_path / "run" / "answers").exists()
    with pytest.raises(HubError, match="can't be had"):
        hub_metric.load("hub:nonsense_of_ours")


def test_whose_programs_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "a/b")
    with pytest.raises(BadInput, match="a shared server runs only those without an owner"):
        hub_metric.load("hub:someone/metric")
    assert asked(metrics="hub:someone/metric").metrics == ["hub:someone/metric"]
    with pytest.raises(BadInput, match="there is no metric 'hub:a b'"):
        asked(metrics="hub:a b")

"""Figures in a model's card and in `.eval_results`: what is written, what stays, who may, on a Hub of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend import eval_results
from backend.errors import BadInput, Gated, NotFound
from backend.lab import Lab
from tests import localhub
from tests.backend.test_evaluations import measured
from tests.localhub import ANN, READER, Hub, here
from tests.ui.scripted import lab as scripted

CARD = """---
license: apache-2.0
model-index:
- name: mine
  results:
  - task:
      type: text-generation
    dataset:
      name: other/set
      type: other/set
    metrics:
    - type: accuracy
      value: 12.5
---

# Mine

What I wrote.
"""


def told(dataset: str = "ann/questions") -> dict[str, Any]:
    about = {"metric": "exact_match", "figure": "exact_match", "title": "Exact match", "unit": "%", "higher": True}
    figure = about | {"model": 1, "value": 0.731, "low": 0.667, "high": 0.787, "n": 208}
    return {"dataset": dataset, "at": 86_400.0, "models": [{"name": "a"}, {"name": "b"}], "figures": [figure]}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    with localhub.serving() as found:
        here(monkeypatch, found.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield found


def test_a_card_keeps_what_others_measured() -> None:
    from huggingface_hub import ModelCard

    found = eval_results.files(told(), 1, "ann/mine", CARD)
    card: Any = ModelCard(found["README.md"])
    assert "What I wrote." in found["README.md"]
    assert card.data.license == "apache-2.0"
    assert [(one.dataset_name, one.metric_type, one.metric_value) for one in card.data.eval_results] == [
        ("other/set", "accuracy", 12.5),
        ("ann/questions", "exact_match", 73.1),
    ]
    part: Any = ModelCard(eval_results.files(told("ann/questions@v1:de/test"), 1, "ann/mine", "")["README.md"]).data
    one = part.eval_results[0]
    assert (one.dataset_type, one.dataset_config, one.dataset_split, one.dataset_revision) == (
        "ann/questions", "de", "test", "v1",
    )  # fmt: skip
    again = eval_results.files(told(), 1, "ann/mine", found["README.md"])
    assert again["README.md"] == found["README.md"]  # measured again, it is replaced
    import yaml

    (entry,) = yaml.safe_load(found[".eval_results/questions.yaml"])
    assert entry == {
        "dataset": {"id": "ann/questions", "task_id": "exact_match"},
        "value": 73.1,
        "date": "1970-01-02",
        "notes": "95% interval 66.7 to 78.7, n = 208",
    }


def test_a_sample_is_not_a_benchmark_of_the_hub() -> None:
    assert list(eval_results.files(told("sample/evaluation"), 1, "ann/mine", "")) == ["README.md"]
    with pytest.raises(BadInput, match="no figure of that model"):
        eval_results.files(told(), 0, "ann/mine", "")


def test_they_come_in_one_commit(hub: Hub) -> None:
    mine = hub.add("models", "ann/mine", {"README.md": CARD.encode()})
    before = len(mine.commits)
    assert eval_results.push(told(), 1, "ann/mine", ANN) == f"{hub.url}/ann/mine"
    assert len(mine.commits) == before + 1
    assert b"73.1" in mine.files["README.md"]
    assert b"66.7 to 78.7" in mine.files[".eval_results/questions.yaml"]
    empty = hub.add("models", "ann/empty", {"model.safetensors": b"0"})
    eval_results.push(told(), 1, "ann/empty", ANN)
    assert b"# empty" in empty.files["README.md"]


def test_who_may_not_is_told(hub: Hub) -> None:
    hub.add("models", "ann/mine", {"README.md": CARD.encode()})
    with pytest.raises(BadInput, match="nobody is signed in"):
        eval_results.push(told(), 1, "ann/mine", "")
    with pytest.raises(BadInput, match="The repository is"):
        eval_results.push(told(), 1, "mine", ANN)
    with pytest.raises(Gated):
        eval_results.push(told(), 1, "ann/mine", READER)
    with pytest.raises(NotFound):
        eval_results.push(told(), 1, "ann/nothing", ANN)


def test_of_an_evaluation(hub: Hub, home: Path) -> None:
    lab: Lab = scripted(ATELIER_HOME=str(home))
    hub.add("models", "ann/mine", {"README.md": CARD.encode()})
    run = measured(lab)
    assert lab.evaluations.push(run.id, "ann", 1, "ann/mine", ANN).endswith("/ann/mine")
    with pytest.raises(BadInput, match="model is 7"):
        lab.evaluations.push(run.id, "ann", 7, "ann/mine", ANN)

"""Every cell of the grid: each method trains each adapter for a few steps, and what it made loads and answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.recipes import METHODS, adapters, device, why_not
from backend.recipes.params import check

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
Train = Callable[..., list[ev.Event]]
STEPS = 3


def rows(folder: Path) -> Path:
    """Pairs of answers to prompts; everything that a method wants can be derived from them."""
    found = [
        {
            "prompt": [{"role": "user", "content": f"Say {i}"}],
            "chosen": [{"role": "assistant", "content": "ok"}],
            "rejected": [{"role": "assistant", "content": "not so"}],
        }
        for i in range(12)
    ]
    if not (folder / "pairs.jsonl").exists():
        (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, found)))
    (folder / "answers.jsonl").write_text(
        "\n".join(json.dumps({"prompt": row["prompt"], "completion": row["chosen"]}) for row in found)
    )
    return folder


@pytest.fixture
def train(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Train]:
    """`train(method, adapter, folder, **params)` runs in this process and gives what it said."""
    import torch

    monkeypatch.setattr(device, "cores", lambda: 1)  # threads that wait for one another are slow on a busy machine
    threads = torch.get_num_threads()
    data = rows(tmp_path)

    def run(method: str, adapter: str = "lora", folder: Path = tmp_path / "run", **more: Any) -> list[ev.Event]:
        values = {
            "model": str(tiny),
            "dataset": str(data / ("answers.jsonl" if method == "sft" else "pairs.jsonl")),
            "adapter": adapter,
            "max_steps": STEPS,
            "per_device_train_batch_size": 4,
            "max_length": 64,
            "num_virtual_tokens": 4,
            "eval_rows": 2,
            "sample_new_tokens": 4,
            "precision": "fp32",
            "learning_rate": 0.05,
            "warmup_steps": 0,
        } | more
        if method in ("grpo", "rloo"):
            values |= {"num_generations": 2, "max_completion_length": 8, "reward": "short:1"}
            values.pop("max_length")
        if method == "reward":
            values.pop("sample_new_tokens")
        folder.mkdir(exist_ok=True)
        import_module(METHODS[method].module).run(check(METHODS[method].params, values), folder)
        return [ev.parse(line) for line in capfd.readouterr().out.splitlines()]

    yield run
    torch.set_num_threads(threads)


def of(events: list[ev.Event], kind: type[ev.Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


FIGURES = {
    "sft": {"mean_token_accuracy"},
    "dpo": {"rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected"},
    "reward": {"accuracy", "margin", "mean_reward"},
    "kto": {"rewards/margins", "rewards/chosen", "rewards/rejected", "kl"},
    "grpo": {"reward", "reward_std", "entropy", "completions/mean_length"},
    "rloo": {"reward", "kl", "entropy"},
    "orpo": {"rewards/margins", "nll_loss", "log_odds_ratio"},
}


@pytest.mark.parametrize("adapter", adapters.ADAPTERS)
@pytest.mark.parametrize("method", FIGURES)
def test_every_cell_trains(method: str, adapter: str, train: Train, tiny: Path, tmp_path: Path) -> None:
    assert why_not(method, adapter) == ""
    said = train(method, adapter)
    logged = [event for event in of(said, ev.Measured) if "loss" in event.values]
    assert [event.step for event in logged] == list(range(1, STEPS + 1))
    assert {name for event in logged for name in event.values} >= FIGURES[method]
    assert any(event.values["grad_norm"] > 0 for event in logged)
    assert of(said, ev.Finished)
    made = "model" if adapter == "full" else "adapter"
    assert [event.file for event in of(said, ev.Produced) if event.kind == made] == [made]
    assert_it_loads(tmp_path / "run" / made, tiny, scores=method == "reward")


def assert_it_loads(folder: Path, base: Path, scores: bool) -> None:
    """What was made answers or scores with plain PEFT and transformers, unlike the base."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    kind, more = (AutoModelForSequenceClassification, {"num_labels": 1}) if scores else (AutoModelForCausalLM, {})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer("Say 1", return_tensors="pt")
    torch.manual_seed(0)
    plain = kind.from_pretrained(base, dtype=torch.float32, **more)
    before = plain(**text).logits
    if (folder / "adapter_config.json").exists():
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
        made = PeftModel.from_pretrained(plain, folder)
    else:
        made = kind.from_pretrained(folder, dtype=torch.float32)
    made.config.pad_token_id = tokenizer.pad_token_id
    after = made.eval()(**text).logits
    assert torch.isfinite(after).all()
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-4)
    if not scores:
        assert made.generate(**text, max_new_tokens=4).shape[1] > text["input_ids"].shape[1]

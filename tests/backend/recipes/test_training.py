"""Every cell of the grid: each method trains each adapter for a few steps, and what it made loads and answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.errors import BadInput
from backend.recipes import METHODS, adapters, device, script, why_not
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
            values |= {"num_generations": 2, "max_completion_length": 8, "reward": "short:1"} | more
            values.pop("max_length")
        if method == "reward":
            values.pop("sample_new_tokens")
        folder.mkdir(exist_ok=True)
        (folder / "params.json").write_text(json.dumps(values))
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


def some(cells: list[tuple[str, str]], always: set[tuple[str, str]]) -> list[Any]:
    """Of cells that take the same ways, those that are always tried; the others in the long tests."""
    return [pytest.param(*cell, marks=[] if cell in always else [pytest.mark.long]) for cell in cells]


EVERY = [("sft", adapter) for adapter in adapters.ADAPTERS]
CELLS = [(method, "lora") for method in FIGURES] + EVERY[1:]


@pytest.mark.parametrize(("method", "adapter"), some(CELLS, {*CELLS[:7], ("sft", "full"), ("sft", "p_tuning")}))
def test_the_script_trains_the_same(
    method: str, adapter: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain Hugging Face libraries, executed: every trained weight comes out as the run's."""
    # For a model as narrow as this one, bitsandbytes can't pack the weights as it does in an evaluation on a CPU.
    # Batches by length come in another order there, since the run's can be resumed in the middle.
    train(method, adapter, eval_rows=0 if adapter == "qlora" else 2, train_sampling_strategy="random")
    params = check(METHODS[method].params, json.loads((tmp_path / "run" / "params.json").read_text()))
    text = script.code(method, params)
    assert "backend" not in text
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "train.py", "exec"), {"__name__": "__main__"})
    made = tmp_path / "run" / ("model" if adapter == "full" else "adapter")
    assert_alike(weights(made), weights(tmp_path / "adapter"))


RESUMED = [("dpo", "lora"), ("rloo", "lora"), ("sft", "p_tuning"), ("dpo", "full")]
RESUMED += [("kto", "lora"), ("grpo", "lora"), ("reward", "ia3"), *(cell for cell in EVERY if cell[1] != "p_tuning")]


@pytest.mark.parametrize(("method", "adapter"), some(RESUMED, set(RESUMED[:4])))
def test_a_stopped_run_goes_on_exactly(method: str, adapter: str, train: Train, tmp_path: Path) -> None:
    """Same data, optimizer and random state: the curve and the weights are those of a run that was never stopped."""
    more = {"max_steps": 6, "save_steps": 3, "lora_dropout": 0.1, "learning_rate": 0.01}
    whole = curve(train(method, adapter, tmp_path / "whole", **more))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stop").write_text("save")
    first = train(method, adapter, **more)
    assert of(first, ev.Paused)[0].step == 1
    (tmp_path / "run" / "stop").unlink()
    second = train(method, adapter, **more)
    assert of(second, ev.Started)[0].step == 1
    assert list(whole) == list(range(1, 7))
    for name in ("loss", "reward", "rewards/chosen", "kl"):
        gone_on = {step: row[name] for step, row in (curve(first) | curve(second)).items() if name in row}
        wanted = {step: row[name] for step, row in whole.items() if name in row}
        assert gone_on == pytest.approx(wanted, rel=1e-4, abs=1e-6), name
    made = "model" if adapter == "full" else "adapter"
    assert_the_same(weights(tmp_path / "whole" / made), weights(tmp_path / "run" / made))


KINDS = ("lora", "prefix_tuning", "full")
NEXT = [(method, adapter) for method in ("dpo", "kto", "reward", "rloo", "orpo") for adapter in KINDS]


@pytest.mark.parametrize(
    ("method", "adapter"), some(NEXT, {("dpo", "lora"), ("reward", "lora"), ("dpo", "prefix_tuning"), ("dpo", "full")})
)
def test_what_one_run_learned_feeds_the_next(method: str, adapter: str, train: Train, tmp_path: Path) -> None:
    """SFT's adapter is trained on: the first loss is measured with it, and it is the reference."""
    before = "lora" if adapter == "full" else adapter
    train("sft", before, tmp_path / "first", learning_rate=0.3)
    said = train(method, adapter, start_from=str(tmp_path / "first" / "adapter"), learning_rate=1e-3)
    logged = curve(said)
    assert of(said, ev.Finished)
    if method == "dpo":
        assert logged[1]["loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert logged[1]["rewards/chosen"] == pytest.approx(0, abs=1e-4)
    if method == "orpo":  # it has no reference, and begins lower
        assert (
            logged[1]["loss"] < curve(train(method, adapter, tmp_path / "anew", learning_rate=1e-3))[1]["loss"] - 0.02
        )
    made = weights(tmp_path / "run" / ("model" if adapter == "full" else "adapter"))
    assert not any(".ref." in name for name in made)
    assert not (tmp_path / "run" / "adapter" / "ref").exists()
    if adapter != "full":
        learned = weights(tmp_path / "first" / "adapter")
        for name in learned:
            assert made[name].shape == learned[name].shape
            assert (made[name] - learned[name]).abs().mean() < 0.05 * (learned[name].abs().mean() + 0.1), name


@pytest.mark.parametrize("more", [{"init_lora_weights": "pissa"}, {"use_dora": True}, {"use_rslora": True}])
def test_kinds_of_lora(more: dict[str, Any], train: Train, tiny: Path, tmp_path: Path) -> None:
    """Saved, each is an adapter on the unchanged base; PiSSA's samples know the base though it was changed."""
    plain = train("sft", folder=tmp_path / "plain")
    said = train("sft", **more)
    assert curve(said)[STEPS]["loss"] < curve(said)[1]["loss"]
    assert_it_loads(tmp_path / "run" / "adapter", tiny, scores=False)
    assert bases(said) == bases(plain) != []
    loss = [event.values["eval_loss"] for event in of(said, ev.Measured) if "eval_loss" in event.values][-1]
    assert measured(tmp_path / "run" / "adapter", tiny) == pytest.approx(loss, rel=0.02)


def bases(said: list[ev.Event]) -> list[str]:
    """What the base answered."""
    return [row["base"] for event in of(said, ev.Produced) if event.kind == "samples" for row in event.data["rows"]]


def measured(adapter: Path, base: Path) -> float:
    """The loss on the two rows that were held out, with plain PEFT."""
    import torch
    from datasets import load_dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()
    rows = load_dataset("json", data_files=str(adapter.parent.parent / "answers.jsonl"), split="train")
    total, many = 0.0, 0
    for row in rows.train_test_split(test_size=2, seed=0)["test"]:
        prompt = tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        ids = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=True, return_dict=False)
        scores = model(input_ids=torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(scores, torch.tensor(ids[len(prompt) :]), reduction="sum"))
        many += len(ids) - len(prompt)
    return total / many


def test_a_dry_run_measures_and_keeps_nothing(train: Train, tmp_path: Path) -> None:
    said = train("dpo", dry_run=True, max_steps=None)
    values = of(said, ev.Finished)[0].values
    assert values["steps"] == 3
    assert values["memory_gb"] > 0.1
    assert values["seconds_per_step"] > 0
    assert of(said, ev.Produced) == []
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["params.json"]


def test_a_reward_run_teaches_another(train: Train, tmp_path: Path) -> None:
    train("reward", folder=tmp_path / "judge")
    said = train("rloo", reward=str(tmp_path / "judge" / "adapter"))
    assert all(math.isfinite(row["reward"]) for row in curve(said).values())
    with pytest.raises(BadInput, match="which scores and can't write"):
        train("sft", folder=tmp_path / "third", start_from=str(tmp_path / "judge" / "adapter"))


def curve(said: list[ev.Event]) -> dict[int, dict[str, float]]:
    """Figures by step."""
    return {event.step: event.values for event in of(said, ev.Measured) if "loss" in event.values}


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def assert_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert (one[name].float() - other[name].float()).abs().max() < 1e-4, name


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """But for last digits: Adam makes a whole step of the smallest gradients, too, and few of those differ."""
    assert one.keys() == other.keys()
    for name in one:
        assert (one[name].float() - other[name].float()).norm() <= 0.01 * other[name].float().norm(), name


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

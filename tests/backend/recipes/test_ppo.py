"""The PPO recipe as the app runs it, with each adapter, and what it refuses before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend import jobs
from backend.errors import BadInput
from backend.recipes import device, ppo, reward, rewards
from backend.recipes.params import check

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
ADAPTERS = ("lora", "qlora", "prefix_tuning", "p_tuning", "prompt_tuning", "ia3", "full")


@pytest.fixture
def ask(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Params of a quick run."""
    monkeypatch.setattr(device, "cores", lambda: 1)  # threads that wait for one another are slow on a busy machine
    rows = [{"prompt": [{"role": "user", "content": f"Say {i}"}], "reference": "ok"} for i in range(12)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "model": str(tiny),
        "dataset": str(tmp_path / "prompts.jsonl"),
        "reward": "short:1",
        "max_steps": 3,
        "save_steps": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_completion_length": 6,
        "max_length": 64,
        "num_virtual_tokens": 4,
        "eval_rows": 2,
        "sample_new_tokens": 4,
        "precision": "fp32",
        "learning_rate": 0.01,
        "warmup_steps": 0,
    }


def run(values: dict[str, Any], folder: Path, capfd: pytest.CaptureFixture[str]) -> list[ev.Event]:
    folder.mkdir(exist_ok=True)
    ppo.run(check(ppo.PpoParams, values), folder)
    return [ev.parse(line) for line in capfd.readouterr().out.splitlines()]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_adapter_trains_and_is_saved(
    ask: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], adapter: str
) -> None:
    events = run(ask | {"adapter": adapter}, tmp_path / "run", capfd)
    status = jobs.fold(events)
    assert status.state(alive=False, waiting=False) == "finished"
    assert status.metrics.keys() >= {
        *("score", "reward", "kl", "entropy", "policy_loss", "value_loss", "clip_fraction", "explained_variance"),
        *("eval_score", "completion_length", "grad_norm", "learning_rate", "rows_per_second", "tokens_per_second"),
    }
    measured = {e.step: e.values for e in events if isinstance(e, ev.Measured) and "kl" in e.values}
    assert (abs(measured[1]["kl"]) < 1e-5) == (adapter not in ("prefix_tuning", "p_tuning", "prompt_tuning"))
    assert measured[1]["loss"] != measured[3]["loss"]
    made = "model" if adapter == "full" else "adapter"
    assert {one["kind"] for one in status.artifacts} == {"checkpoint", made}
    shown = [e for e in events if isinstance(e, ev.Produced) and e.kind == "samples"]
    assert [e.step for e in shown] == [2, 3]
    assert [e for e in events if isinstance(e, ev.Wrote)] == []
    weights = "model.safetensors" if adapter == "full" else "adapter_model.safetensors"
    assert (tmp_path / "run" / made / weights).stat().st_size > 0


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_stopped_run_goes_on_exactly(
    ask: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], adapter: str
) -> None:
    whole = run(ask | {"adapter": adapter}, tmp_path / "whole", capfd)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "stop").write_text("save")
    first = run(ask | {"adapter": adapter}, folder, capfd)
    assert isinstance(first[-1], ev.Paused)
    (folder / "stop").unlink()
    second = run(ask | {"adapter": adapter}, folder, capfd)
    assert isinstance(second[-1], ev.Finished)
    once, twice = (
        {e.step: e.values["loss"] for e in events if isinstance(e, ev.Measured) and "loss" in e.values}
        for events in (whole, first + second)
    )
    assert twice == pytest.approx(once, rel=1e-4, abs=1e-6)


def test_an_earlier_adapter_is_the_base_that_it_may_not_leave(
    ask: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(ask | {"learning_rate": 0.1}, tmp_path / "first", capfd)
    second = run(ask | {"start_from": str(tmp_path / "first" / "adapter")}, tmp_path / "second", capfd)
    measured = [e.values for e in second if isinstance(e, ev.Measured) and "kl" in e.values]
    assert measured[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert measured[-1]["kl"] != 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"reward": "exakt"}, "no such reward"),
        ({"max_completion_length": 64}, "no room for a prompt"),
        ({"num_mini_batches": 5}, "a step has 4 answers"),
        ({"cliprange": 1}, "cliprange is 1; use less than 1"),
        ({"kl_target": 0}, "kl_target is 0; use more than 0"),
    ],
)
def test_what_is_wrong_is_told_before_it_starts(ask: dict[str, Any], wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ppo.preflight(check(ppo.PpoParams, ask | wrong))


def test_prompts_alone_have_no_reference(ask: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {i}"} for i in range(12)]
    (tmp_path / "bare.jsonl").write_text("\n".join(map(json.dumps, rows)))
    bare = ask | {"dataset": str(tmp_path / "bare.jsonl")}
    ppo.preflight(check(ppo.PpoParams, bare))
    with pytest.raises(BadInput, match="the data hold none"):
        ppo.preflight(check(ppo.PpoParams, bare | {"reward": "exact"}))
    ppo.preflight(check(ppo.PpoParams, ask | {"reward": "exact"}))


def test_a_reward_run_is_learned_from(ask: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Reward → PPO: what the one makes is what the other asks."""
    judged = rewarded({"model": ask["model"], "max_length": 64, "precision": "fp32"}, tmp_path, steps=3)
    events = run(ask | {"reward": str(judged)}, tmp_path / "run", capfd)
    scores = [e.values["score"] for e in events if isinstance(e, ev.Measured) and "score" in e.values]
    answers = ["ok", "not so"]
    prompts = [[{"role": "user", "content": "Say 1"}]] * 2
    assert len(scores) == 3
    assert len(set(rewards.RewardModel(str(judged))(prompts, answers, ["", ""]))) == 2
    assert isinstance(events[-1], ev.Finished)


@pytest.mark.long
def test_reward_then_ppo_on_the_starter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The sample preferences teach a judge that prefers bare answers, and PPO a few steps towards them."""
    judged = rewarded({"dataset": "sample/preferences", "max_rows": 120}, tmp_path, steps=12)
    prompts = [[{"role": "user", "content": "Where does Ann live? Ann lives in Leeds."}]] * 2
    bare, dressed = rewards.RewardModel(str(judged))(prompts, ["Leeds", "**Leeds**. I hope this helps!"], ["", ""])
    assert bare > dressed
    values = {"dataset": "sample/preferences", "reward": str(judged), "max_steps": 3, "max_completion_length": 12}
    values |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "eval_rows": 4, "num_ppo_epochs": 2}
    status = jobs.fold(run(values, tmp_path / "run", capfd))
    assert status.state(alive=False, waiting=False) == "finished"
    assert status.step == 3
    assert abs(status.metrics["kl"]) < 20


def rewarded(values: dict[str, Any], folder: Path, steps: int) -> Path:
    """The folder of a reward model that was trained for a few steps."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Say {i}"}],
            "chosen": [{"role": "assistant", "content": "ok"}],
            "rejected": [{"role": "assistant", "content": "not so"}],
        }
        for i in range(12)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = {"dataset": str(folder / "pairs.jsonl"), "max_steps": steps, "eval_rows": 2}
    (folder / "judge").mkdir()
    reward.run(check(reward.Params, more | values), folder / "judge")
    return folder / "judge" / "adapter"


def test_a_dry_run_tells_its_peak_and_leaves_nothing(
    ask: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    events = run(ask | {"dry_run": True, "max_steps": 50}, tmp_path / "run", capfd)
    assert isinstance(events[-1], ev.Finished)
    assert not (tmp_path / "run" / "adapter").exists()
    assert jobs.fold(events).step <= 3

"""Real runs of a tiny model, each in a process of its own as the app runs them. Runs are shared between tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend import jobs
from backend.errors import BadData, BadInput
from backend.recipes import METHODS, adapters, training
from backend.recipes.params import check
from backend.recipes.sft import SftParams, can_mask, preflight
from tests.tiny import tiny_model

STEPS = 12
WORDS = ("a", "bb", "ccc", "dd", "e")


@dataclass
class Done:
    """What a process said, and how it ended."""

    folder: Path
    events: list[ev.Event]
    code: int

    def of(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self) -> dict[int, float]:
        """Training loss by step."""
        return {event.step: event.values["loss"] for event in self.of(ev.Measured) if "loss" in event.values}


def chats(folder: Path, name: str = "chats.jsonl") -> Path:
    """40 rows in which every answer is "ok"."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Say {WORDS[i % 5]} {i}"}],
            "completion": [{"role": "assistant", "content": "ok"}],
            "topic": "none",
        }
        for i in range(40)
    ]
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    return folder / name


def ask(model: Path, dataset: Path, **more: Any) -> dict[str, Any]:
    """Params of a quick run; with dropout, so that the random state matters."""
    return {
        "model": str(model),
        "dataset": str(dataset),
        "max_steps": STEPS,
        "save_steps": 4,
        "learning_rate": 0.02,
        "lora_dropout": 0.1,
        "eval_rows": 4,
        "sample_prompts": 2,
        "sample_new_tokens": 8,
        "precision": "fp32",
        "train_sampling_strategy": "random",  # as in the script; by length the order is our own, which can be resumed
    } | more


def train(
    folder: Path,
    params: dict[str, Any] | None = None,
    until: Callable[[ev.Event, subprocess.Popen[str]], None] | None = None,
    **env: str,
) -> Done:
    """Run the recipe in `folder`; `until` sees each event as it comes."""
    if params is not None:
        (folder / "params.json").write_text(json.dumps(params))
    events = []
    with subprocess.Popen(
        [sys.executable, "-m", "backend.recipes.sft", str(folder / "params.json")],
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            events.append(ev.parse(line))
            if until:
                until(events[-1], child)
    return Done(folder, events, child.returncode)


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """Three times the same run, two at a time: each process is mostly busy with importing, on one core."""
    places = [tmp_path_factory.mktemp(name) for name in ("whole", "stopped", "killed")]
    params = ask(tiny, chats(places[0]))
    with ThreadPoolExecutor(2) as pool:
        ways = zip((train, stop, kill), places, strict=True)
        yield {way.__name__: pool.submit(way, place, params) for way, place in ways}


def stop(folder: Path, params: dict[str, Any]) -> tuple[Done, Done]:
    """Stopped at step 6 and then gone on with."""

    def until(event: ev.Event, _: subprocess.Popen[str]) -> None:
        if isinstance(event, ev.Produced) and event.step == 4 and event.kind == "checkpoint":
            (folder / "stop").write_text("save")

    first = train(folder, params, until)
    shutil.copytree(folder / "adapter", folder / "adapter-then")
    (folder / "stop").unlink()
    return first, train(folder)


def kill(folder: Path, params: dict[str, Any]) -> tuple[Done, Done]:
    """Killed while it writes the checkpoint of step 8 and then gone on with."""

    def until(event: ev.Event, child: subprocess.Popen[str]) -> None:
        if isinstance(event, ev.Measured) and event.step == 8 and "eval_loss" in event.values:
            child.send_signal(signal.SIGKILL)

    first = train(folder, params, until)
    shutil.rmtree(folder / "checkpoints" / "checkpoint-8", ignore_errors=True)  # were the disk quicker than the signal
    half = folder / "checkpoints" / "checkpoint-8"
    half.mkdir()
    shutil.copy(folder / "checkpoints" / "checkpoint-4" / "trainer_state.json", half)
    return first, train(folder)


@pytest.fixture(scope="module")
def whole(runs: dict[str, Future[Any]]) -> Done:
    """A run from start to end."""
    done: Done = runs["train"].result()
    return done


@pytest.fixture(scope="module")
def stopped(runs: dict[str, Future[Any]]) -> tuple[Done, Done]:
    both: tuple[Done, Done] = runs["stop"].result()
    return both


@pytest.fixture(scope="module")
def killed(runs: dict[str, Future[Any]]) -> tuple[Done, Done]:
    both: tuple[Done, Done] = runs["kill"].result()
    return both


def test_the_loss_falls(whole: Done) -> None:
    assert whole.code == 0
    assert list(whole.losses) == list(range(1, STEPS + 1))
    assert whole.losses[STEPS] < whole.losses[1] - 0.3


def test_it_says_at_once_that_it_lives(whole: Done) -> None:
    first = whole.events[0]
    assert isinstance(first, ev.Logged)
    assert first.text.startswith("Loading")
    assert whole.of(ev.Started)[0].info.keys() >= {"device", "precision", "threads", "model", "dataset", "adapter"}
    assert whole.of(ev.Started)[0].step == 0


def test_its_events_fold_to_a_finished_run(whole: Done) -> None:
    status = jobs.fold(whole.events)
    assert status.state(alive=False, waiting=False) == "finished"
    assert (status.step, status.done, status.total) == (STEPS, STEPS, STEPS)
    assert status.metrics.keys() >= {
        *("loss", "learning_rate", "grad_norm", "eval_loss", "train_loss", "steps", "seconds"),
        *("tokens_per_second", "rows_per_second", "memory_gb", "mean_token_accuracy"),
    }
    assert {(one["kind"], one["file"]) for one in status.artifacts} == {
        ("checkpoint", "checkpoints"),
        ("adapter", "adapter"),
    }
    assert whole.events[-1].ends


def test_nothing_but_events_is_printed(whole: Done) -> None:
    """No progress bars, no warnings: each would be a line in a person's log."""
    assert [event.text for event in whole.of(ev.Wrote)] == []


def test_samples_show_it_learning(whole: Done) -> None:
    told = [event for event in whole.of(ev.Produced) if event.kind == "samples"]
    assert [event.step for event in told] == [4, 8, 12]
    assert {row["reference"] for row in told[0].data["rows"]} == {"ok"}
    assert [row["answer"] for row in told[-1].data["rows"]] == ["ok", "ok"]
    assert all(row["base"] != "ok" for row in told[-1].data["rows"])


def test_the_two_newest_checkpoints_are_kept(whole: Done) -> None:
    kept = sorted(path.name for path in (whole.folder / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-8"]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
def test_the_adapter_loads_and_answers(whole: Done, tiny: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(whole.folder / "adapter")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), whole.folder / "adapter")
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say bb 41"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**chat, max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(said[0, chat["input_ids"].shape[1] :], skip_special_tokens=True).strip() == "ok"


def test_stop_and_save(stopped: tuple[Done, Done]) -> None:
    first, _ = stopped
    paused = first.of(ev.Paused)[0]
    assert first.code == 0
    assert first.events[-1] is paused
    assert 4 < paused.step < STEPS
    assert paused.reason == "stopped and saved"
    assert (first.folder / "adapter-then" / "adapter_model.safetensors").exists()


def test_a_stopped_run_goes_on_exactly(whole: Done, stopped: tuple[Done, Done]) -> None:
    first, second = stopped
    step = first.of(ev.Paused)[0].step
    assert second.of(ev.Started)[0].step == step
    assert list(second.losses) == list(range(step + 1, STEPS + 1))
    assert first.losses | second.losses == pytest.approx(whole.losses, rel=1e-5)
    assert second.of(ev.Finished)[0].values["train_loss"] == pytest.approx(
        whole.of(ev.Finished)[0].values["train_loss"], rel=1e-5
    )


def test_a_killed_run_goes_on_from_the_newest_whole_checkpoint(whole: Done, killed: tuple[Done, Done]) -> None:
    first, second = killed
    assert first.code == -signal.SIGKILL
    assert not any(event.ends for event in first.events)
    assert second.of(ev.Started)[0].step == 4
    assert first.losses | second.losses == pytest.approx(whole.losses, rel=1e-5)
    assert same_adapters(whole.folder / "adapter", second.folder / "adapter")


def same_adapters(one: Path, other: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(
        torch.allclose(first[name], second[name], rtol=1e-3, atol=1e-5) for name in first
    )


def test_a_finished_run_says_so(whole: Done) -> None:
    again = train(whole.folder)
    assert again.code == 0
    assert [type(event) for event in again.events] == [ev.Started, ev.Logged, ev.Finished]
    assert "had finished already, at step 12" in again.of(ev.Logged)[0].text
    assert again.of(ev.Finished)[0].values == whole.of(ev.Finished)[0].values


def test_the_script_trains_the_same(whole: Done, tmp_path: Path) -> None:
    from backend.recipes.script import code

    params = check(SftParams, json.loads((whole.folder / "params.json").read_text()))
    (tmp_path / "train.py").write_text(code("sft", params))
    child = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert same_adapters(whole.folder / "adapter", tmp_path / "adapter")


def test_too_little_memory_is_told(tiny: Path, tmp_path: Path) -> None:
    done = train(tmp_path, ask(tiny, chats(tmp_path)), ATELIER_MEMORY_LIMIT="0.9")
    assert done.code == 1
    failed = done.of(ev.Failed)[0]
    assert failed.code == "no_room.memory"
    assert "its limit is 0.9 GB" in failed.message


def test_a_wrong_row_is_told_before_anything_is_loaded(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    done = train(tmp_path, ask(tiny, tmp_path / "d.jsonl"))
    assert done.code == 1
    assert [type(event) for event in done.events] == [ev.Failed]
    assert done.of(ev.Failed)[0].message == "Row 2 of d.jsonl: text is 3; it must be text."


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
def test_wrong_layers_are_told(tiny: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    params = SftParams(target_modules="query")
    with pytest.raises(ValueError, match="query") as caught:
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), adapters.config("lora", params))
    told = training.wrong_layers(caught.value, params)
    assert told is not None
    assert told.message.startswith("target_modules is 'query'")
    assert training.wrong_layers(ValueError("another"), params) is None


def test_preflight(tiny: Path, tmp_path: Path) -> None:
    good = check(SftParams, ask(tiny, chats(tmp_path)))
    preflight(good)
    METHODS["sft"].preflight(good)
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(BadData):
        preflight(check(SftParams, ask(tiny, tmp_path / "d.jsonl")))
    base = tiny_model(tmp_path / "base", chat=False)
    with pytest.raises(BadInput, match="has no chat template") as caught:
        preflight(check(SftParams, ask(base, chats(tmp_path))))
    assert "instruct model" in caught.value.hint
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    preflight(check(SftParams, ask(base, tmp_path / "d.jsonl")))


def test_who_speaks_is_known_from_some_templates(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert not can_mask(tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    assert can_mask(tokenizer)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
def test_the_quicker_loss_is_trls_loss(tiny: Path, tmp_path: Path) -> None:
    """Loss, gradient, accuracy and token count of a batch with prompts, completions and padding."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from backend.recipes.sft import trainer_class

    rows = Dataset.from_list([{"prompt": "a" * n, "completion": "b" * (9 - n)} for n in (1, 4, 7)])
    seen = []
    for kind in (SFTTrainer, trainer_class()):
        trainer = kind(
            model=AutoModelForCausalLM.from_pretrained(tiny),
            args=SFTConfig(str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none"),
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(tiny),
            peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=7)
        loss.backward()
        gradient = {name: p.grad.norm().item() for name, p in trainer.model.named_parameters() if p.requires_grad}
        metrics = trainer._metrics["train"]
        seen.append((loss.item(), gradient, metrics["mean_token_accuracy"], metrics["num_tokens"]))
    (loss, gradient, accuracy, tokens), ours = seen
    assert ours[0] == pytest.approx(loss, rel=1e-5)
    assert ours[1] == pytest.approx(gradient, rel=1e-3, abs=1e-7)
    assert (ours[2], ours[3]) == (pytest.approx(accuracy), tokens)

"""Runs on Hugging Face Jobs, played by real processes of the very command that is sent to the local Hub."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend import events as ev
from backend.errors import BadInput, LabError
from backend.jobs import Job, Run, fold
from backend.targets.hf_jobs import HfJobs, courier_lives, hardware_of, told, wanted
from tests import localhub
from tests.localhub import ANN, BOB, Hub, here
from tests.localjobs import Jobs

WHO, TARGET = "user-ann", "hf_jobs:cpu-basic:600"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with localhub.serving() as found:
        yield found


@pytest.fixture
def jobs(hub: Hub, tmp_path: Path) -> Jobs:
    return Jobs(hub, tmp_path / "there")


@pytest.fixture
def target(hub: Hub, jobs: Jobs, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfJobs]:
    here(monkeypatch, hub.url)
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    one = HfJobs(home, env, "tests.backend.targets.recipes")
    one.token = {WHO: ANN, "user-bob": BOB}.get  # type: ignore[assignment]
    yield one
    for run in one.store.runs(WHO):
        if courier_lives(run):
            end(run, signal.SIGKILL)


def end(run: Run, how: int) -> None:
    """Take the run's courier away, and wait until it is gone."""
    process = psutil.Process(json.loads((run.folder / "courier.json").read_text())["pid"])
    process.send_signal(how)
    psutil.wait_procs([process], timeout=10)
    wait(lambda: not courier_lives(run))


def wait(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def launch(target: HfJobs, where: str = TARGET, recipe: str = "count", **params: Any) -> Run:
    job = Job(recipe, ({"steps": 5} if recipe == "count" else {}) | params, where, WHO)
    run = target.store.add(job, job.params)
    target.start(run)
    return run


def events(run: Run) -> list[ev.Event]:
    return ev.read(run.log)[0]


def state(target: HfJobs, run: Run) -> str:
    living = target.alive(run)
    return str(fold(events(run)).state(alive=living, waiting=False, stop=run.stop))


def ended(target: HfJobs, run: Run) -> str:
    def over() -> bool:
        target.tend()
        return not target.alive(run)

    wait(over)
    return state(target, run)


def losses(run: Run) -> list[int]:
    return [one.step for one in events(run) if isinstance(one, ev.Measured) and "loss" in one.values]


def test_hardware_with_prices_and_the_most_it_can_cost(target: HfJobs) -> None:
    hardware = {one["flavor"]: one for one in target.hardware(WHO)}
    assert list(hardware) == ["cpu-basic", "t4-small", "l4x4"]
    assert (hardware["l4x4"]["gpus"], hardware["l4x4"]["memory"]) == (4, 96_000_000_000)
    cost = target.cost(WHO, "hf_jobs:t4-small:5400")
    assert (cost["price"], cost["dollars"]) == (pytest.approx(0.40002), pytest.approx(0.60003))
    assert wanted("hf_jobs:t4-small:5400") == ("t4-small", 5400, 1)
    group = target.cost(WHO, "hf_jobs:t4-small:5400:4")
    assert (group["machines"], group["dollars"]) == (4, pytest.approx(4 * 0.60003))
    for wrong in ("0", "9", "x", "2:2"):
        with pytest.raises(BadInput, match="is no number of machines"):
            wanted(f"hf_jobs:t4-small:600:{wrong}")
    with pytest.raises(BadInput, match="generate can't use several machines: only sft, dpo, reward, kto, orpo, grpo"):
        target.check("hf_jobs:cpu-basic:600:2", WHO, "generate")
    for wrong in ("hf_jobs", "hf_jobs:t4-small", "hf_jobs:t4-small:5", "hf_jobs:t4-small:x"):
        with pytest.raises(BadInput, match="names no hardware and time"):
            wanted(wrong)
    with pytest.raises(BadInput, match="no hardware 'h900'"):
        target.cost(WHO, "hf_jobs:h900:600")
    with pytest.raises(LabError, match="nobody is signed in"):
        target.check(TARGET, "visitor-x", "sft")


def test_a_run_goes_there_and_what_it_made_lands_here(target: HfJobs, hub: Hub, jobs: Jobs) -> None:
    run = launch(target)
    assert state(target, run) == "running"
    assert ended(target, run) == "finished"
    assert losses(run) == [1, 2, 3, 4, 5]
    assert (run.folder / "checkpoint").read_text() == "5"
    said = [one.text for one in events(run) if isinstance(one, ev.Logged)]
    assert "Sent to Hugging Face Jobs: cpu-basic, for at most 600 s." in said[0]
    assert "sizes and checksums are right" in said[-1]
    (job,) = jobs.jobs.values()
    assert (job.spec["flavor"], job.spec["timeoutSeconds"]) == ("cpu-basic", 600)
    repository = hub.repositories["models", f"ann/atelier-run-{run.id}"]
    assert repository.private
    assert ANN not in str(job.spec["command"]) + str(job.spec.get("environment")) + run.log.read_text()
    assert not any(ANN.encode() in data for data in repository.files.values())


def test_a_stream_that_breaks_is_taken_up_without_a_line_twice(target: HfJobs, jobs: Jobs) -> None:
    jobs.cut = 2
    run = launch(target, steps=12, pause=0.1)
    assert ended(target, run) == "finished"
    assert losses(run) == list(range(1, 13))


@pytest.mark.long
def test_a_courier_that_goes_away_is_followed_by_another(target: HfJobs, jobs: Jobs) -> None:
    run = launch(target, steps=40, pause=0.1)
    wait(lambda: len(losses(run)) > 5)
    end(run, signal.SIGKILL)
    assert state(target, run) == "running"  # the job goes on
    assert ended(target, run) == "finished"
    assert len(jobs.jobs) == 1  # asked for once
    assert sorted(set(losses(run))) == list(range(1, 41))
    assert len(losses(run)) <= 45  # a few lines may be told again, none is lost


@pytest.mark.long
def test_cancelled_it_ends_there_too(target: HfJobs, jobs: Jobs) -> None:
    run = launch(target, steps=1000, pause=0.1)
    wait(lambda: losses(run))
    target.cancel(run, save=False)
    assert ended(target, run) == "cancelled"
    assert next(iter(jobs.jobs.values())).stage == "CANCELED"


@pytest.mark.long
def test_stopped_and_saved_then_resumed_by_another_job(target: HfJobs, jobs: Jobs) -> None:
    run = launch(target, steps=250, pause=0.1)
    wait(lambda: losses(run))
    target.cancel(run, save=True)
    assert ended(target, run) == "paused"
    reached = int((run.folder / "checkpoint").read_text())
    assert 0 < reached < 250
    (run.folder / "params.json").write_text(json.dumps({"steps": reached + 3}))
    target.start(run)
    assert ended(target, run) == "finished"
    assert losses(run)[-3:] == [reached + 1, reached + 2, reached + 3]
    assert len(jobs.jobs) == 2


@pytest.mark.long
def test_when_its_time_is_over_that_is_said(target: HfJobs, jobs: Jobs) -> None:
    run = launch(target, steps=1000, pause=0.1)
    wait(lambda: losses(run))
    jobs.over(next(iter(jobs.jobs.values())))
    assert ended(target, run) == "failed"
    assert fold(events(run)).error == {
        "code": "jobs.timeout",
        "message": "The job's time was over before the run was.",
        "hint": "Resume goes on from the last checkpoint, which lies in your repository; or clone it with more time.",
    }


def test_completed_is_not_finished_until_it_has_landed(target: HfJobs, hub: Hub, jobs: Jobs) -> None:
    """The bucket takes the files of the last commit and loses one."""
    run = launch(target, steps=30, pause=0.1)
    wait(lambda: losses(run))
    repository = hub.repositories["models", f"ann/atelier-run-{run.id}"]
    keep = repository.commit

    def lossy(files: dict[str, bytes]) -> str:
        return keep({name: data for name, data in files.items() if name != "checkpoint"})

    repository.commit = lossy  # type: ignore[method-assign]
    assert ended(target, run) == "failed"
    error = fold(events(run)).error
    assert error is not None
    assert error["code"] == "jobs.not_landed"
    assert "checkpoint did not arrive" in error["message"]


def test_what_the_hub_refuses_is_how_it_ends(target: HfJobs, hub: Hub) -> None:
    hub.faults.append(("/api/repos/create", 403, 9))
    run = launch(target)
    assert ended(target, run) == "failed"
    assert told(run)["over"]
    assert (fold(events(run)).error or {})["code"] == "hub.forbidden"


GROUP = f"{TARGET}:2"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine counts for itself, so that nothing heavy is loaded."""
    monkeypatch.setattr("backend.recipes.together.TOGETHER", ("sft", "count"))


def test_two_machines_are_one_run(target: HfJobs, jobs: Jobs, apart: None) -> None:
    run = launch(target, GROUP, steps=3)
    assert ended(target, run) == "finished"
    first, second = jobs.jobs.values()
    assert first.spec["network"] == {"group": f"atelier-{run.id}", "aliases": ["1"]}
    assert second.spec["network"]["aliases"] == ["2"]
    assert (second.spec["environment"]["ATELIER_MACHINES"], second.spec["environment"]["ATELIER_MACHINE"]) == ("2", "2")
    assert losses(run) == [1, 2, 3]  # the first machine's alone
    text = run.log.read_text()
    assert "[machine 2] an ordinary line" in text
    assert (run.folder / "checkpoint").read_text() == "3"
    measured = {name for one in events(run) if isinstance(one, ev.Measured) for name in one.values}
    assert {"job_cpu", "job_cpu/machine 2", "job_memory_gb/machine 2"} <= measured


@pytest.mark.parametrize("which", [pytest.param(0, marks=pytest.mark.long), 1])
def test_the_failure_of_one_machine_ends_all(target: HfJobs, jobs: Jobs, apart: None, which: int) -> None:
    run = launch(target, GROUP, steps=1000, pause=0.1)
    wait(lambda: losses(run) and "[machine 2]" in run.log.read_text())
    broken = list(jobs.jobs.values())[which]
    jobs.kill(broken)
    assert ended(target, run) == "failed"
    assert f"Machine {which + 1} of 2: The job ended at the Hub as ERROR" in (fold(events(run)).error or {})["message"]
    assert sorted(one.stage for one in jobs.jobs.values()) == ["CANCELED", "ERROR"]


@pytest.mark.long
def test_one_cancel_ends_all_machines(target: HfJobs, jobs: Jobs, apart: None) -> None:
    run = launch(target, GROUP, steps=1000, pause=0.1)
    wait(lambda: losses(run) and "[machine 2]" in run.log.read_text())
    target.cancel(run, save=False)
    assert ended(target, run) == "cancelled"
    assert [one.stage for one in jobs.jobs.values()] == ["CANCELED", "CANCELED"]


@pytest.mark.long
def test_two_rented_machines_learn_what_one_learns(target: HfJobs, jobs: Jobs, tmp_path: Path) -> None:
    """Two jobs of one network group that find one another by alias; the losses are those of one machine."""
    from tests.tiny import tiny_model

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        jobs.env["MASTER_PORT"] = str(free.getsockname()[1])
    target.recipes = "backend.recipes"
    params = {
        "model": str(tiny_model(tmp_path / "model")), "dataset": "sample/instructions", "max_steps": 6, "max_rows": 64,
        "learning_rate": 0.01, "lora_dropout": 0.0, "precision": "fp32", "logging_steps": 1, "eval_rows": 4,
        "save_steps": 3, "sample_prompts": 1,
    }  # fmt: skip
    told = []
    for where, batch in ((TARGET, 4), (GROUP, 2)):
        run = launch(target, where, "sft", per_device_train_batch_size=batch, **params)
        assert ended(target, run) == "finished", run.log.read_text()[-3000:]
        found = [one.values["loss"] for one in events(run) if isinstance(one, ev.Measured) and "loss" in one.values]
        told.append(found)
    alone, both = told
    assert len(both) == 6
    assert both == pytest.approx(alone, rel=0.01)
    assert (run.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert "[machine 2]" in run.log.read_text()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
def test_a_real_training_goes_there_with_its_files_and_its_secret(target: HfJobs, jobs: Jobs, tmp_path: Path) -> None:
    """The model is a folder of this disk and the rows a file: both travel. What lands is an adapter that loads."""
    from peft import AutoPeftModelForCausalLM

    from tests.tiny import tiny_model

    rows = [{"prompt": f"Say {one}.", "completion": str(one)} for one in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    params = {
        "model": str(tiny_model(tmp_path / "model")), "dataset": str(tmp_path / "rows.jsonl"), "max_steps": 4,
        "save_steps": 2, "eval_rows": 4, "sample_prompts": 0, "per_device_train_batch_size": 4,
    }  # fmt: skip
    target.recipes = "backend.recipes"
    target.granted = lambda run: {"WANDB_API_KEY": "of-the-highest-order"}
    run = target.store.add(Job("sft", params, TARGET, WHO), params)
    (run.folder / "grants.json").write_text('["WANDB_API_KEY"]')
    target.start(run)
    assert ended(target, run) == "finished", run.log.read_text()[-3000:]
    told = fold(events(run))
    assert [one["kind"] for one in told.artifacts] == ["checkpoint", "checkpoint", "adapter"][-len(told.artifacts) :]
    (job,) = jobs.jobs.values()
    assert job.spec["secrets"]["WANDB_API_KEY"] == "of-the-highest-order"
    assert AutoPeftModelForCausalLM.from_pretrained(run.folder / "adapter").peft_config


def test_hardware_is_the_same_whatever_its_time() -> None:
    assert hardware_of("hf_jobs:t4-small:600") == hardware_of("hf_jobs:t4-small:3600") == "hf_jobs:t4-small"
    assert hardware_of("hf_jobs:t4-small:600:2") == hardware_of("hf_jobs:t4-small:60:2") == "hf_jobs:t4-small:2"
    assert hardware_of("local") == "local"

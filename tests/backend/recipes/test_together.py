"""Processes and machines that train together learn what one learns; how they are started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from safetensors.torch import load_file

from backend import events as ev
from backend.recipes import together
from tests.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[3]


def test_one_device_is_the_plain_recipe() -> None:
    assert together.command("backend.recipes.sft", "p.json", 1)[1:] == ["-u", "-m", "backend.recipes.sft", "p.json"]
    assert together.command("backend.recipes.generate", "p.json", 4)[-2:] == ["backend.recipes.generate", "p.json"]
    assert "accelerate.commands.launch" not in together.command("backend.recipes.merge", "p.json", 4)


def test_several_gpus_are_started_by_accelerate() -> None:
    command = together.command("backend.recipes.sft", "p.json", 4)
    assert command[3:5] == ["accelerate.commands.launch", "--multi_gpu"]
    assert command[command.index("--num_processes") + 1] == "4"
    assert command[-3:] == ["-m", "backend.recipes.sft", "p.json"]


def test_gpus_that_are_left_alone_do_not_count() -> None:
    wished = {"ATELIER_ALL_GPUS": "1"}
    assert [together.gpus(wished | {"CUDA_VISIBLE_DEVICES": one}) for one in ("", "-1")] == [0, 0]
    assert together.gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == 0  # nobody wished for it


def test_one_process_sees_one_gpu() -> None:
    assert together.seen({}, 1) == {"CUDA_VISIBLE_DEVICES": "0"}
    assert together.seen({"CUDA_VISIBLE_DEVICES": "2,3"}, 1) == {"CUDA_VISIBLE_DEVICES": "2"}
    assert together.seen({"CUDA_VISIBLE_DEVICES": ""}, 1) == {"CUDA_VISIBLE_DEVICES": ""}
    assert together.seen({"CUDA_VISIBLE_DEVICES": "2,3"}, 2) == {}


def test_alone_everything_is_agreed_at_once() -> None:
    assert (together.first(), together.many(), together.agreed("save")) == (True, 1, "save")
    together.wait()


def test_a_model_in_pieces_is_a_wish_and_off_with_its_reason() -> None:
    text = " ".join(together.command("backend.recipes.sft", "p.json", 4, sharding="fsdp"))
    assert "accelerate.commands.launch --use_fsdp --fsdp_version 2" in text
    assert "--multi_gpu" not in text
    assert together.sharding({}, "sft") == ("", "")
    assert together.sharding({"ATELIER_SHARDED": "fsdp"}, "sft") == ("fsdp", "")
    assert "needs all weights" in together.sharding({"ATELIER_SHARDED": "fsdp"}, "ppo")[1]
    assert together.sharding({"ATELIER_SHARDED": "five"}, "sft")[1] == (
        "ATELIER_SHARDED is 'five'; it can be fsdp, zero2, zero3."
    )
    machines = {"ATELIER_SHARDED": "zero3", "ATELIER_MACHINES": "2", "ATELIER_MACHINE": "1"}
    assert "on several machines; use fsdp" in together.sharding(machines, "sft")[1]
    way, why = together.sharding({"ATELIER_SHARDED": "zero3"}, "sft")
    assert bool(way) == bool(find_spec("deepspeed")) == (not why)
    assert together.sharded() is False
    assert together.gathered(None) is None


def test_machines_of_a_group_meet_at_the_first_one() -> None:
    env = {"ATELIER_MACHINES": "2", "ATELIER_MACHINE": "2", "HF_NETWORK_GROUP_PREFIX": "there-"}
    assert together.group({}) is None
    second = together.group(env)
    assert second == together.Group(2, 2, "there-1", "29500")
    text = " ".join(together.command("backend.recipes.sft", "p.json", 4, group=second))
    for part in (
        *("--num_processes 8", "--num_machines 2", "--machine_rank 1", "--main_process_ip there-1 "),
        *("--main_process_port 29500", "--same_network"),
    ):
        assert part in text
    text = " ".join(together.command("backend.recipes.sft", "p.json", 1, gpu=False, group=second))
    assert "--nproc_per_node 1 --nnodes 2 --node_rank 1 --master_addr there-1 --master_port 29500" in text
    assert together.command("backend.recipes.generate", "p.json", 1, group=second)[1:3] == ["-u", "-m"]


def trained(folder: Path, count: int, method: str = "sft", **params: Any) -> list[ev.Event]:
    params_file = wanted(folder, params)
    (said,) = finished(
        [started(together.command(f"backend.recipes.{method}", params_file, count, gpu=False))],
    )
    return said


def wanted(folder: Path, params: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(params))
    return str(folder / "params.json")


def started(command: list[str], **env: str) -> subprocess.Popen[str]:
    env = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **env}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finished(processes: list[subprocess.Popen[str]], seconds: float = 240) -> list[list[ev.Event]]:
    """What each said, once all have ended well; none is left behind."""
    with ThreadPoolExecutor(len(processes)) as pool:
        said = list(pool.map(lambda one: one.communicate(timeout=seconds)[0], processes))
    for one, text in zip(processes, said, strict=True):
        assert one.returncode == 0, text[-5000:]
    return [[ev.parse(line) for line in text.splitlines()] for text in said]


def figures(events: list[ev.Event], name: str) -> list[float]:
    return [one.values[name] for one in events if isinstance(one, ev.Measured) and name in one.values]


def common(tmp_path: Path, method: str = "sft") -> dict[str, Any]:
    data = "sample/instructions" if method == "sft" else "sample/preferences"
    return {
        "model": str(tiny_model(tmp_path / "model")), "dataset": data, "max_steps": 8, "max_rows": 64,
        "learning_rate": 0.01, "adapter": "lora", "lora_dropout": 0.0, "precision": "fp32", "logging_steps": 1,
        "eval_rows": 8, "save_steps": 4, "sample_prompts": 1,
    }  # fmt: skip


def same(many: list[ev.Event], alone: list[ev.Event]) -> None:
    """They learned the same, and it was said once, not by each process."""
    losses = figures(many, "loss")
    assert len(losses) == len(figures(alone, "loss")) == 8
    assert losses == pytest.approx(figures(alone, "loss"), rel=0.01)
    assert figures(many, "eval_loss") == pytest.approx(figures(alone, "eval_loss"), rel=0.01)
    assert [one for one in many if isinstance(one, ev.Finished)]
    assert not [one.text for one in many if isinstance(one, ev.Wrote) and "find_unused" in one.text]


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "count"),
    [("sft", 2), ("dpo", 2), ("reward", 2), ("kto", 2), ("orpo", 2), ("sft", 4)],
    ids=lambda value: str(value),
)
def test_several_processes_learn_what_one_learns(tmp_path: Path, method: str, count: int) -> None:
    """By gloo, on processors; each step sees the same rows, so the losses are the same but for rounding."""
    asked = common(tmp_path, method)
    if method == "reward":
        del asked["sample_prompts"]
    one = trained(tmp_path / "one", 1, method, per_device_train_batch_size=4, **asked)
    many = trained(tmp_path / "many", count, method, per_device_train_batch_size=4 // count, **asked)
    same(many, one)
    assert (tmp_path / "many" / "adapter" / "adapter_model.safetensors").is_file()
    checkpoints = sorted(path.name for path in (tmp_path / "many" / "checkpoints").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-4", "checkpoint-8"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("grpo", {"loss_type": "grpo"}),
        ("rloo", {}),
        ("ppo", {"num_mini_batches": 2, "gradient_accumulation_steps": 1, "kl_target": 1.0}),
    ],
    ids=["grpo", "rloo", "ppo"],
)
def test_answers_that_are_tried_by_several_teach_what_those_of_one_do(
    tmp_path: Path, method: str, more: dict[str, Any]
) -> None:
    """The same answers to the same prompts, whoever writes them: rewards, advantages and steps are those of all."""
    asked = common(tmp_path, "sft") | {"reward": "short:3", "max_completion_length": 8, "num_generations": 4} | more
    asked |= {"temperature": 1.0, "learning_rate": 0.003}
    if method == "ppo":
        del asked["num_generations"]
    said = []
    for count, name in ((1, "one"), (2, "many")):
        params = wanted(tmp_path / name, asked | {"per_device_train_batch_size": 16 // count})
        words = together.command(f"backend.recipes.{method}", params, count, gpu=False)
        place = words.index(f"backend.recipes.{method}")
        words[place : place + 1] = ["tests.backend.recipes.drawn", method]
        said += finished([started(words, ORDER="turns" if method == "ppo" else "blocks")])
    one, many = said
    assert len(figures(one, "loss")) == 8
    assert min(figures(one, "grad_norm")) > 1e-3
    for name in ("loss", "grad_norm", *(["score", "kl", "kl_coef", "eval_score"] if method == "ppo" else ["reward"])):
        assert figures(many, name) == pytest.approx(figures(one, name), rel=0.02, abs=1e-4), name
    assert len([event for event in many if isinstance(event, ev.Finished)]) == 1
    assert (tmp_path / "many" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.long
def test_an_evaluation_dealt_out_has_the_figures_of_one(tmp_path: Path) -> None:
    """Three passes over two models; the rows' order, their scores and the verdicts are those of one process."""
    model, metrics = str(tiny_model(tmp_path / "model")), ["chrf", "length", "perplexity"]
    asked = {"models": [model, str(tiny_model(tmp_path / "other"))], "dataset": "sample/instructions", "max_rows": 21}
    asked |= {"metrics": metrics, "max_new_tokens": 6, "per_device_eval_batch_size": 4, "precision": "fp32"}
    asked |= {"temperature": 0.7, "seeds": 2}
    for count, name in ((1, "one"), (2, "many")):
        said = trained(tmp_path / name, count, "evaluate", **asked)
        assert len([event for event in said if isinstance(event, ev.Finished)]) == 1
    tables = [parquet.read_table(tmp_path / name / "answers.parquet").to_pydict() for name in ("one", "many")]
    assert tables[0].keys() == tables[1].keys()
    assert "0.said2" in tables[0]
    for column, values in tables[0].items():
        if column not in ("0.seconds", "1.seconds"):
            same = [pytest.approx(one, rel=1e-4) if isinstance(one, float) else one for one in values]
            assert tables[1][column] == same, column
    told = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "many")]
    for one, same in zip(told[0]["figures"], told[1]["figures"], strict=True):
        near = {
            name: pytest.approx(value, rel=1e-4) if isinstance(value, float) else value for name, value in one.items()
        }
        assert same == near
    assert [one["verdict"] for one in told[0]["pairs"]] == [one["verdict"] for one in told[1]["pairs"]]
    files = [sorted(path.name for path in (tmp_path / name / "answers").iterdir()) for name in ("one", "many")]
    assert files[0] == files[1]


@pytest.mark.long
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_model_in_pieces_learns_what_a_whole_one_learns(tmp_path: Path, adapter: str) -> None:
    """FSDP by gloo: no process has the whole model, and what is saved is whole all the same."""
    asked = common(tmp_path) | {"adapter": adapter, "sample_prompts": 0, "learning_rate": 0.003}
    one = trained(tmp_path / "one", 1, per_device_train_batch_size=4, **asked)
    params = wanted(tmp_path / "many", asked | {"per_device_train_batch_size": 2})
    words = together.command("backend.recipes.sft", params, 2, gpu=False)
    words = ["tests.backend.recipes.sharded" if word == "backend.recipes.sft" else word for word in words]
    said = dict(zip(flags := together.SHARDED["fsdp"][1:], flags[1:], strict=False))
    env = {
        name[2:].upper().replace("TRANSFORMER_LAYER_", ""): value for name, value in said.items() if name[:2] == "--"
    }
    (many,) = finished([started(words, ACCELERATE_USE_FSDP="true", **env)])
    pieces = next(one.text for one in many if isinstance(one, ev.Wrote) and one.text.startswith("pieces: "))
    lying, of = pieces.removeprefix("pieces: ").split(" of ")
    assert int(lying) == int(of) > 0
    same(many, one)
    alike(tmp_path, adapter)


def alike(tmp_path: Path, adapter: str) -> None:
    """What `one` and `many` left is the same, and whole."""
    kind, file = {"lora": ("adapter", "adapter_model"), "full": ("model", "model")}[adapter]
    weights = [load_file(tmp_path / name / kind / f"{file}.safetensors") for name in ("one", "many")]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        assert weight.shape == weights[1][name].shape
        assert (weight - weights[1][name]).abs().max() < 0.01


@pytest.mark.long
@pytest.mark.skipif(not find_spec("deepspeed"), reason="DeepSpeed is an option, and not installed here")
@pytest.mark.parametrize(("stage", "adapter"), [(2, "lora"), (3, "lora"), (3, "full")])
def test_zero_learns_what_one_process_learns(tmp_path: Path, stage: int, adapter: str) -> None:
    """DeepSpeed by gloo, started by the very words that GPUs are; its first use compiles a piece of C++ for minutes."""
    asked = common(tmp_path) | {"adapter": adapter, "sample_prompts": 0, "learning_rate": 0.003}
    one = trained(tmp_path / "one", 1, per_device_train_batch_size=4, **asked)
    params = wanted(tmp_path / "many", asked | {"per_device_train_batch_size": 2})
    words = together.command("backend.recipes.sft", params, 2, sharding=f"zero{stage}")
    words = ["tests.backend.recipes.zero" if word == "backend.recipes.sft" else word for word in words]
    (many,) = finished(
        [started(words, DS_ACCELERATOR="cpu", ACCELERATE_TORCH_DEVICE="cpu", ACCELERATE_USE_CPU="false")], 500
    )
    assert f"stage {stage}" in [one.text for one in many if isinstance(one, ev.Wrote)]
    same(many, one)
    alike(tmp_path, adapter)


@pytest.fixture
def network() -> Iterator[list[list[str]]]:
    """Two namespaces joined by a cable, as two machines: what a command begins with in each."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces want root and ip")
    names = [f"atelier{os.getpid()}{one}" for one in "ab"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)

    try:
        for name in names:
            ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine allows no namespaces: {error.stderr!r}")
    try:
        first, second = names
        ip("link", "add", "wire0", "netns", first, "type", "veth", "peer", "name", "wire0", "netns", second)
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "wire0")
            ip("-n", name, "link", "set", "wire0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            hosts = Path("/etc/netns", name, "hosts")  # what `ip netns exec` shows as /etc/hosts
            hosts.parent.mkdir(parents=True)
            hosts.write_text("127.0.0.1 localhost\n10.77.0.1 there-1\n10.77.0.2 there-2\n")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)
            shutil.rmtree(Path("/etc/netns", name), ignore_errors=True)


@pytest.mark.long
def test_two_machines_learn_what_one_learns(tmp_path: Path, network: list[list[str]]) -> None:
    """Nothing but a cable joins them, and they find one another by name."""
    asked = common(tmp_path)
    one = trained(tmp_path / "one", 1, per_device_train_batch_size=4, **asked)
    machines = []
    for number, inside in enumerate(network, 1):
        told = {"ATELIER_MACHINES": "2", "ATELIER_MACHINE": str(number), "HF_NETWORK_GROUP_PREFIX": "there-"}
        params = wanted(tmp_path / f"machine{number}", asked | {"per_device_train_batch_size": 2})
        command = together.command("backend.recipes.sft", params, 1, gpu=False, group=together.group(told))
        machines.append(started([*inside, *command], GLOO_SOCKET_IFNAME="wire0"))
    first, second = finished(machines)
    same(first, one)
    assert not figures(second, "loss")
    assert (tmp_path / "machine1" / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "machine2" / "adapter").exists()


@pytest.mark.long
def test_machines_go_on_from_a_checkpoint_as_if_nothing_had_been(tmp_path: Path, network: list[list[str]]) -> None:
    """New machines, which have but the checkpoint of the first: what each drops out is what it would have been."""
    asked = common(tmp_path) | {"lora_dropout": 0.5, "per_device_train_batch_size": 2}

    def together_in(place: Path) -> list[ev.Event]:
        machines = []
        for number, inside in enumerate(network, 1):
            told = {"ATELIER_MACHINES": "2", "ATELIER_MACHINE": str(number), "HF_NETWORK_GROUP_PREFIX": "there-"}
            command = together.command(
                "backend.recipes.sft",
                str(place / str(number) / "params.json"),
                1,
                gpu=False,
                group=together.group(told),
            )
            machines.append(started([*inside, *command], GLOO_SOCKET_IFNAME="wire0"))
        return finished(machines)[0]

    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
        for number in "12":
            wanted(tmp_path / name / number, asked)
    whole = together_in(tmp_path / "whole")
    checkpoint = Path("checkpoints", "checkpoint-4")
    states = [(tmp_path / "whole" / "1" / checkpoint / f"rng_state_{rank}.pth").read_bytes() for rank in (0, 1)]
    assert states[0] != states[1]
    for number in "12":
        shutil.copytree(tmp_path / "whole" / "1" / checkpoint, tmp_path / "again" / number / checkpoint)
    again = together_in(tmp_path / "again")
    assert figures(again, "loss") == pytest.approx(figures(whole, "loss")[4:], rel=1e-5)
    assert figures(again, "eval_loss") == pytest.approx(figures(whole, "eval_loss")[-1:], rel=1e-5)

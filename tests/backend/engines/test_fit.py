"""What is told of a model before it is loaded, against what loading it really takes."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.fit import Weights, fit, look_up, read
from backend.errors import BadInput, NotFound
from backend.starter import MODEL_ID
from tests.backend.engines.hub import serving
from tests.tiny_tasks import tiny_task_model

LOADED = """
import gc, json, os, sys, psutil, torch
from transformers import AutoModelForCausalLM, DynamicCache
import transformers.models.llama.modeling_llama

def measure(folder, precision, tokens):
    warm = torch.ones(64, 64) @ torch.ones(64, 64)
    gc.collect()
    before = psutil.Process().memory_full_info().uss
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision))
    for parameter in model.parameters():  # what is only mapped yet is brought in
        parameter.data = parameter.data.clone()
    gc.collect()
    after = psutil.Process().memory_full_info().uss
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        for _ in range(tokens // 64):
            model(torch.ones(1, 64, dtype=torch.long), past_key_values=cache)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    tensors = sum(p.nbytes for p in model.parameters())
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters()), "tensors": tensors,
                      "process": after - before, "cache": held}), flush=True)

for asked in json.loads(sys.argv[1]):
    if child := os.fork():  # before anything was computed
        os.waitpid(child, 0)
    else:
        measure(*asked)
        os._exit(0)
"""


@pytest.fixture(scope="module")
def took(starter: Path, tiny: Path) -> dict[str, dict[str, int]]:
    """What each takes, loaded in a process of its own; the libraries are imported once for all."""
    asked = {"fp32": (starter, "float32", 512), "bf16": (starter, "bfloat16", 512), "tiny": (tiny, "float32", 128)}
    command = [sys.executable, "-c", LOADED, json.dumps([(str(folder), *more) for folder, *more in asked.values()])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return dict(zip(asked, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_starter_takes_what_was_told(starter: Path, took: dict[str, dict[str, int]], precision: str):
    told, there = fit(read(starter), precision, 10**11, 512), took[precision]
    assert told["parameters"] == there["parameters"]
    assert told["bytes"] == pytest.approx(there["tensors"], rel=0.01)
    assert told["bytes"] == pytest.approx(there["process"], rel=0.2)
    assert told["context_bytes"] == there["cache"]


def test_a_tiny_one_too(tiny: Path, took: dict[str, dict[str, int]]):
    told, there = fit(read(tiny), "fp32", 10**11, 128), took["tiny"]
    assert (told["parameters"], told["bytes"]) == (there["parameters"], there["tensors"])
    assert told["context_bytes"] == there["cache"]
    assert fit(read(tiny), "fp32", 10**11, 10_000)["context"] == 512


def test_what_does_not_fit_says_what_to_do():
    llama = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
    big = Weights({"BF16": 8_000_000_000}, llama | {"max_position_embeddings": 131072})
    told = fit(big, "bf16", 8 * 10**9, smaller=MODEL_ID)
    assert (told["bytes"], told["context_bytes"]) == (16_000_000_000, 2 * 32 * 8 * 128 * 4096 * 2)
    assert not told["fits"]
    assert told["advice"].startswith(
        "It needs 16.8 GB of memory and 8.0 GB are free. A version of it quantized to 4 bits"
    )
    assert told["advice"].endswith(f"or take {MODEL_ID}.")
    assert "provider" in fit(big, "bf16", 10**9)["advice"]
    assert fit(big, "bf16", 20 * 10**9)["advice"] == ""


def test_packed_weights_come_on_top():
    llama = Weights({"BF16": 100_000_000}, {"architectures": ["LlamaForCausalLM"]})
    assert fit(llama, "bf16", 10**10, packs=True)["packed_bytes"] == 125_000_000
    assert fit(llama, "bf16", 10**10)["packed_bytes"] == 0
    other = Weights({"BF16": 100_000_000}, {"architectures": ["GPT2LMHeadModel"]})
    assert fit(other, "bf16", 10**10, packs=True)["packed_bytes"] == 0


def test_quantized_weights_stay_as_they_are_stored():
    weights = Weights({"U8": 1000, "F32": 10}, {"quantization_config": {"quant_method": "bitsandbytes"}})
    told = fit(weights, "bf16", 10**10)
    assert (told["bytes"], told["precision"]) == (1040, "as stored")


@pytest.mark.parametrize("broken", [b"", b"\xff" * 64, b"\x10\0\0\0\0\0\0\0{not json"])
def test_broken_files_are_named(tmp_path: Path, broken: bytes):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="no weights in safetensors"):
        read(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(broken)
    with pytest.raises(BadInput, match="can't be read"):
        read(tmp_path)


def test_the_hub_is_asked_for_headers_alone(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(tiny) as (address, _):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        told = look_up("org/tiny")
        assert told.counts == read(tiny).counts
        assert not (tmp_path / "models--org--tiny" / "snapshots" / ("a" * 40) / "model.safetensors").exists()
        with pytest.raises(NotFound):
            look_up("org/none")


def test_the_engine_tells_it_without_loading(worker: EngineProcess, tmp_path: Path, tiny: Path):
    def told(**params: Any) -> ev.Event:
        return list(worker.stream("fit", params))[-1]

    fresh = tiny_task_model("embed", tmp_path)
    done = told(model=str(fresh))
    assert isinstance(done, ev.Finished)
    assert done.values["fits"]
    assert done.values["free"] > 10**8
    assert done.values["parameters"] == read(fresh).parameters
    assert isinstance(told(model=str(tmp_path / "gone")), ev.Failed)
    both = [worker.stream("fit", {"model": str(fresh)}) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:  # a page may ask twice at once
        assert [type(list(one)[-1]) for one in pool.map(list, both)] == [ev.Finished] * 2

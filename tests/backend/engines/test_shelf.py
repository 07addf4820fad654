from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.engines import shelf
from backend.engines.shelf import Shelf
from backend.errors import BadInput, NoRoom, NotFound
from tests.tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own


def test_adapters_share_the_bases_tensors(tiny: Path, lora: Path) -> None:
    kept = Shelf()
    with kept.use(str(tiny)) as base, kept.use(str(tiny), str(lora)) as adapted:
        ours = {parameter.data_ptr() for parameter in base.model.parameters()}
        theirs = {name: parameter.data_ptr() for name, parameter in adapted.model.named_parameters()}
        assert {name for name, pointer in theirs.items() if pointer not in ours} == {n for n in theirs if "lora_" in n}
        assert not any("lora" in name for name, _ in base.model.named_modules())


def test_the_same_voice_is_given_again(tiny: Path, lora: Path) -> None:
    kept = Shelf()
    assert not kept.has(str(tiny))
    with kept.use(str(tiny), str(lora)) as one, kept.use(str(tiny), str(lora)) as two:
        assert one is two
    assert kept.has(str(tiny))
    assert kept.has(str(tiny), str(lora))


def test_an_adapter_that_was_replaced_is_read_again(tiny: Path, adapters: Callable[..., Path], tmp_path: Path) -> None:
    gone: list[Any] = []
    kept = Shelf(gone.append)
    folder = adapters(seed=1, folder=tmp_path / "adapter")
    with kept.use(str(tiny), str(folder)) as before:
        adapters(seed=2, folder=folder)
        assert not kept.has(str(tiny), str(folder))
        with kept.use(str(tiny), str(folder)) as after:
            one, two = (dict(voice.model.named_parameters()) for voice in (before, after))
            assert one.keys() == two.keys()
            assert any((one[name] != two[name]).any() for name in one)
    assert gone == [before.key]
    assert before.key != after.key


def test_a_model_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    kept = Shelf()
    name = str(tiny_model(tmp_path))
    with kept.use(name) as before:
        pass
    os.utime(tmp_path / "model.safetensors")
    assert not kept.has(name)
    with kept.use(name) as after:
        assert after is not before


def test_an_adapter_of_another_architecture(tiny: Path, adapters: Callable[..., Path], tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=259, n_embd=32, n_layer=2, n_head=2)).save_pretrained(tmp_path / "gpt")
    other = adapters(base=tmp_path / "gpt")
    with pytest.raises(BadInput) as caught:
        Shelf().load(str(tiny), str(other))
    assert str(tmp_path / "gpt") in caught.value.message
    assert f"{tiny} (LlamaForCausalLM)" in caught.value.message


def test_an_adapter_of_another_size_or_depth(tiny: Path, adapters: Callable[..., Path], tmp_path: Path) -> None:
    for name, change in (("wide", {"hidden_size": 64}), ("deep", {"num_hidden_layers": 3})):
        other = _model(tmp_path / name, **change)
        with pytest.raises(BadInput, match="was made for") as caught:
            Shelf().load(str(tiny), str(adapters(base=other)))
        assert str(other) in caught.value.message


def _model(folder: Path, **change: int) -> Path:
    from transformers import AutoConfig, LlamaForCausalLM

    tiny_model(folder)
    config = AutoConfig.from_pretrained(folder)
    config.head_dim = 8
    for name, value in change.items():
        setattr(config, name, value)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_what_is_no_adapter(tiny: Path, lora: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        Shelf().load(str(tiny), str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match=r"adapter_model\.safetensors"):
        Shelf().load(str(tiny), str(tiny))
    shutil.copytree(lora, tmp_path / "torn")
    (tmp_path / "torn" / "adapter_model.safetensors").write_bytes(b"half of it")
    with pytest.raises(BadInput, match="torn"):
        Shelf().load(str(tiny), str(tmp_path / "torn"))
    with pytest.raises(BadInput, match="is an adapter, not a model"):
        Shelf().load(str(lora))


def test_what_is_no_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        Shelf().load(str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match=r"no config\.json"):
        Shelf().load(str(tmp_path))
    shutil.copytree(tiny, tmp_path / "strange")
    config = json.loads((tiny / "config.json").read_text())
    (tmp_path / "strange" / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    with pytest.raises(BadInput, match="strange"):
        Shelf().load(str(tmp_path / "strange"))
    shutil.copytree(tiny, tmp_path / "torn")
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"half of it")
    with pytest.raises(BadInput, match="torn"):
        Shelf().load(str(tmp_path / "torn"))


def test_bases_that_nobody_usesmake_room(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for two models: the longest unused goes, one in use stays, and when all are in use the next is refused."""
    names = [str(shutil.copytree(tiny, tmp_path / name)) for name in "abc"]
    size = sum(path.stat().st_size for path in tiny.glob("*.safetensors"))
    kept = Shelf()
    monkeypatch.setattr(shelf, "free_memory", lambda: shelf.SPARE + int(size * (2.5 - len(kept._bases))))
    monkeypatch.setattr(shelf, "weight_bytes", lambda words, device: size)
    kept.load(names[0])
    kept.load(names[1])
    with kept.use(names[0]):
        kept.load(names[2])
        assert [kept.has(name) for name in names] == [True, False, True]
        with kept.use(names[2]), pytest.raises(NoRoom) as caught:
            kept.load(names[1])
    assert names[1] in caught.value.message
    assert "MB of memory to load, and" in caught.value.message

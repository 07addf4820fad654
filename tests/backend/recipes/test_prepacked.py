"""A model that only answers gives the same bits, with its matrices in the processor's own order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from backend.recipes.prepacked import prepack
from tests.tiny import tiny_model

IDS = torch.tensor([[5, 9, 3, 40, 7], [8, 8, 30, 2, 6]])
bf16 = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="the processor has no bf16 kernels of oneDNN",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def loaded(place: Path, dtype: Any = torch.bfloat16) -> Any:
    return AutoModelForCausalLM.from_pretrained(place, dtype=dtype).eval()


def scores(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


@bf16
def test_scores_are_the_same_bits_and_weights_are_held_once(place: Path) -> None:
    model = loaded(place)
    before = scores(model)
    done = prepack(model)
    layers = [one for one in model.modules() if type(one) is torch.nn.Linear]
    assert done == len(layers) > 5
    assert torch.equal(scores(model), before)
    tied = model.get_input_embeddings().weight
    assert all(one.weight.device.type == "meta" or one.weight is tied for one in layers)
    assert model.device.type == "cpu"


@bf16
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_works_on_and_what_dora_looks_at_stays(place: Path, dora: bool) -> None:
    config = LoraConfig(target_modules="all-linear", r=2, use_dora=dora, init_lora_weights=False)
    model = get_peft_model(loaded(place), config).eval()
    before = scores(model)
    bases = [one for name, one in model.named_modules() if name.endswith("base_layer")]
    assert prepack(model) >= (0 if dora else len(bases))
    assert {one.weight.device.type for one in bases} == {"cpu" if dora else "meta"}
    assert torch.equal(scores(model), before)


def test_another_precision_stays_as_it_is(place: Path) -> None:
    model = loaded(place, torch.float32)
    assert prepack(model) == 0
    assert all(one.weight.device.type == "cpu" for one in model.modules() if type(one) is torch.nn.Linear)

from __future__ import annotations

import copy
from typing import Any

import pytest

from backend.engines.lean import Lean, Row
from backend.engines.lowrank import low_rank
from tests.backend.engines.test_lean import model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own


def adapted(plain: Any, config: Any, seed: int = 1) -> Any:
    import peft
    import torch

    made = peft.get_peft_model(copy.deepcopy(plain), config)
    torch.manual_seed(seed)
    for parameter in made.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return made.eval().requires_grad_(False).get_base_model()


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear", "r": 4, "lora_alpha": 8},
        {"target_modules": ["q_proj", "v_proj", "up_proj"], "r": 3, "use_rslora": True},
        {"target_modules": ["o_proj", "down_proj"], "rank_pattern": {"o_proj": 2}, "layers_to_transform": [1]},
    ],
    ids=["all", "some", "one layer"],
)
def test_an_adapter_adds_what_peft_adds_and_leaves_its_neighbours_alone(settings: dict[str, Any]) -> None:
    import peft
    import torch

    plain = model("Qwen3")
    with torch.inference_mode():
        lean = Lean(plain)
        tokens = torch.arange(1, 31) * 37 % 300
        voices = [adapted(plain, peft.LoraConfig(task_type="CAUSAL_LM", **settings), seed) for seed in (1, 2)]
        lows = [None, *(low_rank(lean, voice) for voice in voices)]
        assert all(lows[1:])
        caches = [lean.cache(30) for _ in lows]
        for low, cache in zip(lows, caches, strict=True):
            lean.read(tokens[:-1], cache, low)
        rows = [Row(int(tokens[-1]), cache, low) for low, cache in zip(lows, caches, strict=True)]
        scores = lean.step([rows[0], rows[2], rows[1]])[[0, 2, 1]]
        expected = torch.cat([voice(tokens[None]).logits[:, -1] for voice in [plain, *voices]])
        far = (expected[1:] - expected[:1]).std(dim=1)
        error = (scores - expected).std(dim=1) / expected.std(dim=1)
    assert float(error.max()) < 0.06 < 0.5 < float(far.min())


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
def test_what_is_more_than_low_rank_products() -> None:
    import peft

    plain = model("Llama")
    lean = Lean(plain)
    configs = [
        peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], use_dora=True),
        peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], lora_bias=True),
        peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["lm_head"]),
        peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "embed_tokens"]),
        peft.IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[]),
    ]
    assert [low_rank(lean, adapted(plain, config)) for config in configs] == [None] * len(configs)
    assert low_rank(lean, plain) is None

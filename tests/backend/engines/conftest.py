"""What the engine's tests share: a tiny model, adapters for it, one engine in this process, one worker process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.engines.client import EngineProcess
from backend.engines.text import ChatParams, TextEngine
from tests.tiny import tiny_model

os.environ.setdefault("GOMP_SPINCOUNT", "0")  # several computing processes share two cores here


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose tokens are bytes; its context has 512."""
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def adapters(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`adapters("lora", seed=1)` gives the folder of a random adapter, which changes the tiny model's answers."""

    def make(kind: str = "lora", seed: int = 1, base: Path = tiny, folder: Path | None = None) -> Path:
        import peft
        import torch
        from transformers import AutoModelForCausalLM

        configs: dict[str, Callable[[], Any]] = {
            "lora": lambda: peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=1, target_modules="all-linear"),
            "ia3": lambda: peft.IA3Config(
                task_type="CAUSAL_LM",
                target_modules=["k_proj", "v_proj", "down_proj"],
                feedforward_modules=["down_proj"],
            ),
            "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
            "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
            "p": lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=16),
        }
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT uses what transformers deprecates
            model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), configs[kind]())
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=2.0)
        folder = folder or tmp_path_factory.mktemp(f"{kind}{seed}")
        model.save_pretrained(str(folder))
        return folder

    return make


@pytest.fixture(scope="session")
def lora(adapters: Callable[..., Path]) -> Path:
    return adapters()


@pytest.fixture(scope="session")
def engine() -> TextEngine:
    return TextEngine()


@pytest.fixture(scope="session")
def plain() -> Callable[[ChatParams], str]:
    """The text that transformers' own `generate` gives, with the precision that the engine uses here."""
    loaded: dict[tuple[str, str], Any] = {}

    def generate(params: ChatParams) -> str:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from backend.engines.voices import dtype_of
        from backend.recipes.device import choose, find

        tokenizer = AutoTokenizer.from_pretrained(params.model)
        key = (params.model, params.adapter)
        if key not in loaded:
            loaded[key] = AutoModelForCausalLM.from_pretrained(params.model, dtype=dtype_of(choose(find())))
            if params.adapter:
                loaded[key] = PeftModel.from_pretrained(loaded[key], params.adapter)
        inputs = tokenizer.apply_chat_template(
            params.turns,
            add_generation_prompt=not params.continues,
            continue_final_message=params.continues,
            return_tensors="pt",
            return_dict=True,
        )
        draw = {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
        torch.manual_seed(params.seed)
        output = loaded[key].generate(
            **inputs,
            max_new_tokens=params.max_new_tokens,
            do_sample=params.temperature > 0,
            repetition_penalty=params.repetition_penalty,
            **(draw if params.temperature else {}),
        )
        return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    return generate


@pytest.fixture(scope="session")
def worker() -> Iterator[EngineProcess]:
    """One worker process for all tests that don't need their own. Its Hub is a port where nobody listens."""
    process = EngineProcess(os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9"}, preload=False)
    process.start()
    yield process
    process.stop()

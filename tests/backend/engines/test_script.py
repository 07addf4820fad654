"""The script that is shown does what was on screen: it is run and its text compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend import events as ev
from backend.engines.script import code
from backend.engines.text import ChatParams, CompleteParams, TextEngine
from tests.backend.engines.talk import asks

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
FIELDS = '{"a": {"type": "integer"}, "b": {"enum": ["x", "yy"]}}'
SCHEMA = f'{{"type": "object", "properties": {FIELDS}, "required": ["a", "b"]}}'


def test_the_script_says_what_the_chat_says(engine: TextEngine, tiny: Path, lora: Path, starter: Path) -> None:
    turns = [{"role": "user", "content": "It's \"late\",\nisn't it?"}, {"role": "assistant", "content": "Not"}]
    requests = [
        asks(tiny, adapter=str(lora), temperature=0.05, top_p=0.9, top_k=50, seed=11, repetition_penalty=1.1),
        asks(tiny, messages=turns, system="Be kind. 🌱"),
        asks(starter, "Name three fruits.", max_new_tokens=12, exact=True),
        asks(tiny, json_schema=SCHEMA, max_new_tokens=80, temperature=1.0, seed=5),
        asks(tiny, messages=[turns[0], {"role": "assistant", "content": '{"a": '}], json_schema=SCHEMA),
        CompleteParams(model=str(starter), prompt='He said: "once\nupon', temperature=0, max_new_tokens=8, exact=True),
    ]
    scripts, texts = [], []
    for request in requests:
        dtype = text = ""
        for event in engine.stream(request):
            if isinstance(event, ev.Started):
                dtype = event.info["dtype"]
            elif isinstance(event, ev.Wrote):
                text += event.text
        scripts.append(code(request, dtype=dtype) + "print('=====')\n")
        texts.append(getattr(request, "prompt", "") + text)
    env = os.environ | {"PYTHONPATH": "", "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run([sys.executable, "-c", "".join(scripts)], capture_output=True, env=env, timeout=200)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().split("\n=====\n")[:-1] == texts


def test_it_is_short_and_plain() -> None:
    params = ChatParams(messages=[{"role": "user", "content": "Hello?"}], temperature=0)
    text = code(params)
    assert "backend" not in text
    assert "peft" not in text
    assert "manual_seed" not in text
    assert "'HuggingFaceTB/SmolLM2-135M-Instruct'" in text
    assert 'dtype="auto"' in text
    assert len(text.splitlines()) <= 25
    assert "'/my/adapter'" in code(params, adapter="/my/adapter")
    assert "torch.bfloat16" in code(params, dtype="bfloat16")

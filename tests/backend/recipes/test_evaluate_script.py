"""The script of an evaluation says the same as the run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from backend.recipes import device, evaluate_script
from backend.recipes.answering import Answerer
from backend.recipes.evaluate import Params
from backend.recipes.params import check
from backend.starter import locate


def test_it_gives_the_same_figure(tmp_path: Path, tiny: Path) -> None:
    params = check(Params, {"models": [str(tiny)], "max_rows": 6, "max_new_tokens": 4, "metrics": "chrf"})
    rows = [json.loads(line) for line in Path(locate("sample/evaluation")).read_text().splitlines()][:6]
    answerer = Answerer(str(tiny), device.choose(device.Machine("cpu", "", False, 2)), 8, lambda: False)
    said = dict(pair for batch in answerer.answers([row["prompt"] for row in rows], 4) for pair in batch)
    rows[0]["completion"][0]["content"] = said[0]["answer"]  # so that something is right
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = evaluate_script.code(params, [("tiny", str(tiny), "")], str(data))
    assert '# evaluate.load("chrf")' in text
    (tmp_path / "script.py").write_text(text)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    found = re.search(r"tiny exact match: ([\d.]+)", done.stdout)
    assert found, done.stderr
    right = sum(said[n]["answer"] == row["completion"][0]["content"].strip() for n, row in enumerate(rows))
    assert float(found[1]) == right / 6 > 0


def test_a_hub_dataset_and_an_adapter() -> None:
    text = evaluate_script.code(
        check(Params, {"dataset": "a/b", "dataset_split": "test"}), [("run/1", "m", "dir")], "a/b"
    )
    assert 'load_dataset("a/b", split="test")' in text
    assert '["run/1", "m", "dir"],' in text
    compile(text, "script", "exec")


def test_a_model_at_a_provider_is_asked_there_and_answers_are_drawn() -> None:
    params = check(Params, {"models": ["a/b", "org/big:fast"], "temperature": 0.7})
    told = evaluate_script.code(params, [("a/b", "a/b", ""), ("org/big:fast", "org/big:fast", "")], "sample.jsonl")
    compile(told, "script", "exec")
    assert "client.chat_completion(asked, model=model, max_tokens=32, temperature=0.7)" in told
    assert "do_sample=True, temperature=0.7" in told
    plain = evaluate_script.code(check(Params, {}), [("a/b", "a/b", "")], "sample.jsonl")
    assert "InferenceClient" not in plain

"""Merging and exporting what runs left, compared with the model before, on the tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from backend import events as ev
from backend import jobs
from backend.errors import BadInput, LabError, NotFound
from backend.recipes import export, gguf_file, merge
from backend.recipes.outcome import Outcome
from backend.recipes.params import check

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def left(tiny: Path, folder: Path, kind: str = "lora", base: Path | None = None, scale: float = 0.3) -> Path:
    """A run's folder with an adapter of `kind` that changes what the model says."""
    from peft import IA3Config, LoraConfig, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    configs: dict[str, Any] = {
        "lora": LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
        "ia3": IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
        "prompt": PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        "reward": LoraConfig(target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"]),
    }
    torch.manual_seed(0)
    load = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
    model = get_peft_model(
        load.from_pretrained(base or tiny, **({"num_labels": 1} if kind == "reward" else {})), configs[kind]
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += torch.randn_like(weight) * scale
    model.save_pretrained(folder / "adapter")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder / "adapter")
    (folder / "params.json").write_text(json.dumps({"model": str(base or tiny)}))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def told(capfd: pytest.CaptureFixture[str]) -> jobs.Status:
    events = [ev.parse(line) for line in capfd.readouterr().out.splitlines()]
    assert isinstance(events[-1], ev.Finished)
    return jobs.fold(events)


@pytest.mark.parametrize("kind", ["lora", "ia3", "reward"])
def test_a_merged_model_answers_as_before(
    tiny: Path, source: Path, place: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    left(tiny, source, kind)
    params = check(merge.MergeParams, {"run": str(source)})
    merge.run(params, place)
    status = told(capfd)
    assert [(one["kind"], one["file"]) for one in status.artifacts] == [("model", "model")]
    assert status.metrics["same_answers"] == status.metrics["same_tokens"] == 1
    assert status.metrics["logit_difference"] < 1e-3
    made = Outcome.read(place)
    assert (made.adapter, made.task) == (None, "SEQ_CLS" if kind == "reward" else "CAUSAL_LM")
    with_adapter, whole = (
        one.load()(input_ids=torch.tensor([[5, 6, 7]])).logits for one in (Outcome.read(source), made)
    )
    assert torch.allclose(with_adapter, whole, atol=1e-4)
    if kind != "reward":
        base = Outcome(str(tiny), None).load()(input_ids=torch.tensor([[5, 6, 7]])).logits
        assert not torch.allclose(base, whole, atol=1e-3)
        with pytest.raises(BadInput, match="whole model already"):
            merge.preflight(check(merge.MergeParams, {"run": str(place)}))


def test_a_merge_that_changes_what_is_said_fails(
    tiny: Path, source: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model is found where the merged one was saved."""
    left(tiny, source)
    read = Outcome.read
    monkeypatch.setattr(Outcome, "read", lambda folder: Outcome(str(tiny), None) if folder == place else read(folder))
    with pytest.raises(LabError, match="says something else"):
        merge.run(check(merge.MergeParams, {"run": str(source)}), place)


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_a_gguf_file_answers_as_the_model(
    tiny: Path, source: Path, place: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    left(tiny, source)
    export.run(check(export.ExportParams, {"run": str(source), "type": kind}), place)
    status = told(capfd)
    assert [one["kind"] for one in status.artifacts] == ["gguf"]
    assert (place / status.artifacts[0]["file"]).read_bytes()[:4] == b"GGUF"
    assert status.metrics["logit_difference"] < {"f32": 1e-3, "f16": 0.02, "q8_0": 0.2}[kind]
    if kind == "f32":
        assert status.metrics["same_answers"] == 1


def test_q8_is_smaller_and_the_tokenizer_is_in_the_file(tiny: Path, source: Path, place: Path) -> None:
    import gguf
    from transformers import AutoTokenizer

    left(tiny, source)
    for kind in ("f16", "q8_0"):
        export.run(check(export.ExportParams, {"run": str(source), "type": kind}), place)
    large, small = (next(place.glob(f"*{kind}.gguf")) for kind in ("f16", "q8_0"))
    assert small.stat().st_size < 0.75 * large.stat().st_size
    fields = gguf.GGUFReader(small).fields
    mine = AutoTokenizer.from_pretrained(tiny)
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert {token: number for number, token in enumerate(tokens)} == mine.get_vocab()
    assert fields["tokenizer.ggml.eos_token_id"].contents() == mine.eos_token_id
    assert fields["tokenizer.chat_template"].contents() == mine.chat_template
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert [tokens[place] for place, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL] == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]


@pytest.mark.long
def test_the_starter_merged_and_exported(source: Path, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The real thing: a real tokenizer, tied weights, bf16; and text is cut into the same tokens."""
    from transformers import AutoTokenizer

    from backend.starter import MODEL_ID, locate

    left(Path(locate(MODEL_ID)), source, scale=0.01)
    export.run(check(export.ExportParams, {"run": str(source), "type": "f16"}), place)
    status = told(capfd)
    assert status.metrics["same_answers"] == 1
    back = AutoTokenizer.from_pretrained(str(place), gguf_file=status.artifacts[0]["file"])
    mine = AutoTokenizer.from_pretrained(locate(MODEL_ID))
    text = "Don't write it – say it: naïve café, 'quoted', and so on."
    assert back(text)["input_ids"] == mine(text)["input_ids"]
    merge.run(check(merge.MergeParams, {"run": str(source)}), place)
    assert told(capfd).metrics["same_tokens"] > 0.95


@pytest.mark.parametrize("tied", [True, False])
def test_qwen_is_of_the_family(
    tiny: Path, source: Path, place: Path, tied: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Biases, no reordering, and an output layer that may be the embeddings'."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    base = place / "base"
    sizes = {"vocab_size": 259, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    torch.manual_seed(1)
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, **heads, tie_word_embeddings=tied))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight += torch.randn_like(weight)
    model.save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(base)
    export.run(check(export.ExportParams, {"run": str(left(tiny, source, base=base)), "type": "f32"}), place)
    assert told(capfd).metrics["same_answers"] == 1


def test_what_cannot_be_done_is_told_before(tiny: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no adapter or model yet"):
        merge.preflight(check(merge.MergeParams, {"run": str(tmp_path)}))
    left(tiny, source, "prompt")
    for one in (merge.preflight, export.preflight):
        with pytest.raises(BadInput, match="prompt tuning: it puts learned vectors before the text"):
            one(check(merge.MergeParams if one is merge.preflight else export.ExportParams, {"run": str(source)}))
    with pytest.raises(BadInput, match="'gpt_neox'; GGUF is written for llama"):
        gguf_file.check({"model_type": "gpt_neox"})
    with pytest.raises(BadInput, match="stretches its positions"):
        gguf_file.check({"model_type": "llama", "rope_scaling": {"rope_type": "llama3"}})

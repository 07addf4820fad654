"""Batches that lose their finished rows answer as `generate` does, and likelihoods are those of a plain pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadInput
from backend.recipes import device
from backend.recipes.answering import Answerer, Interrupted
from tests.tiny import tiny_model

CPU = device.choose(device.Machine("cpu", "", False, 2))
PROMPTS = ["Once", "The red house of my aunt was", "a b c d e f g", "12", "It", "Why not? Because"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def answerer(place: str) -> Iterator[Answerer]:
    one = Answerer(place, CPU, 4, lambda: False)
    yield one
    one.close()


def all_of(answerer: Answerer, prompts: list, longest: int = 12, stop: str = "") -> list[dict]:
    found = dict(pair for batch in answerer.answers(prompts, longest, stop) for pair in batch)
    return [found[place] for place in range(len(prompts))]


def test_answers_are_those_of_generate(answerer: Answerer) -> None:
    import torch

    answerer.ends = {*answerer.ends, *range(3, 60)}  # so that rows end at different steps
    found = all_of(answerer, PROMPTS)
    lengths = set()
    for prompt, row in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([answerer.ids(prompt)])
        made = answerer.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
            eos_token_id=sorted(answerer.ends), pad_token_id=0,
        )[0, ids.shape[1] :]  # fmt: skip
        assert row["answer"] == answerer.tokenizer.decode(made, skip_special_tokens=True).strip()
        assert row["tokens"] == len(made)
        assert 0 < row["confidence"] < 1
        assert row["seconds"] > 0
        lengths.add(row["tokens"])
    assert len(lengths) > 1


def test_likelihoods_are_those_of_a_plain_pass(answerer: Answerer) -> None:
    import torch

    given = [["x", " and more of it"], ["yes"], ["a", "bb", "ccc"], ["3"], ["is", "was"], ["so"]]
    found = dict(pair for batch in answerer.likelihoods(PROMPTS, given) for pair in batch)
    for place, (prompt, texts) in enumerate(zip(PROMPTS, given, strict=True)):
        for text, row in zip(texts, found[place], strict=True):
            before = answerer.ids(prompt)
            whole = torch.tensor([answerer.ids(f"{prompt} {text}")])
            after = whole[0, len(before) :]
            with torch.inference_mode():
                scores = answerer.model(input_ids=whole).logits[0, len(before) - 1 : -1].log_softmax(-1)
            assert row["log_likelihood"] == pytest.approx(float(scores[range(len(after)), after].sum()), abs=1e-3)
            assert (row["tokens"], row["bytes"]) == (len(after), len(text))


def test_plain_text_begins_with_a_token_of_its_own(answerer: Answerer) -> None:
    ((_, rows),) = next(iter(answerer.likelihoods([""], [["hello"]])))
    assert rows[0]["tokens"] == 5


def test_a_chat_is_templated_and_one_without_a_template_is_refused(answerer: Answerer, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}]
    assert answerer.templated(chat) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    bare = Answerer(str(tiny_model(tmp_path, chat=False)), CPU, 4, lambda: False)
    with pytest.raises(BadInput, match="no chat template"):
        list(bare.answers([chat], 4))


def test_a_prompt_that_is_too_long_fails_alone(answerer: Answerer) -> None:
    rows = all_of(answerer, ["x" * 600, "ok"], 4)
    assert rows[0] == {"error": "the prompt has 600 tokens; with 4 more that is over the model's 512"}
    assert rows[1]["tokens"] > 0


def test_a_row_that_fails_does_not_take_its_batch_along(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = answerer._answer

    def sometimes(ids: list[list[int]], *more: Any) -> list[dict]:
        if answerer.ids("12") in ids:
            raise RuntimeError("no 12 here")
        return real(ids, *more)

    monkeypatch.setattr(answerer, "_answer", sometimes)
    rows = all_of(answerer, PROMPTS, 4)
    assert [row.get("error") for row in rows] == [None, None, None, "RuntimeError: no 12 here", None, None]


def test_stop_ends_an_answer(answerer: Answerer) -> None:
    (whole,) = all_of(answerer, ["Once"], 12)
    middle = whole["answer"][3]
    (cut,) = all_of(answerer, ["Once"], 12, middle)
    assert cut["answer"] == whole["answer"].partition(middle)[0].strip()
    assert cut["tokens"] <= whole["tokens"]


def test_its_owner_can_stop_it_at_any_step(place: str) -> None:
    asked = iter([False, False, True])
    one = Answerer(place, CPU, 4, lambda: next(asked))
    with pytest.raises(Interrupted):
        list(one.answers(PROMPTS, 12))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by an old name
@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_adapters(place: str, kind: str, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, PrefixTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = (
        LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
        if kind == "lora"
        else PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    )
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32), config).eval()
    model.save_pretrained(tmp_path)
    one = Answerer(f"{place} + {tmp_path}", CPU, 2, lambda: False)
    prompts = ["Once", "It was"]
    rows = all_of(one, prompts, 6)
    for prompt, row in zip(prompts, rows, strict=True):
        ids = torch.tensor([one.ids(prompt)])
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, pad_token_id=0
        )[0, ids.shape[1] :]
        assert row["answer"] == one.tokenizer.decode(made, skip_special_tokens=True).strip()
    ((_, judged),) = next(iter(one.likelihoods(["Once"], [["x"]])))
    assert judged[0]["log_likelihood"] < 0


def test_what_is_drawn_depends_on_its_own_seed_alone(place: str) -> None:
    def drawn(batch: int, seeds: list[int], temperature: float = 1.0) -> list[str]:
        one = Answerer(place, CPU, batch, lambda: False)
        found = dict(pair for part in one.answers(PROMPTS, 8, "", temperature, seeds) for pair in part)
        one.close()
        return [found[i]["answer"] for i in range(len(PROMPTS))]

    seeds = list(range(len(PROMPTS)))
    assert drawn(4, seeds) == drawn(1, seeds) == drawn(4, seeds)
    other = drawn(4, [9, *seeds[1:]])
    assert other[0] != drawn(4, seeds)[0]
    assert other[1:] == drawn(4, seeds)[1:]
    assert drawn(4, seeds, 0.0) == drawn(4, [7] * len(PROMPTS), 0.0)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by an old name
def test_rows_share_the_output_layer_with_an_adapter_too(place: str, tmp_path: Path) -> None:
    """PyTorch copied it for each row of a batch, which took most of the time, and 1.8 GB for 32 rows on the starter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.profiler import ProfilerActivity, profile
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")).save_pretrained(tmp_path)
    one = Answerer(f"{place} + {tmp_path}", CPU, 4, lambda: False)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        all_of(one, PROMPTS, 2)
    wide = [event.name for event in seen.events() if [one.model.config.vocab_size] in
            [shape[-1:] for shape in event.input_shapes if shape] and event.name == "aten::bmm"]  # fmt: skip
    one.close()
    assert wide == []

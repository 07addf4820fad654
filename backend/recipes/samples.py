"""Sample answers: a few held-out prompts, answered by the base and by what is being trained."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PROMPT = 512  # tokens of a prompt that are kept, from its end
_BEGINNING = 24  # tokens of plain text that serve as a prompt


@dataclass
class Samples:
    """Prompts with their `references`; `shown` is what a person reads, `templated` what the model gets."""

    tokenizer: PreTrainedTokenizerBase
    new_tokens: int
    shown: list[str] = field(default_factory=list)
    templated: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    base: list[str] | None = None

    def rows(self, model: PreTrainedModel) -> list[dict[str, str]]:
        """{prompt, reference, base, answer} for each prompt. The base is asked once, with the adapter switched off."""
        if self.base is None:
            self.base = self._answers(model, adapter=False) if hasattr(model, "disable_adapter") else []
        answers = self._answers(model)
        base = self.base or [""] * len(answers)
        return [
            {"prompt": prompt, "reference": reference, "base": before, "answer": answer}
            for prompt, reference, before, answer in zip(self.shown, self.references, base, answers, strict=True)
        ]

    def ask_before(self, model: PreTrainedModel) -> None:
        """Ask a model that has not been trained yet: for those that have no way back to the base afterwards."""
        self.base = self._answers(model)

    def _answers(self, model: PreTrainedModel, adapter: bool = True) -> list[str]:
        """All prompts at once, greedy. Leaves the random state and the model's mode as they were."""
        import torch

        device = next(model.parameters()).device
        inputs = self.tokenizer(
            self.templated, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        inputs = {name: tensor[:, -_PROMPT:].to(device) for name, tensor in inputs.items()}
        training = model.training
        model.eval()
        try:
            with (
                torch.random.fork_rng(enabled=device.type != "mps"),
                torch.no_grad(),
                nullcontext() if adapter else model.disable_adapter(),
            ):
                made = model.generate(
                    **inputs,
                    max_new_tokens=self.new_tokens,
                    do_sample=False,
                    num_beams=1,
                    use_cache=True,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
        finally:
            model.train(training)
        new = made[:, inputs["input_ids"].shape[1] :]
        return [answer.strip() for answer in self.tokenizer.batch_decode(new, skip_special_tokens=True)]


def pick(rows: Dataset | None, count: int, tokenizer: PreTrainedTokenizerBase, new_tokens: int) -> Samples | None:
    """The first `count` of the held-out `rows`, in TRL's form; None when there are none."""
    if rows is None or not count:
        return None
    found = Samples(tokenizer, new_tokens)
    for row in rows.select(range(min(count, len(rows)))):
        shown, templated, reference = _parts(row, tokenizer)
        found.shown.append(shown)
        found.templated.append(templated)
        found.references.append(reference)
    return found


def _parts(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> tuple[str, str, str]:
    """(what is shown, what the model gets, what it should say)."""
    if "text" in row:
        ids = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        cut = min(_BEGINNING, max(1, len(ids) // 2))
        start = tokenizer.decode(ids[:cut])
        return start, (tokenizer.bos_token or "") + start, tokenizer.decode(ids[cut:])
    if "messages" in row:
        last = max(i for i, message in enumerate(row["messages"]) if message["role"] == "assistant")
        prompt, reference = row["messages"][:last], row["messages"][last]["content"]
    else:
        answer = row.get("reference") or row.get("chosen") or row.get("completion") or ""
        if not row.get("label", True):
            answer = ""  # it was not liked
        prompt = row.get("prompt")
        if prompt is None:  # it begins both answers, as messages
            prompt, answer = answer[:-1], answer[-1:]
        reference = answer if isinstance(answer, str) else answer[-1]["content"]
        if isinstance(prompt, str):
            return prompt, prompt, reference
    asked = [message["content"] for message in prompt if message["role"] == "user"]
    templated = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) if prompt else ""
    return asked[-1] if asked else "", templated or tokenizer.bos_token or tokenizer.eos_token, reference

"""What a finished run left, to be made into something else: an adapter on its base, or a whole model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput, NotFound
from backend.recipes import device, loading
from backend.recipes.data import short_name
from backend.recipes.training import ADAPTER, MODEL

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MERGEABLE = ("LORA", "IA3")  # PEFT's names of adapters that become part of the weights
_NEW_TOKENS = 24
_ASKED = (
    "What is the capital of France?",
    "Write July 27, 1968 as an ISO date.",
    "Which is larger, 17 or 71?",
    "Name three colours.",
    'Give the plural of "leaf".',
    "Once upon a time there was",
)


@dataclass(frozen=True)
class Outcome:
    """`base` is a model's name or folder; `adapter` the folder on top of it, if there is one."""

    base: str
    adapter: Path | None
    kind: str = ""  # PEFT's name of the adapter
    task: str = "CAUSAL_LM"  # and of what the model is for

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """Of a run's folder. Raises NotFound where there is nothing yet."""
        if (folder / MODEL / "config.json").is_file():
            kinds = json.loads((folder / MODEL / "config.json").read_text()).get("architectures") or [""]
            task = "SEQ_CLS" if str(kinds[0]).endswith("ForSequenceClassification") else "CAUSAL_LM"
            return cls(str(folder / MODEL), None, "", task)
        try:
            entries = json.loads((folder / ADAPTER / "adapter_config.json").read_text())
            base = json.loads((folder / "params.json").read_text())["model"]
        except (OSError, ValueError, KeyError):
            raise NotFound(
                f"Run {folder.name} has made no adapter or model yet.",
                "Wait for its first saved one, or stop it with Save.",
                "run.nothing",
            ) from None
        return cls(str(base), folder / ADAPTER, str(entries["peft_type"]), str(entries.get("task_type") or "CAUSAL_LM"))

    def must_merge(self) -> None:
        """Raises BadInput for an adapter that can't become part of the weights."""
        if self.adapter is not None and self.kind not in MERGEABLE:
            raise BadInput(
                f"The adapter is {self.kind.lower().replace('_', ' ')}: it puts learned vectors before the text, and "
                "no weights of the base could do the same.",
                "Use the adapter as it is, or train LoRA or IA³.",
                "merge.virtual_tokens",
            )

    def config(self) -> dict[str, Any]:
        """The model's config.json where it is on this disk, else {}."""
        from backend.starter import locate

        path = Path(locate(self.base)).expanduser() / "config.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def load(self) -> PreTrainedModel:
        """The model in fp32, its adapter on it."""
        model = loading.model(self.base, device.choose(device.Machine(), "fp32"), scores=self.task == "SEQ_CLS")
        if self.adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(self.adapter))
        found: PreTrainedModel = model.eval()
        return found

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """As it was in training."""
        from transformers import AutoTokenizer

        place = str(self.adapter) if self.adapter else self.base
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        return found

    def __str__(self) -> str:
        return short_name(self.base) + (f" with its {self.kind.lower()} adapter" if self.adapter else "")


@dataclass(frozen=True)
class Said:
    """What a model says to some prompts: token ids of prompt and greedy answer, and the logits over all of them."""

    ids: list[list[int]]
    logits: list[Tensor]


def asked(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Prompts for a comparison, as token ids: chats where the tokenizer has a template."""
    if not tokenizer.chat_template:
        return [tokenizer(text)["input_ids"] for text in _ASKED]
    chats = [[{"role": "user", "content": text}] for text in _ASKED]
    return [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"] for chat in chats
    ]


def say(model: PreTrainedModel, prompts: Sequence[list[int]], writes: bool = True) -> Said:
    """Greedy answers of a few tokens (none of a model that only scores), and the logits along prompt and answer."""
    import torch

    found, logits = [], []
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([prompt])
            if writes:
                mask = torch.ones_like(ids)
                ids = model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=_NEW_TOKENS, do_sample=False, pad_token_id=0
                )
            found.append(ids[0].tolist())
            logits.append(model(input_ids=ids).logits[0].float())
    return Said(found, logits)


def parity(before: Said, model: PreTrainedModel, prompts: Sequence[list[int]], writes: bool = True) -> dict[str, float]:
    """How alike `model` is: share of greedy answers that are the same, of places whose likeliest token is, and the
    largest difference of a logit along the earlier answers."""
    import torch

    after = say(model, prompts, writes)
    with torch.inference_mode():
        again = [model(input_ids=torch.tensor([ids])).logits[0].float() for ids in before.ids]
    alike = [(one.argmax(-1) == other.argmax(-1)).float() for one, other in zip(before.logits, again, strict=True)]
    apart = [(one - other).abs().max() for one, other in zip(before.logits, again, strict=True)]
    same = [one == other for one, other in zip(before.ids, after.ids, strict=True)]
    return {
        "same_answers": sum(same) / len(same),
        "same_tokens": float(torch.cat([one.flatten() for one in alike]).mean()),
        "logit_difference": float(torch.stack(apart).max()),
    }

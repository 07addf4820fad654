"""What an answer is worth: named functions in `REWARDS`, or a model that a reward run trained.

A setting `reward` names one: `exact`, `length:20` (a name and its value), or where a reward model is (`run/ID`, which
the Lab turns into its folder). `scorer` turns the setting into a function of prompts, completions and references
that PPO asks; `for_trl` makes of that what GRPO and RLOO ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import BadInput, NotFound
from backend.recipes import data, device, loading
from backend.recipes.params import TrainParams

Text = str | Sequence[dict[str, str]]  # plain, or messages
Scorer = Callable[[Sequence[Text], Sequence[Text], Sequence[str]], list[float]]
_BATCH = 16  # texts that a reward model reads at a time


@dataclass(frozen=True)
class Reward:
    """A reward by name. `score(prompt, completion, reference, value)` is pure; `value` is what follows the colon."""

    title: str
    about: str
    score: Callable[[str, str, str, str], float]
    reference: bool = False  # whether it compares with the answer that the data hold
    value: str = ""  # its value where none is given; '' when it takes none
    check: Callable[[str], Any] = str  # raises ValueError for a value that makes no sense


def exact(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """1 for the reference itself, white space at the ends aside; else 0."""
    return float(completion.strip() == reference.strip())


def contains(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """1 when the reference is somewhere in the answer, in capitals or not; else 0."""
    return float(reference.strip().casefold() in completion.casefold())


def overlap(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """F1 of the answer's words and the reference's, as SQuAD counts it (Rajpurkar et al. 2016, 1606.05250): 0 to 1."""
    said, wanted = (re.findall(r"\w+", text.casefold()) for text in (completion, reference))
    common = sum(min(said.count(word), wanted.count(word)) for word in set(said))
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def short(prompt: str, completion: str, reference: str, value: str = "40") -> float:
    """1 up to `value` characters, then the less the longer: 0.5 at twice as many. Nothing said is worth 0."""
    size = len(completion.strip())
    return min(1.0, float(value) / size) if size else 0.0


def length(prompt: str, completion: str, reference: str, value: str = "20") -> float:
    """1 for `value` words, falling evenly to 0 for none and for twice as many."""
    return max(0.0, 1 - abs(len(completion.split()) - float(value)) / float(value))


def valid_json(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """1 for an answer that is JSON, object or list; else 0."""
    try:
        return float(isinstance(json.loads(completion), dict | list))
    except ValueError:
        return 0.0


def regex(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """1 when the whole answer matches the pattern; else 0."""
    return float(re.fullmatch(value, completion.strip(), re.DOTALL) is not None)


def words(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """The share of the words in `value`, with commas between, that the answer has."""
    wanted = [word.strip().casefold() for word in value.split(",") if word.strip()]
    return sum(word in completion.casefold() for word in wanted) / len(wanted)


def varied(prompt: str, completion: str, reference: str, value: str = "") -> float:
    """The share of different words among all: 1 when none comes twice."""
    said = completion.casefold().split()
    return len(set(said)) / len(said) if said else 0.0


def _above_zero(value: str) -> None:
    if float(value) <= 0:
        raise ValueError("it must be a number above 0")


def _some_words(value: str) -> None:
    if not value.replace(",", "").strip():
        raise ValueError("it must be words with commas between")


REWARDS: dict[str, Reward] = {
    "exact": Reward("Exact answer", "1 for the reference answer itself, else 0.", exact, reference=True),
    "contains": Reward(
        "Contains the reference", "1 when the answer has the reference in it.", contains, reference=True
    ),
    "overlap": Reward("Words of the reference", "F1 of the words shared with the reference.", overlap, reference=True),
    "short": Reward("Short", "1 up to so many characters, less for more.", short, value="40", check=_above_zero),
    "length": Reward("Length", "1 for so many words, less the further off.", length, value="20", check=_above_zero),
    "json": Reward("Valid JSON", "1 for an answer that is JSON, else 0.", valid_json),
    "regex": Reward("Pattern", "1 when the answer matches a regular expression.", regex, value=".+", check=re.compile),
    "words": Reward("Has the words", "Share of given words in the answer.", words, value="thank", check=_some_words),
    "varied": Reward("No repetition", "Share of different words in the answer.", varied),
}


def check(reward: str, references: bool = True) -> None:
    """That `reward` names something which can be asked; `references` says whether the data hold answers.

    Raises BadInput, or NotFound for a folder without a reward model.
    """
    if is_place(reward):
        _reward_folder(reward)
        return
    found, value = _named(reward)
    try:
        found.check(value)
    except (ValueError, re.error) as error:
        raise BadInput(
            f"reward is {reward!r}; {value!r} won't do: {error}.", "Correct what is after the colon."
        ) from None
    if found.reference and not references:
        free = ", ".join(name for name, one in REWARDS.items() if not one.reference)
        raise BadInput(
            f"reward is {reward!r}, which compares with a reference answer, and the data hold none.",
            f"Choose data with answers, or one of {free}, or a reward model.",
            "reward.reference",
        )


def fits(reward: str, params: TrainParams, wants: Sequence[data.Kind]) -> None:
    """That `reward` can be asked about the data of `params`, read as `wants`. Raises as `check`, and what data do."""
    shape = data.check(params, wants)
    check(reward, references=shape is None or "reference" in shape.columns)


def scorer(reward: str, machine: device.Device | None = None) -> Scorer:
    """What `reward` says of answers: a score for each. A model is loaded here. Raises as `check`."""
    check(reward)
    if is_place(reward):
        return RewardModel(reward, machine)
    found, value = _named(reward)

    def score(prompts: Sequence[Text], completions: Sequence[Text], references: Sequence[str]) -> list[float]:
        rows = zip(prompts, completions, references, strict=True)
        return [found.score(last_words(p), last_words(c), reference, value) for p, c, reference in rows]

    return score


def for_trl(score: Scorer, name: str = "reward") -> Callable[..., list[float]]:
    """`score` as a function of TRL's GRPO and RLOO; references are in the dataset's column `reference`, if any."""

    def reward(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        return score(prompts, completions, columns.get("reference") or [""] * len(completions))

    reward.__name__ = name.partition(":")[0]
    return reward


def last_words(text: Text) -> str:
    """A text itself, or what the last of its messages says."""
    return text if isinstance(text, str) else text[-1]["content"] if text else ""


class RewardModel:
    """A model with one output that was trained on preferences: on top of a base as an adapter, or whole.

    Reads prompt and completion as in its training: through the chat template, or one after the other with the
    end-of-text token. Raises NotFound, BadInput, Gated, HubError.
    """

    def __init__(self, folder: str, machine: device.Device | None = None) -> None:
        from transformers import AutoTokenizer

        place = _reward_folder(folder)
        entries = _json(place / "adapter_config.json")
        chosen = machine or device.choose(device.Machine())
        self.tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        model = loading.model(str(entries.get("base_model_name_or_path") or place), chosen, scores=True)
        model.config.pad_token_id = self.tokenizer.pad_token_id
        if entries:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(place))
        self.model = model.eval().to(chosen.device)

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], references: Sequence[str]) -> list[float]:
        """The model's output for each, `references` unread."""
        import torch

        texts = [self._text(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        scores = [0.0] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike in length: little padding
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            inputs = self.tokenizer(
                [texts[i] for i in rows],
                padding=True,
                padding_side="right",
                add_special_tokens=False,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                said = self.model(**inputs).logits[:, 0].float().tolist()
            for i, score in zip(rows, said, strict=True):
                scores[i] = score
        return scores

    def _text(self, prompt: Text, completion: Text) -> str:
        if isinstance(prompt, str) and isinstance(completion, str) and not self.tokenizer.chat_template:
            return prompt + completion + str(self.tokenizer.eos_token)
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        after = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion)
        return str(self.tokenizer.apply_chat_template(before + after, tokenize=False))


def _named(reward: str) -> tuple[Reward, str]:
    """(what, value) of `NAME` or `NAME:VALUE`. Raises BadInput."""
    name, colon, value = reward.partition(":")
    found = REWARDS.get(name.strip())
    if found is None:
        raise BadInput(
            f"reward is {reward!r}; there is no such reward.",
            f"Choose one of {', '.join(REWARDS)}, or run/ID of a reward run.",
            "reward.unknown",
        )
    if colon and not found.value:
        raise BadInput(f"reward is {reward!r}; {name} takes no value.", f"Write {name} alone.", "reward.unknown")
    return found, value.strip() or found.value


def is_place(reward: str) -> bool:
    """Whether it is where a model is, and not a name of REWARDS."""
    return reward.startswith(("/", "~", ".", "run/"))


def _reward_folder(reward: str) -> Path:
    """The folder of a reward model, adapter or whole. Raises NotFound, BadInput."""
    folder = Path(reward).expanduser()
    adapter, whole = _json(folder / "adapter_config.json"), _json(folder / "config.json")
    if not adapter and not whole:
        raise NotFound(f"There is no reward model in {folder.name!r}.", "Name run/ID of a finished reward run.")
    kinds = [str(adapter.get("task_type"))] if adapter else [str(kind) for kind in whole.get("architectures") or ()]
    if not any(kind == "SEQ_CLS" or kind.endswith("ForSequenceClassification") for kind in kinds):
        raise BadInput(
            f"{folder.name!r} holds a model that writes ({', '.join(kinds) or 'unknown'}), not one that scores.",
            "Name run/ID of a run of the method reward.",
            "reward.not_scoring",
        )
    return folder


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; {} where there is none."""
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}

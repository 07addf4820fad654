"""A model asked in batches: answers, and how likely it holds given ones.

Questions of like length go together. A row that has ended leaves its batch, so the rest go on faster. Choices that
share a prompt read it once, and only the tokens that are judged are projected into the vocabulary.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput
from backend.recipes import loading
from backend.recipes.device import Device
from backend.recipes.prepacked import prepack
from backend.recipes.questions import Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = dict[str, Any]
Stopped = Callable[[], bool]  # asked at every step
_JUDGED = 2048  # tokens judged at once: their logits are held


class Interrupted(Exception):
    """Its owner wants it to stop."""


class Answerer:
    """A loaded model with its adapter, if any. `place` is MODEL, or MODEL + ADAPTER."""

    def __init__(self, place: str, device: Device, batch: int, stopped: Stopped) -> None:
        import torch

        base, _, adapter = place.partition(" + ")
        self.device = torch.device(device.device)
        self.batch = batch
        self.stopped = stopped
        self.tokenizer: PreTrainedTokenizerBase = loading.tokenizer(base)
        self.model: PreTrainedModel = loading.model(base, device).to(self.device).eval()
        if adapter:
            self.model = _with_adapter(self.model, adapter)
        prepack(self.model)
        # Tokens of an adapter that come before the real ones and have no place in our masks and caches.
        self.virtual = bool(getattr(getattr(self.model, "active_peft_config", None), "is_prompt_learning", False))
        config = getattr(self.model, "generation_config", None)
        ends = getattr(config, "eos_token_id", None)
        self.ends = {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends] if ends else [])}
        self.most = int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)

    def close(self) -> None:
        """Let go of the memory."""
        del self.model
        gc.collect()

    def templated(self, prompt: Text) -> str:
        """What the model reads. Raises BadInput for a chat without a template."""
        if isinstance(prompt, str):
            return prompt
        if not self.tokenizer.chat_template:
            raise BadInput(
                "The model has no chat template, and the data are chats.",
                "Choose an instruct model, or data with plain prompts.",
                "model.no_chat_template",
            )
        return str(self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; nothing is one token, so that there is something to go on from."""
        start = self.tokenizer.bos_token_id
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found or [self.tokenizer.eos_token_id if start is None else start]

    # -- answers --------------------------------------------------------------------------------------------------

    def answers(
        self,
        prompts: Sequence[Text],
        longest: int,
        stop: str = "",
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[list[tuple[int, Row]]]:
        """(place of the prompt, {answer, tokens, seconds, confidence}) of each batch.

        Tokens are drawn at a `temperature`, by each prompt's own seed, whatever it is batched with; at 0 the likeliest
        is taken. `stop` ends an answer where it occurs. A row that fails has {error}. Raises Interrupted.
        """
        ids = [self.ids(self.templated(prompt)) for prompt in prompts]

        def work(part: list[int]) -> list[Row]:
            choose = _Choosing(temperature, [seeds[i] if seeds else 0 for i in part])
            return self._answer([ids[i] for i in part], longest, stop, choose)

        yield from self._batches(ids, work, longest)

    def _batches(
        self, ids: Sequence[Sequence[int]], work: Callable[[list[int]], list[Row]], longest: int
    ) -> Iterator[list[tuple[int, Row]]]:
        """Long ones first, so that memory runs out at once or never."""
        fit = [i for i in range(len(ids)) if len(ids[i]) + longest <= self.most]
        if long := sorted(set(range(len(ids))) - set(fit)):
            yield [(i, {"error": self._too_long(len(ids[i]), longest)}) for i in long]
        order = sorted(fit, key=lambda i: -len(ids[i]))
        for begin in range(0, len(order), self.batch):
            part = order[begin : begin + self.batch]
            yield list(zip(part, self._tried(part, work), strict=True))

    def _tried(self, part: list[int], work: Callable[[list[int]], list[Row]]) -> list[Row]:
        """What `work` gives; when a batch fails, its rows one by one, so that the others have their answers."""
        try:
            return work(part)
        except (Interrupted, MemoryError, BadInput):
            raise
        except Exception as error:
            if len(part) == 1:
                return [{"error": f"{type(error).__name__}: {str(error)[:200]}"}]
            return [row for one in part for row in self._tried([one], work)]

    def _too_long(self, tokens: int, longest: int) -> str:
        return f"the prompt has {tokens:,} tokens; with {longest} more that is over the model's {self.most:,}"

    def _answer(self, ids: list[list[int]], longest: int, stop: str, choose: _Choosing) -> list[Row]:
        import torch

        if self.virtual:
            return self._generated(ids, longest, stop, choose)
        made: list[list[int]] = [[] for _ in ids]
        sure, seconds = [0.0] * len(ids), [0.0] * len(ids)
        alive = list(range(len(ids)))  # rows of the batch, by their place in `ids`
        clock = time.perf_counter()
        with torch.inference_mode():
            given, mask = self._padded(ids)
            logits, cache = self._read(given, mask)
            for _ in range(longest):
                if self.stopped():
                    raise Interrupted
                logits = logits.float()
                token = choose(logits, alive)
                chosen = logits.gather(-1, token[:, None]).squeeze(-1)
                chances = (chosen - logits.logsumexp(-1)).tolist()
                now = time.perf_counter()
                share, clock = (now - clock) / len(alive), now
                stay = []
                for place, (row, one, chance) in enumerate(zip(list(alive), token.tolist(), chances, strict=True)):
                    seconds[row] += share
                    sure[row] += chance
                    made[row].append(one)
                    if one not in self.ends and not (stop and stop in self.tokenizer.decode(made[row])):
                        stay.append(place)
                if not stay or len(made[alive[stay[0]]]) >= longest:
                    break
                if len(stay) < len(alive):
                    kept = torch.tensor(stay, device=self.device)
                    cache.batch_select_indices(kept)
                    mask, token = mask[kept], token[kept]
                    alive = [alive[place] for place in stay]
                mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
                logits, cache = self._read(token[:, None], mask, cache)
        return [self._row(tokens, took, chance, stop) for tokens, took, chance in zip(made, seconds, sure, strict=True)]

    def _generated(self, ids: list[list[int]], longest: int, stop: str, choose: _Choosing) -> list[Row]:
        """By `generate`, which knows what virtual tokens of an adapter need; it goes on until the longest has ended."""
        import torch
        from transformers import StoppingCriteriaList

        def check(*_: Any) -> Any:
            if self.stopped():
                raise Interrupted
            return torch.zeros(len(ids), dtype=torch.bool, device=self.device)

        given, mask = self._padded(ids)
        clock = time.perf_counter()
        how: dict[str, Any] = {"do_sample": False}
        if choose.temperature:
            torch.manual_seed(choose.seeds[0])
            how = {"do_sample": True, "temperature": choose.temperature, "top_k": 0, "top_p": 1.0}
        with torch.inference_mode():
            made = self.model.generate(
                input_ids=given,
                attention_mask=mask,
                max_new_tokens=longest,
                **how,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=sorted(self.ends),
                stopping_criteria=StoppingCriteriaList([check]),
            )[:, given.shape[1] :]
        took = (time.perf_counter() - clock) / len(ids)
        rows = []
        for tokens in made.tolist():
            end = next((i + 1 for i, token in enumerate(tokens) if token in self.ends), len(tokens))
            rows.append(self._row(tokens[:end], took, math.nan, stop))
        return rows

    def _row(self, tokens: list[int], seconds: float, sure: float, stop: str) -> Row:
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
        if stop and stop in text:
            text = text.partition(stop)[0].strip()
        return {
            "answer": text,
            "tokens": len(tokens),
            "seconds": round(seconds, 6),
            "confidence": None if math.isnan(sure) else float(f"{math.exp(sure):.6g}"),
        }

    def _padded(self, ids: Sequence[Sequence[int]], left: bool = True) -> tuple[Any, Any]:
        """[rows, longest] of tokens, padded on the left or right, and its mask."""
        import torch

        width, pad = max(map(len, ids)), self.tokenizer.pad_token_id
        empty = [[pad] * (width - len(one)) for one in ids]
        rows = [[*fill, *one] if left else [*one, *fill] for fill, one in zip(empty, ids, strict=True)]
        marks = [[0] * (width - len(one)) + [1] * len(one) for one in ids]
        marks = marks if left else [mark[::-1] for mark in marks]
        return torch.tensor(rows, device=self.device), torch.tensor(marks, device=self.device)

    def _read(self, given: Any, mask: Any, cache: Any = None, all_of_them: bool = False) -> tuple[Any, Any]:
        """The logits after the last token (or all of them), and the cache."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config) if cache is None else cache
        places = (mask.cumsum(-1) - 1).clamp(min=0)[:, -given.shape[1] :]
        out = self.model(
            input_ids=given,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=0 if all_of_them else 1,
        )
        return out.logits if all_of_them else out.logits[:, -1], cache

    # -- likelihood -----------------------------------------------------------------------------------------------

    def likelihoods(
        self, prompts: Sequence[Text], given: Sequence[Sequence[str]]
    ) -> Iterator[list[tuple[int, list[Row] | Row]]]:
        """(place, a row for each of its `given` texts: {log_likelihood, tokens, bytes}), batch by batch.

        A row that fails has {error} alone. Raises Interrupted.
        """
        pairs = [
            [self._pair(self.templated(prompt), isinstance(prompt, str), text) for text in texts]
            for prompt, texts in zip(prompts, given, strict=True)
        ]
        lengths = [[0] * (len(of[0][0]) + max(len(after) for _, after in of)) for of in pairs]

        def work(part: list[int]) -> list[Row]:
            if self.stopped():
                raise Interrupted
            found = self._judge([pairs[i] for i in part])
            return [
                {"of": [self._told(*one) for one in zip(of, given[i], strict=True)]}
                for of, i in zip(found, part, strict=True)
            ]

        for rows in self._batches(lengths, work, 0):
            yield [(place, row.get("of", row)) for place, row in rows]

    def _told(self, found: tuple[float, int], text: str) -> Row:
        return {"log_likelihood": round(found[0], 6), "tokens": found[1], "bytes": len(text.encode())}

    def _pair(self, prompt: str, plain: bool, text: str) -> tuple[list[int], list[int]]:
        """Tokens before and of `text`. White space between the two belongs to the text, as tokenizers have it."""
        if plain and prompt:
            bare = prompt.rstrip()
            text = (prompt[len(bare) :] or " ") + text
            prompt = bare
        before = self.ids(prompt)
        whole = self.ids(prompt + text) if prompt else [*before, *self.ids(text)]
        return before, whole[len(before) :] or self.ids(text)

    def _judge(self, pairs: Sequence[Sequence[tuple[list[int], list[int]]]]) -> list[list[tuple[float, int]]]:
        """(log-likelihood, tokens) of each continuation. All of a row share the tokens before."""
        import torch

        tokens = sum(len(of) * max(len(after) for _, after in of) for of in pairs)
        if tokens > _JUDGED and len(pairs) > 1:
            half = len(pairs) // 2
            return [*self._judge(pairs[:half]), *self._judge(pairs[half:])]
        if self.virtual:
            return [[self._judge_whole(*one) for one in of] for of in pairs]
        with torch.inference_mode():
            before, mask = self._padded([of[0][0] for of in pairs])
            first, cache = self._read(before, mask)
            owner = [place for place, of in enumerate(pairs) for _ in of]
            after = [continuation for of in pairs for _, continuation in of]
            spread = torch.tensor(owner, device=self.device)
            first = first[spread].float()
            found = [float(one) for one in first.log_softmax(-1)[range(len(after)), [one[0] for one in after]]]
            if any(len(one) > 1 for one in after):
                cache.batch_select_indices(spread)
                rest, rest_mask = self._padded([one[:-1] or [self.tokenizer.pad_token_id] for one in after], left=False)
                logits, _ = self._read(rest, torch.cat([mask[spread], rest_mask], dim=1), cache, all_of_them=True)
                for row, one in enumerate(after):
                    if len(one) > 1:
                        scores = logits[row, : len(one) - 1].float().log_softmax(-1)
                        found[row] += float(scores[range(len(one) - 1), one[1:]].sum())
        told = iter(zip(found, map(len, after), strict=True))
        return [[next(told) for _ in of] for of in pairs]

    def _judge_whole(self, before: list[int], after: list[int]) -> tuple[float, int]:
        """One continuation, read together with what is before it."""
        import torch

        with torch.inference_mode():
            given = torch.tensor([before + after], device=self.device)
            logits = self.model(input_ids=given, attention_mask=torch.ones_like(given)).logits
            scores = logits[0, -len(after) - 1 : -1].float().log_softmax(-1)
            return float(scores[range(len(after)), after].sum()), len(after)


class _Choosing:
    """Which token comes next, for the rows of a batch."""

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        import torch

        self.temperature, self.seeds = temperature, seeds
        self.draws = [torch.Generator().manual_seed(seed) for seed in seeds] if temperature else []

    def __call__(self, logits: Any, alive: Sequence[int]) -> Any:
        """[rows] of tokens for logits [rows, vocabulary]; `alive` are the places of these rows in the batch."""
        import torch

        if not self.temperature:
            return logits.argmax(-1)
        chances = (logits / self.temperature).softmax(-1).cpu()
        drawn = [torch.multinomial(one, 1, generator=self.draws[row]) for row, one in zip(alive, chances, strict=True)]
        return torch.cat(drawn).to(logits.device)


def _with_adapter(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    from peft import PeftModel

    with loading.hub_errors(adapter):
        found: PreTrainedModel = PeftModel.from_pretrained(model, adapter).eval()
    loading.share_head(found)
    return found

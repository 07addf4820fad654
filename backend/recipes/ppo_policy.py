"""The model that PPO trains: it writes answers, says how probable each token was, and what it expects to earn.

Base, adapter and value head share one pass: the head is a linear layer on what the language model's own output layer
reads. With the adapter switched off the same weights are the base that answers may not leave too far.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VALUE_HEAD = "value_head.safetensors"
_WRITERS = 64  # answers that are written at once, at most


@dataclass(frozen=True)
class Answer:
    """Token ids of a prompt and of what was said, the end token included when it came (`ended`)."""

    prompt: list[int]
    said: list[int]
    ended: bool


@dataclass(frozen=True)
class Reading:
    """What one pass tells of answers: rows × tokens, 0 where an answer is over already."""

    mask: Tensor
    logprobs: Tensor
    values: Tensor
    entropy: Tensor | None = None


class Policy:
    """`model` with a value head. Its base is itself without its adapter.

    Where it `starts_trained` its base is itself as it was at the start, of which a copy is kept: all weights are
    trained then, or an earlier run's adapter is trained on.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        temperature: float = 1.0,
        starts_trained: bool = False,
    ) -> None:
        import torch

        self.model = model
        self.tokenizer = tokenizer
        self.temperature = temperature
        self.start = (
            {name: weight.detach().clone() for name, weight in self.trained().items()} if starts_trained else {}
        )
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # the ratio of the new policy to the old must be 1 where nothing has been learned
        size = model.get_output_embeddings().weight.shape[1]
        self.head = torch.nn.Linear(size, 1, device=model.device, dtype=torch.float32)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        ends = model.generation_config.eos_token_id
        self.ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}

    # -- writing ------------------------------------------------------------------------------------------------

    def answers(self, prompts: Sequence[list[int]], new_tokens: int, greedy: bool = False) -> list[Answer]:
        """An answer to each prompt of at most `new_tokens`, drawn at the policy's temperature or greedy.

        Prompts alike in length are written together, so that few steps are spent on padding.
        """
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        found: dict[int, Answer] = {}
        for start in range(0, len(order), _WRITERS):
            rows = order[start : start + _WRITERS]
            found |= zip(rows, self._write([prompts[i] for i in rows], new_tokens, greedy), strict=True)
        return [found[i] for i in range(len(prompts))]

    def _write(self, prompts: list[list[int]], new_tokens: int, greedy: bool) -> list[Answer]:
        """One batch, padded on the left: answers begin in the same column."""
        import torch

        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        # Drawn from all that the policy says: with top_k and the like the log-probabilities would be another's.
        drawn: dict[str, Any] = {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Position ids are not supported")  # PEFT's, of virtual tokens
                made = self.model.generate(
                    input_ids=ids.to(self.model.device),
                    attention_mask=mask.to(self.model.device),
                    max_new_tokens=new_tokens,
                    eos_token_id=sorted(self.ends),
                    pad_token_id=pad,
                    num_beams=1,
                    use_cache=True,
                    repetition_penalty=1.0,
                    **({"do_sample": False} if greedy else drawn),
                )
        finally:
            self.model.train(training)
        return [
            self._cut(p, said) for p, said in zip(prompts, made[:, -(made.shape[1] - width) :].tolist(), strict=True)
        ]

    def _cut(self, prompt: list[int], said: list[int]) -> Answer:
        """What was said up to and with its end token."""
        end = next((place for place, token in enumerate(said) if token in self.ends), None)
        return Answer(prompt, said if end is None else said[: end + 1], end is not None)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, answers: Sequence[Answer], base: bool = False, entropy: bool = False) -> Reading:
        """Log-probabilities (at the policy's temperature) and values of the tokens said; of the `base` no values.

        Padded on the right, where nothing looks. Only what predicts an answer's tokens goes through the output layer:
        over a vocabulary of 50,000 that saves most of its work.
        """
        import torch
        from torch.nn import functional

        rows, width = len(answers), max(len(one.prompt) + len(one.said) for one in answers)
        device = self.model.device
        ids = torch.full((rows, width), self.tokenizer.pad_token_id)
        seen = torch.zeros((rows, width), dtype=torch.long)
        predicts = torch.zeros((rows, width), dtype=torch.bool)
        for row, one in enumerate(answers):
            whole = one.prompt + one.said
            ids[row, : len(whole)] = torch.tensor(whole)
            seen[row, : len(whole)] = 1
            predicts[row, len(one.prompt) - 1 : len(whole) - 1] = True
        said = torch.tensor([token for one in answers for token in one.said], device=device)
        lengths = torch.tensor([len(one.said) for one in answers])
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).to(device)
        predicts = predicts.to(device)

        held: list[Tensor] = []

        def pick(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor]:
            """Virtual tokens of an adapter come before the real ones, hence counted from the end."""
            held.append(given[0][:, -width:][predicts])
            return (held[0],)

        hook = self.model.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            with self._as_base() if base else nullcontext():
                logits = self.model(input_ids=ids.to(device), attention_mask=seen.to(device), use_cache=False).logits
        finally:
            hook.remove()
        logits = logits.float() / self.temperature
        chances = logits.log_softmax(-1)

        def spread(flat: Tensor) -> Tensor:
            return torch.zeros(mask.shape, device=device).masked_scatter(mask, flat)

        values = torch.zeros(mask.shape, device=device)
        if not base:
            hidden = held[0].float()  # of one scale whatever the model: the head need not learn it
            values = spread(self.head(functional.layer_norm(hidden, hidden.shape[-1:])).squeeze(-1))
        surprise = spread(-(chances.exp() * chances).sum(-1)) if entropy else None
        return Reading(mask, spread(chances.gather(-1, said[:, None]).squeeze(-1)), values, surprise)

    @contextmanager
    def _as_base(self) -> Iterator[None]:
        if not self.start:
            with self.model.disable_adapter():
                yield
            return
        now = {name: weight.data for name, weight in self.trained().items()}
        try:
            for name, weight in self.trained().items():
                weight.data = self.start[name]
            yield
        finally:
            for name, weight in self.trained().items():
                weight.data = now[name]

    # -- keeping ------------------------------------------------------------------------------------------------

    def trained(self) -> dict[str, Tensor]:
        """The weights that are learned, by name: the adapter's (or all), in their own precision."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def parameters(self) -> list[Tensor]:
        """All that is learned, the value head's with it."""
        return [*self.trained().values(), *self.head.parameters()]

    def save(self, folder: Path) -> None:
        """Write what is learned to `folder`."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: weight.detach().contiguous() for name, weight in self.trained().items()},
            folder / "trained.safetensors",
        )
        save_file(self.head.state_dict(), folder / VALUE_HEAD)

    def load(self, folder: Path) -> None:
        """Take in what `save` wrote."""
        import torch
        from safetensors.torch import load_file

        held = load_file(folder / "trained.safetensors")
        with torch.no_grad():
            for name, weight in self.trained().items():
                weight.copy_(held[name])
        self.head.load_state_dict(load_file(folder / VALUE_HEAD))

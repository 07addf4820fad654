"""Chat and completion: what can be asked, and the engine that answers token by token."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from backend import events as ev
from backend.engines.batch import Member
from backend.engines.decoding import Decoding
from backend.engines.line import PLACES
from backend.engines.prefixes import Prefixes
from backend.engines.shelf import Shelf
from backend.engines.spelling import Speller
from backend.engines.structured import Fitting, known, read
from backend.engines.voices import Voice, Words
from backend.errors import BadInput
from backend.recipes.params import filled
from backend.starter import MODEL_ID

_PREFIX_BYTES = 512_000_000  # kept for prompts that go on
_TELL_SECONDS = 0.5  # between two Measured
_LONGEST = 4_000_000  # characters; more is no message but an accident

Answer = Generator[ev.Event, None, None]


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: str, info: ValidationInfo) -> str:
        """An answer may be empty: it was stopped before its first word."""
        if not content.strip() and info.data.get("role") != "assistant":
            raise ValueError("write something")
        return content


class _Asked(BaseModel):
    """Who is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(MODEL_ID, title="Model", description="A Hub id or a folder")
    adapter: str = Field("", title="Adapter", description="A PEFT adapter made for the model: a Hub id or a folder")

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, values: Any) -> Any:
        return filled(values)


class InspectParams(_Asked):
    """A conversation with a model: what `inspect` turns into the prompt that the model reads."""

    system: str = Field("", title="System prompt", description="What the model is told before the conversation")
    continue_final: bool = Field(True, title="Continue", description="Write on where a last answer stopped")
    messages: list[Message] = Field(min_length=1, description="The conversation, oldest first")

    @field_validator("messages")
    @classmethod
    def _conversation(cls, messages: list[Message], info: ValidationInfo) -> list[Message]:
        system = str(info.data.get("system", ""))
        for number, message in enumerate(messages):
            if message.role == "system" and (number or system.strip()):
                raise ValueError(f"number {number} is a second system prompt; leave one, at the beginning")
        length = sum(len(message.content) for message in messages) + len(system)
        if length > _LONGEST:
            raise ValueError(f"it has {length:,} characters; use at most {_LONGEST:,}")
        return messages

    @property
    def turns(self) -> list[dict[str, str]]:
        """The conversation as a chat template takes it."""
        first = [{"role": "system", "content": self.system}] if self.system.strip() else []
        return first + [message.model_dump() for message in self.messages]

    @property
    def continues(self) -> bool:
        """Whether the answer goes on from the last message."""
        return self.continue_final and self.messages[-1].role == "assistant"


class Writing(_Asked):
    """How an answer is written, in the words of `generate`."""

    max_new_tokens: int = Field(
        256, ge=1, le=8192, title="Longest answer", description="In tokens, of which a word is one or two"
    )
    temperature: float = Field(
        0.7, ge=0, le=2, title="Temperature", description="0 always takes the likeliest token; more is more varied"
    )
    top_p: float = Field(
        0.95, gt=0, le=1, title="Top-p", description="Draws only from the likeliest tokens that add up to this"
    )
    top_k: int = Field(0, ge=0, le=1000, title="Top-k", description="Draws only from so many likeliest tokens; 0: all")
    repetition_penalty: float = Field(
        1.0, ge=0.5, le=2, title="Repetition penalty", description="Above 1, tokens that occurred become less likely"
    )
    seed: int = Field(0, ge=0, lt=2**63, title="Seed", description="The same seed and settings give the same answer")
    exact: bool = Field(
        False,
        title="Exact",
        description="Answer by transformers' own modules: slower, and to the last bit what `generate` gives",
    )
    alternatives: int = Field(
        0, ge=0, le=10, title="Alternatives", description="How many likely tokens to tell beside each one; 0: none"
    )
    json_schema: str = Field(
        "", title="JSON schema", description="The answer is JSON that fits this schema; empty: any text"
    )

    @field_validator("temperature")
    @classmethod
    def _not_next_to_nothing(cls, temperature: float) -> float:
        if 0 < temperature < 0.01:
            raise ValueError("use 0, or at least 0.01")
        return temperature


class CompleteParams(Writing):
    """Text that goes on from `prompt`, which the model reads as it is."""

    prompt: str = Field(min_length=1, max_length=_LONGEST, title="Prompt", description="The beginning of the text")


class ChatParams(Writing, InspectParams):
    """One answer. `messages` end with one of the user, or with an answer that is to be continued."""

    @field_validator("messages")
    @classmethod
    def _answerable(cls, messages: list[Message], info: ValidationInfo) -> list[Message]:
        last = messages[-1]
        if last.role == "assistant" and info.data.get("continue_final"):
            if not last.content.strip():
                raise ValueError("the answer to continue is empty; remove it, or write its beginning")
        elif last.role != "user":
            raise ValueError(f"the last message is of the {last.role}; end with one of the user")
        return messages


Request = InspectParams | CompleteParams | ChatParams
_LENGTHY: dict[type[BaseModel], tuple[str, str]] = {
    ChatParams: ("The conversation", "Shorten the messages or the system prompt, or begin a new chat."),
    CompleteParams: ("The prompt", "Shorten it."),
}


class TextEngine:
    """Answers chats, completions and inspections. Many streams may be open, advanced by one thread in turn."""

    def __init__(self) -> None:
        self._prefixes = {"plain": Prefixes(_PREFIX_BYTES // 2), "packed": Prefixes(_PREFIX_BYTES // 2)}
        self.shelf = Shelf(forget=self._forget)

    def _forget(self, key: Hashable) -> None:
        for prefixes in self._prefixes.values():
            prefixes.forget(key)

    def load(self, model: str, adapter: str | None = None, say: Callable[[str], None] = lambda text: None) -> None:
        """Have model and adapter in memory. Raises NotFound, Gated, HubError, NoRoom, BadInput."""
        self.shelf.load(model, adapter or "", say)

    def ready(self, request: Request) -> bool:
        """Whether `stream` would begin without loading anything."""
        if isinstance(request, Writing):
            words = self.shelf.known(request.model)
            fits = not request.json_schema or (words is not None and known(words))
            return fits and self.shelf.has(request.model, request.adapter)
        return self.shelf.known(request.model) is not None

    def prepare(self, request: Request, say: Callable[[str], None] = lambda text: None) -> None:
        """Load what `request` needs. Raises what `load` raises."""
        if isinstance(request, Writing):
            self.shelf.load(request.model, request.adapter, say)
            if request.json_schema:
                read(self.shelf.words(request.model))
        else:
            self.shelf.words(request.model, say)

    def places(self, request: Request) -> int:
        """How many of the line's places an answer takes: one where many are written in one step, else an eighth."""
        if not isinstance(request, Writing):
            return 0
        with self.shelf.use(request.model, request.adapter) as voice:
            return 1 if voice.batch is not None and not request.exact else PLACES // 8

    def stream(self, request: Request) -> Answer:
        """The answer, event by event; one decoding step or less between two of them.

        It is Started, then `Wrote` for each piece (empty for a step that completes no text), Progressed while a long
        prompt is read, Measured twice a second, and Finished with the reason `stop`, `length` or `context`;
        with a `json_schema` its values say whether the JSON is `complete`.
        An inspection gives Finished alone: its values are the templated `prompt`, its `tokens` and the `context`.
        Closing the iterator frees what the answer held. Raises BadInput, and what `load` raises.
        """
        if isinstance(request, Writing):
            return self._write(request, time.perf_counter())
        return self._inspect(request)

    def _inspect(self, request: InspectParams) -> Answer:
        words = self.shelf.words(request.model)
        prompt, tokens = _template(words, request)
        values = {"prompt": prompt, "tokens": len(tokens), "context": words.context}
        yield ev.Finished(reason="stop", values=values)

    def _write(self, request: ChatParams | CompleteParams, asked: float) -> Answer:
        with self.shelf.use(request.model, request.adapter) as voice:
            tokens = _tokens(voice.words, request)
            if len(tokens) >= voice.context:
                what, shorten = _LENGTHY[type(request)]
                raise BadInput(
                    f"{what} has {len(tokens)} tokens, and {request.model} reads at most {voice.context}, "
                    "its answer included.",
                    shorten,
                    "context.overflow",
                )
            info = {
                "model": request.model,
                "adapter": request.adapter,
                "prompt_tokens": len(tokens),
                "context": voice.context,
                "device": voice.device,
                "dtype": voice.dtype,
                "path": "plain" if request.exact else voice.path,
                "why_plain": "exact was asked for" if request.exact else voice.why_plain,
            }
            fitting = (
                [Fitting(request.json_schema, voice.words, len(tokens), _begun(request))] if request.json_schema else []
            )
            yield ev.Started(info=info)
            yield from self._answer(voice, request, tokens, asked, fitting)

    def _answer(
        self, voice: Voice, request: Writing, tokens: list[int], asked: float, fitting: list[Fitting]
    ) -> Answer:
        room = voice.context - len(tokens)
        most = min(request.max_new_tokens, room)
        decoding: Member | Decoding
        if voice.batch is None or request.exact:
            decoding, prefixes = Decoding(voice, request, tokens, most, fitting), self._prefixes["plain"]
        else:
            decoding = Member(
                voice.batch, voice.key, voice.low, request, tokens, most, fitting, bool(request.alternatives)
            )
            prefixes = self._prefixes["packed"]
        speller = Speller(voice.words.tokenizer)
        count, first, told = 0, 0.0, 0.0
        reason = "length" if most < room or request.max_new_tokens == room else "context"

        def values(now: float) -> dict[str, float]:
            spent = now - first
            return {
                "tokens": count,
                "prompt_tokens": len(tokens),
                "seconds_to_first_token": round(first - asked, 3),
                "tokens_per_second": round((count - 1) / spent, 2) if count > 1 and spent > 0 else 0.0,
            }

        try:
            decoding.begin(prefixes)
            before = 0
            while (read := decoding.read(prefixes)) < len(tokens):
                yield ev.Progressed(done=read, total=len(tokens), unit="tokens read") if read > before else ev.Wrote()
                before = read
            while count < most:
                token = decoding.next()
                now = time.perf_counter()
                count += 1
                first = first or now
                if token in voice.words.ends:
                    reason = "stop"
                    break
                yield ev.Wrote(
                    text=speller.add(token), chances=_chances(decoding, voice.words, token, request.alternatives)
                )
                if now - told > _TELL_SECONDS:
                    told = now
                    yield ev.Measured(step=count, values=values(now))
        finally:
            decoding.close()
        now = time.perf_counter()
        if rest := speller.rest():
            yield ev.Wrote(text=rest)
        yield ev.Measured(step=count, values=values(now))
        closing: dict[str, Any] = values(now)
        for one in fitting:
            one.add([] if reason == "stop" else [token])
            closing["complete"] = one.complete
        yield ev.Finished(reason=reason, values=closing)


def _begun(request: Writing) -> str:
    """The answer that is to be continued, '' for a new one."""
    return request.messages[-1].content if isinstance(request, ChatParams) and request.continues else ""


def _tokens(words: Words, request: ChatParams | CompleteParams) -> list[int]:
    """What the model reads first. Raises BadInput."""
    if isinstance(request, ChatParams):
        return _template(words, request)[1]
    tokens: list[int] = words.tokenizer(request.prompt, verbose=False)["input_ids"]
    return tokens


def _chances(decoding: Member | Decoding, words: Words, token: int, count: int) -> list[dict[str, Any]]:
    """For `Wrote`: how likely the token was for the model, and the `count` likeliest in its place."""
    if not count:
        return []
    chance, likeliest = decoding.chances(token, count)
    spell = words.tokenizer.decode
    top = [[spell([other]), round(p, 6)] for other, p in likeliest]
    return [{"text": spell([token]), "p": round(chance, 6), "top": top}]


def _template(words: Words, request: InspectParams) -> tuple[str, list[int]]:
    """The prompt as the model's chat template writes it, and its tokens. Raises BadInput."""
    from jinja2 import TemplateError  # noqa: PLC0415 - comes with transformers

    tokenizer = words.tokenizer
    if not tokenizer.chat_template:
        raise BadInput(
            f"{words.name} has no chat template, so it was not made for conversations.",
            "Choose a model whose name ends in Instruct or chat, or tune this one on conversations first.",
        )
    try:
        prompt = tokenizer.apply_chat_template(
            request.turns,
            tokenize=False,
            add_generation_prompt=not request.continues,
            continue_final_message=request.continues,
        )
    except (TemplateError, ValueError) as error:
        raise BadInput(
            f"{words.name} does not take this conversation: {str(error).rstrip('.')}.",
            "Most models want user and assistant in turn, and some want no system prompt.",
        ) from error
    return prompt, tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]

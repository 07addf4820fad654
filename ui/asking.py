"""What is asked when somebody presses Send: the form's values, each side's prompt, and what the page is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from backend.engines.text import ChatParams
from backend.errors import BadInput
from backend.lab import Lab
from ui import conversation as talk
from ui.answers import Answer
from ui.conversation import Conversation, Side
from ui.markdown import unclosed
from ui.settings import ALTERNATIVES, Writing


@dataclass(frozen=True)
class Asked:
    """One side that is to be answered: `turn` is where the answer goes, which begins with `begun`."""

    side: Side
    turn: int
    begun: str = ""

    @property
    def messages(self) -> list[dict[str, str]]:
        told = talk.prompt(self.side)
        return told if self.begun else told[:-1]


class Values:
    """The values of the form below, by what they mean."""

    def __init__(self, forms: Sequence[Writing], values: Sequence[Any]) -> None:
        model_a, adapter_a, model_b, adapter_b, own, seen, *rest = values
        count = len(forms[0].components)
        written_a = forms[0].read(rest[:count])
        written_b = forms[1].read(rest[count:]) if own else written_a
        self.seen = bool(seen)
        self.sides = [
            {"model": model_a or "", "adapter": adapter_a or ""} | written_a,
            {"model": model_b or "", "adapter": adapter_b or ""} | written_b,
        ]

    def request(self, side: int, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
        """What the engine is asked on one side."""
        more = {"alternatives": ALTERNATIVES} if self.seen else {}
        return {"messages": list(messages)} | self.sides[side] | more

    def inspection(self, side: int, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
        """What is asked to see the prompt alone."""
        told = {key: one for key, one in self.sides[side].items() if key in ("model", "adapter", "system")}
        return {"messages": list(messages)} | told


def coming(side: Side, parent: int | None = None) -> Asked:
    """Room for one more answer, which is empty at first."""
    told = talk.said(side, "assistant", "", parent)
    return Asked(told, told["turns"][-1]["id"])


def settled(conversation: Conversation, sides: Sequence[Side], values: Values) -> Conversation:
    """The conversation with its sides as they are now, and what each was asked with; one that rests stays."""
    told = [side | {"settings": settings} for side, settings in zip(sides, values.sides, strict=False)]
    return conversation | {"sides": [*told, *conversation["sides"][len(told) :]]}


def replaced(conversation: Conversation, number: int, side: Side) -> Conversation:
    held = list(talk.sides(conversation, "Compare")) if number else list(conversation["sides"])
    held[number] = side
    return conversation | {"sides": held}


def place_of(conversation: Conversation, event: gr.EventData) -> int:
    return talk.place(conversation["sides"][int(event.side)], int(event.turn))


def concerned(conversation: Conversation, mode: str, event: gr.EventData) -> list[Side]:
    """The sides that a pressed turn concerns. Raises BadInput when the other has nothing at that place."""
    place, held = place_of(conversation, event), talk.sides(conversation, mode)
    if any(len(talk.path(side)) <= place for side in held):
        raise BadInput("The other side has no such turn.", "Switch its versions, or go back to Chat.")
    return held


def following(seed: Any) -> str:
    """The next one; what is no number stays for the engine to refuse."""
    return str(int(seed) + 1) if str(seed).isdecimal() else str(seed)


def told(asked: Asked, answer: Answer) -> bool:
    """Whether anything came, or it ended as it should."""
    return len(answer.text) > len(asked.begun) or bool(answer.ended and not answer.error)


def note(answer: Answer) -> str:
    if answer.error:
        return f"{answer.figures} · {answer.error}" if answer.tokens else str(answer.error)
    return answer.figures if answer.text else "The model ended without a word"


def live(
    asked: Sequence[Asked], answers: Sequence[Answer], drawn_so_far: Sequence[list[str]], over: bool = False
) -> dict[str, Any]:
    """What the page draws of answers in the making."""
    return {
        "sides": [
            {
                "turn": one.turn,
                "text": answer.text,
                "blocks": drawn_now if over else [*drawn_now[:-1], *map(unclosed, drawn_now[-1:])],
                "note": str(answer.error) if answer.error else (answer.figures or answer.doing),
                "chances": _chances(one, answer),
                "over": over,
            }
            for one, answer, drawn_now in zip(asked, answers, drawn_so_far, strict=True)
        ]
    }


def _chances(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    """A copy, as Gradio compares it with the next; what was there before is one token that nobody asked about."""
    if not answer.chances:
        return []
    return [*([{"text": asked.begun, "p": 1, "top": []}] if asked.begun else []), *answer.chances]


def sampling(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("model", "adapter")}


def too_many(lab: Lab, side: Side, values: Values, number: int, who: str) -> int | None:
    """How many of the oldest turns must go before an answer has room; None when no number would do."""
    places = [0, *talk.starts(side)]
    room = partial(_has_room, lab, side, values, number, who)
    if not room(places[-1]):
        return None
    low, high = 0, len(places) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if room(places[middle]) else (middle + 1, high)
    return places[low]


def _has_room(lab: Lab, side: Side, values: Values, number: int, who: str, count: int) -> bool:
    told = talk.prompt(talk.shorter(side, count) if count else side)
    while told and told[-1]["role"] == "assistant":
        told.pop()
    found = lab.inspect(values.inspection(number, told), who)
    wanted = values.sides[number].get("max_new_tokens") or ChatParams.model_fields["max_new_tokens"].default
    longest = int(wanted) if str(wanted).isdecimal() else 0
    return bool(found["tokens"] + min(longest, found["context"] // 4) < found["context"])

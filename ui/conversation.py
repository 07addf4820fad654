"""A conversation as the page keeps it: turns that branch, on one side or two. Pure; plain values that JSON can carry.

    conversation   {id, title, mode, sides: [side, …]}                mode is Chat or Compare
    side           {settings, turns: [turn, …], shown, start}         what one model was told and said
    turn           {id, parent, role, text, note, ended}              ids count from 1; the first turns' parent is 0

An edit or a retry adds a turn beside the old one, with the same parent; `shown` says which of them is read on (by
default the newest). Turns before the one with the id `start`, which may be yet to come, are still shown, but no longer
given to the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from backend.errors import BadInput
from ui.toasts import as_json

Turn = dict[str, Any]
Side = dict[str, Any]
Conversation = dict[str, Any]

ROLES = ("user", "assistant")
MOST = 20_000  # turns of a side that are taken in
LINE = 'Each line is one conversation: {"messages": [{"role": "user", "content": "Hello"}, …]}.'
KEPT = ("id", "parent", "role", "text", "note", "ended")


def fresh(mode: str = "Chat") -> Conversation:
    """Nothing said yet. The browser gives it its id when it first keeps it."""
    return {"id": "", "title": "", "mode": mode, "sides": [empty()]}


def empty() -> Side:
    return {"settings": {}, "turns": [], "shown": {}, "start": 0}


def sides(conversation: Conversation, mode: str = "") -> list[Side]:
    """Those that take part: the first alone, or two when comparing."""
    held = conversation.get("sides") or [empty()]
    return [held[0], held[1] if len(held) > 1 else empty()] if (mode or conversation["mode"]) == "Compare" else held[:1]


def path(side: Side) -> list[Turn]:
    """The turns on screen, oldest first: from the beginning, the chosen or newest version of each."""
    below: dict[int, list[Turn]] = {}
    for turn in side["turns"]:
        below.setdefault(turn["parent"], []).append(turn)
    found: list[Turn] = []
    at = 0
    while versions := below.get(at):
        chosen = side["shown"].get(str(at))
        found.append(next((turn for turn in versions if turn["id"] == chosen), versions[-1]))
        at = found[-1]["id"]
    return found


def versions(side: Side, turn: Turn) -> list[int]:
    """Ids of the turns that stand at the same place, itself among them, oldest first."""
    return [one["id"] for one in side["turns"] if one["parent"] == turn["parent"]]


def said(side: Side, role: str, text: str, parent: int | None = None, **more: Any) -> Side:
    """The side with one more turn: after the last on screen, or as the newest version below `parent`."""
    way = path(side)
    parent = (way[-1]["id"] if way else 0) if parent is None else parent
    new = _newest(side) + 1
    turn = {"id": new, "parent": parent, "role": role, "text": text} | more
    return side | {"turns": [*side["turns"], turn], "shown": side["shown"] | {str(parent): new}}


def changed(side: Side, turn: int, **fields: Any) -> Side:
    """The side with some fields of one turn replaced."""
    return side | {"turns": [one | fields if one["id"] == turn else one for one in side["turns"]]}


def switched(side: Side, turn: int, step: int) -> Side:
    """Show the version before (`step` -1) or after (1) this turn; at the ends nothing changes."""
    one = _turn(side, turn)
    ids = versions(side, one)
    place = min(max(ids.index(turn) + step, 0), len(ids) - 1)
    return side | {"shown": side["shown"] | {str(one["parent"]): ids[place]}}


def without(side: Side, turn: int) -> Side:
    """The side without this turn and all that follow it, in every version of them."""
    gone = {turn}
    for one in side["turns"]:  # a turn stands behind its parent
        if one["parent"] in gone:
            gone.add(one["id"])
    shown = {parent: child for parent, child in side["shown"].items() if child not in gone}
    return side | {"turns": [one for one in side["turns"] if one["id"] not in gone], "shown": shown}


def read_on(side: Side) -> list[Turn]:
    """The turns on screen that the model is given."""
    way = path(side)
    if side.get("start", 0) > _newest(side):
        return []
    starts = [place for place, turn in enumerate(way) if turn["id"] == side.get("start")]
    return way[starts[0] :] if starts else way


def prompt(side: Side) -> list[dict[str, str]]:
    """What the model is given, as engines take it."""
    return [{"role": turn["role"], "content": turn["text"]} for turn in read_on(side)]


def shorter(side: Side, count: int) -> Side:
    """The side whose oldest `count` turns, of those the model is given, are left out from now on."""
    left = read_on(side)[count:]
    return side | {"start": left[0]["id"] if left else _newest(side) + 1}


def starts(side: Side) -> list[int]:
    """How many of the oldest turns can be left out: so many that a question comes first, and one is left."""
    return [place for place, turn in enumerate(read_on(side)) if place and turn["role"] == "user"]


def unfinished(side: Side) -> Turn:
    """The answer that can be continued. Raises BadInput when the last turn is none."""
    way = path(side)
    if not way or way[-1]["role"] != "assistant" or not way[-1]["text"].strip():
        raise BadInput("There is no answer to continue.", "Send a message first.")
    return way[-1]


def place(side: Side, turn: int) -> int:
    """Where on screen a turn stands, from 0. Raises BadInput when it is not on screen."""
    ids = [one["id"] for one in path(side)]
    if turn not in ids:
        raise BadInput("This turn is not on screen any more.", "Try again.")
    return ids.index(turn)


def _newest(side: Side) -> int:
    return max((turn["id"] for turn in side["turns"]), default=0)


def _turn(side: Side, turn: int) -> Turn:
    found = next((one for one in side["turns"] if one["id"] == turn), None)
    if found is None:
        raise BadInput("This turn is not in the conversation any more.", "Try again.")
    return found


# -- to and from a file -------------------------------------------------------------------------------------------


def written(conversations: Sequence[Conversation]) -> str:
    """JSON lines: `messages` are the turns on screen, as trainers take them; `conversation` is the whole."""
    lines = [
        {"messages": _messages(one), "title": one.get("title", ""), "conversation": one}
        for one in conversations
        if any(side["turns"] for side in one["sides"])
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def read(text: str) -> list[Conversation]:
    """What `written` gives, or any JSON lines with `messages`. Raises BadInput naming the first bad line."""
    found = []
    for number, line in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        if line.strip():
            found.append(_conversation(line, number))
    if not found:
        raise BadInput("The file holds no conversation.", LINE)
    return found


def checked(value: Any, where: str = "") -> Conversation:
    """A conversation that comes from outside, rebuilt from what is sound in it. Raises BadInput saying `where`."""
    if not isinstance(value, Mapping) or not isinstance(value.get("sides"), list) or not value["sides"]:
        raise BadInput(f"{where}This is not a conversation.", LINE)
    return {
        "id": str(value.get("id") or "")[:64],
        "title": str(value.get("title") or "")[:200],
        "mode": "Compare" if value.get("mode") == "Compare" else "Chat",
        "sides": [_side(side, where) for side in value["sides"][:2]],
    }


def _messages(conversation: Conversation) -> list[dict[str, str]]:
    side = conversation["sides"][0]
    system = str(side["settings"].get("system") or "").strip()
    told = [{"role": turn["role"], "content": turn["text"]} for turn in path(side)]
    return ([{"role": "system", "content": system}] if system else []) + told


def _conversation(line: str, number: int) -> Conversation:
    value = as_json(line, f"Line {number}", "Each line must be one JSON object.")
    if isinstance(value, dict) and "conversation" in value:
        return checked(value["conversation"], f"Line {number}: ")
    messages = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(messages, list) or not messages:
        raise BadInput(f"Line {number} has no list of messages.", LINE)
    side, parent, title = empty(), 0, str(value.get("title") or "")
    for at, message in enumerate(messages, 1):
        role, content = (message.get(key) if isinstance(message, dict) else None for key in ("role", "content"))
        if role not in (*ROLES, "system") or not isinstance(content, str):
            raise BadInput(
                f"Line {number}, message {at}: {str(message)[:60]!r} is no turn.",
                "A message has a role (system, user or assistant) and its content as text.",
            )
        if role == "system":
            if at > 1:
                raise BadInput(f"Line {number}, message {at}: a system prompt stands first.", "Move or remove it.")
            side["settings"] = {"system": content}
        else:
            side["turns"].append({"id": at, "parent": parent, "role": role, "text": content})
            parent = at
    return {"id": "", "title": title[:200], "mode": "Chat", "sides": [side]}


def _side(value: Any, where: str) -> Side:
    if not isinstance(value, Mapping) or not isinstance(value.get("turns"), list) or len(value["turns"]) > MOST:
        raise BadInput(f"{where}A side of this conversation can't be read.", LINE)
    turns: list[Turn] = []
    known = {0}
    for turn in value["turns"]:
        sound = (
            isinstance(turn, Mapping)
            and isinstance(turn.get("id"), int)
            and turn["id"] not in known
            and isinstance(turn.get("parent"), int)
            and turn["parent"] in known
            and turn.get("role") in ROLES
            and isinstance(turn.get("text"), str)
        )
        if not sound:
            raise BadInput(f"{where}{str(turn)[:60]!r} is no turn of a conversation.", LINE)
        known.add(turn["id"])
        turns.append({key: turn[key] for key in KEPT if key in turn})
    shown, settings = (value[key] if isinstance(value.get(key), Mapping) else {} for key in ("shown", "settings"))
    return {
        "settings": {str(key): one for key, one in settings.items() if isinstance(one, str | int | float)},
        "turns": turns,
        "shown": {str(parent): child for parent, child in shown.items() if isinstance(child, int)},
        "start": value["start"] if isinstance(value.get("start"), int) else 0,
    }

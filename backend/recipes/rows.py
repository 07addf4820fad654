"""One row of a file into TRL's form, and from one kind of data to another. Raises Wrong, which says what is amiss."""

from __future__ import annotations

import json
from typing import Any

from backend.recipes.reading import Row, Wrong, shown

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant"}
ROLES |= {"system": "system", "tool": "tool"}
_YES, _NO = (True, 1, "true", "yes", "1"), (False, 0, "false", "no", "0")


def text(row: Row, column: str, empty: bool = False) -> str:
    value = row.get(column)
    if isinstance(value, str):
        if empty or (value and not value.isspace()):
            return value
        raise Wrong(f": {column} is empty", f"{column} is empty")
    if value is None:
        raise Wrong(f": {column} is missing", f"{column} is missing")
    raise Wrong(f": {column} is {shown(value)}; it must be text", f"{column} is not text")


def plain(row: Row) -> Row:
    return {"text": text(row, "text")}


def text_pair(row: Row) -> Row:
    return {"prompt": text(row, "prompt"), "completion": text(row, "completion")}


def chat_pair(row: Row) -> Row:
    return {"prompt": _prompt(row), "completion": _answer(row, "completion")}


def alpaca(row: Row) -> Row:
    more = text(row, "input", empty=True) if row.get("input") is not None else ""
    question = "\n\n".join(part for part in (text(row, "instruction"), more) if part)
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": text(row, "output")}],
    }


def conversation(column: str, row: Row) -> Row:
    return {"messages": _messages(row, column, True)}


def text_preference(row: Row) -> Row:
    made = {"chosen": text(row, "chosen"), "rejected": text(row, "rejected")}
    _differ(made)
    return ({"prompt": text(row, "prompt")} if "prompt" in row else {}) | made


def chat_preference(row: Row) -> Row:
    """Chosen and rejected may hold the prompt themselves, or go on from it; a prompt may be text."""
    before = row.get("conversations") if "conversations" in row else row.get("prompt")
    chosen, rejected = (_messages(row, column, True) for column in ("chosen", "rejected"))
    _differ({"chosen": chosen, "rejected": rejected})
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    if same:
        return {"prompt": chosen[:same], "chosen": chosen[same:], "rejected": rejected[same:]}
    if isinstance(before, str) and before.strip():
        prompt = [{"role": "user", "content": before}]
    else:
        prompt = _messages(row, "conversations" if "conversations" in row else "prompt", False)
    return {"prompt": prompt, "chosen": _answer(row, "chosen"), "rejected": _answer(row, "rejected")}


def _differ(made: Row) -> None:
    if made["chosen"] == made["rejected"]:
        raise Wrong(": chosen and rejected are the same", "chosen and rejected are the same")


def text_unpaired(row: Row) -> Row:
    return text_pair(row) | _label(row)


def chat_unpaired(row: Row) -> Row:
    return chat_pair(row) | _label(row)


def turns_unpaired(row: Row) -> Row:
    """Messages whose last answer is the one that is liked or not."""
    return last_answer(row) | _label(row)


def _label(row: Row) -> Row:
    value = row.get("label")
    value = value.strip().lower() if isinstance(value, str) else value
    if value is None:
        raise Wrong(": label is missing", "label is missing")
    if isinstance(value, list | dict) or value not in (*_YES, *_NO):
        raise Wrong(f": label is {shown(value)}; it must be true or false", "label is neither true nor false")
    return {"label": value in _YES}


def last_answer(row: Row) -> Row:
    """Messages as the prompt and the answer that ends them."""
    messages = _messages(row, "messages", True)
    if messages[-1]["role"] != "assistant" or len(messages) < 2:
        raise Wrong(": messages do not end with an answer by the assistant", "messages do not end with an answer")
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def text_prompt(row: Row) -> Row:
    return {"prompt": text(row, "prompt")} | _reference(row)


def chat_prompt(row: Row) -> Row:
    return {"prompt": _prompt(row)} | _reference(row)


def _reference(row: Row) -> Row:
    if "reference" not in row:
        return {}
    value = row["reference"]
    return {"reference": value if isinstance(value, str) or value is None else str(value)}


def _prompt(row: Row) -> list[Row]:
    """Messages that someone else than the assistant ends."""
    messages = _messages(row, "prompt", False)
    if messages[-1]["role"] == "assistant":
        raise Wrong(": prompt ends with the assistant's message; it must end with the user's", "prompt is answered")
    return messages


def _answer(row: Row, column: str) -> list[Row]:
    messages = _messages(row, column, True)
    if any(message["role"] == "user" for message in messages):
        raise Wrong(f": {column} has a user's message; it must be the assistant's", f"{column} has a user's message")
    return messages


def _messages(row: Row, column: str, answered: bool) -> list[Row]:
    """Messages of `column`, in either spelling; at least one, and an assistant's among them where `answered`."""
    value = row.get(column)
    if value is None:
        raise Wrong(f": {column} is missing", f"{column} is missing")
    if isinstance(value, str) and value.startswith("["):
        value = _from_json(value)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise Wrong(f": {column} is {shown(value)}; it must be a list of messages", f"{column} is no list of messages")
    if not value:
        raise Wrong(f": {column} is empty", f"{column} is empty")
    found = [_message(message, place, column) for place, message in enumerate(value, 1)]
    if answered and not any(message["role"] == "assistant" for message in found):
        raise Wrong(f": {column} has no answer by the assistant", f"{column} has no answer by the assistant")
    return found


def _message(message: Any, place: int, column: str) -> Row:
    said = f": message {place} of {column}"
    if not isinstance(message, dict):
        raise Wrong(f"{said} is {shown(message)}; it must have role and content", f"{column} holds no messages")
    role = message.get("role") or message.get("from")
    content = message["content"] if "content" in message else message.get("value")
    if not isinstance(role, str) or role not in ROLES:
        raise Wrong(
            f"{said} has the role {shown(role)}; use system, user or assistant", f"{column} has an unknown role"
        )
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        raise Wrong(
            f"{said} has the content {shown(content)}; it must be text", f"{column} has content that is no text"
        )
    if ROLES[role] != "system" and (not content or content.isspace()):
        raise Wrong(f"{said} is empty", f"{column} has an empty message")
    return {"role": ROLES[role], "content": content}


def _from_json(text: str) -> Any:
    """CSV has no lists: messages travel as JSON there."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- from one kind to another --------------------------------------------------------------------------------------


def itself(row: Row) -> list[Row]:
    return [row]


def two(row: Row) -> list[Row]:
    """A pair as one row that is liked and one that is not."""
    return [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": True},
        {"prompt": row["prompt"], "completion": row["rejected"], "label": False},
    ]


def asked(answer: str, row: Row) -> list[Row]:
    said = row[answer]
    return [{"prompt": row["prompt"], "reference": said if isinstance(said, str) else said[-1]["content"]}]


def asked_last(row: Row) -> list[Row]:
    """The conversation up to its last answer, which is the reference."""
    messages = row["messages"]
    last = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
    if not last:
        raise Wrong(": messages begin with their only answer", "messages have no question")
    return [{"prompt": messages[:last], "reference": messages[last]["content"]}]

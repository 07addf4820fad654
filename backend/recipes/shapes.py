"""What kind of data rows are, and how they come into TRL's form.

    kind                  in a file                                      becomes
    prompt-completion     prompt, completion                             itself; each text, or a list of messages
                          instruction, output, maybe input (Alpaca)      prompt and completion as messages
    language modelling    messages                                       itself
                          conversations of {from, value} (ShareGPT)      messages
                          text                                           itself
    preference            chosen, rejected, maybe prompt                 prompt, chosen, rejected
    unpaired              prompt, completion, label; messages, label     prompt, completion, label
    prompt-only           prompt, maybe reference                        itself

A method names the kinds it learns from. Where a dataset is of another kind that holds what is needed, it is derived:
each pair of preferences gives two unpaired rows, and prompts can be taken from everything that has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from backend.errors import BadData
from backend.recipes import rows
from backend.recipes.reading import Row, short_name

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["prompt-completion", "language modelling", "preference", "unpaired", "prompt-only"]
COLUMNS: dict[Kind, tuple[str, ...]] = {  # what a person can say which column of theirs is
    "prompt-completion": ("prompt", "completion"),
    "language modelling": ("messages", "text"),
    "preference": ("prompt", "chosen", "rejected"),
    "unpaired": ("prompt", "completion", "label"),
    "prompt-only": ("prompt", "reference"),
}
_ALIKE = {
    "prompt": ("question", "query", "instruction", "input", "problem"),
    "completion": ("answer", "response", "output", "target", "solution"),
    "messages": ("conversation", "conversations", "chat", "dialog", "dialogue"),
    "text": ("content", "document", "body", "sentence"),
    "chosen": ("accepted", "preferred", "better", "response_chosen", "chosen_response"),
    "rejected": ("dispreferred", "worse", "response_rejected", "rejected_response"),
    "label": ("liked", "thumbs_up", "good", "desirable"),
    "reference": ("answer", "solution", "response", "output"),
}


@dataclass(frozen=True)
class Shape:
    """What a dataset was recognised as: `name` for people, its `kind` and `columns` once `convert`ed.

    `convert(row)` gives the rows that one row becomes (one, or two) or raises Wrong. `given` is the kind it has itself.
    """

    name: str
    kind: Kind
    given: Kind
    chat: bool
    columns: tuple[str, ...]
    convert: Callable[[Row], list[Row]]

    def fields(self) -> pyarrow.Schema:
        """The Arrow schema of what `convert` gives."""
        import pyarrow

        message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
        words = pyarrow.list_(message) if self.chat else pyarrow.string()
        kinds = {"label": pyarrow.bool_(), "reference": pyarrow.string()}
        return pyarrow.schema([(name, kinds.get(name, words)) for name in self.columns])


@dataclass(frozen=True)
class _Source:
    """A way to write data: by the columns it needs."""

    needs: frozenset[str]
    kind: Kind
    name: str  # '' is the kind's
    probe: str  # the column whose values tell text from chat
    chat: Callable[[Row], Row] | None
    text: Callable[[Row], Row] | None


def recognise(
    first: Sequence[Row], name: str, wants: Sequence[Kind], columns: Mapping[str, str] | None = None
) -> Shape:
    """The shape of a dataset by its `first` rows, for a method that `wants` these kinds, most wanted first.

    `columns` says which column of the file plays a role: {"prompt": "question"}. Raises BadData that lists columns.
    """
    has = dict.fromkeys(str(column) for row in first for column in row)
    mapping = {role: column for role, column in (columns or {}).items() if column}
    _check_mapping(mapping, has, name)
    rename = partial(_renamed, mapping) if any(role != column for role, column in mapping.items()) else None
    first = [rename(row) if rename else row for row in first]
    there = dict.fromkeys(column for row in first for column in row)
    found = [source for source in _SOURCES if source.needs <= there.keys()]
    if named := mapping.keys() - {"reference"}:
        found = [source for source in found if named <= source.needs | {"prompt", "input"}] or found
    for want in wants:
        fit = [source for source in found if source.kind == want]
        made = [source for source in found if _derivable(source, want, first, there)]
        # A prompt that comes with an answer keeps it, as its reference.
        for source in made + fit if want == "prompt-only" and "reference" not in there else fit + made:
            return _shape(source, want, first, rename, there)
    raise _unfit(has, found, name, wants)


def guess(columns: Iterable[str], wants: Sequence[Kind]) -> dict[str, str]:
    """Which columns may play the roles that a method needs, going by their names; {} when some role finds none."""
    lower = {column.lower(): column for column in columns}
    for want in wants:
        sets = [(one,) for one in COLUMNS[want]] if want == "language modelling" else [COLUMNS[want]]
        for roles in sets:
            needed = [role for role in roles if role != "reference"]
            taken: dict[str, str] = {}
            for role in needed:
                names = [lower[one] for one in (role, *_ALIKE[role]) if one in lower]
                if free := [one for one in names if one not in taken.values()]:
                    taken[role] = free[0]
            if len(taken) == len(needed):
                return taken
    return {}


def roles(wants: Sequence[Kind]) -> list[str]:
    """The roles that columns can play for a method, in order."""
    return list(dict.fromkeys(role for want in wants for role in COLUMNS[want]))


def _check_mapping(mapping: Mapping[str, str], has: Iterable[str], name: str) -> None:
    known = list(_ALIKE)
    for role, column in mapping.items():
        if role not in known:
            raise BadData(
                f"columns gives a column the role {role!r}; there is no such role.",
                f"The roles are {', '.join(known)}.",
                "data.columns",
            )
        if column not in has:
            raise BadData(
                f"columns takes {role} from {column!r}; {short_name(name)} has the columns {', '.join(has)}.",
                "Choose one of these.",
                "data.columns",
            )


def _renamed(mapping: Mapping[str, str], row: Row) -> Row:
    """Roles first; a column that plays one keeps no other name."""
    taken = mapping.values()
    new = {role: row.get(column) for role, column in mapping.items()}
    return new | {column: value for column, value in row.items() if column not in taken and column not in new}


def _shape(
    source: _Source, want: Kind, first: Sequence[Row], rename: Callable[[Row], Row] | None, there: Iterable[str]
) -> Shape:
    chat = _is_chat(source, first)
    to_row = source.chat if chat else source.text
    assert to_row
    derive = _DERIVED.get((source.kind, want), rows.itself)

    def convert(row: Row) -> list[Row]:
        return derive(to_row(rename(row) if rename else row))

    style = source.name or f"{source.kind}, {'chat' if chat else 'text'}"
    columns = _COLUMNS_OF.get(want) or (("messages",) if chat else ("text",))
    if want == source.kind == "preference" and not chat and "prompt" not in there:
        columns = ("chosen", "rejected")
    if want == source.kind == "prompt-only" and "reference" not in there:
        columns = ("prompt",)
    name = style if want == source.kind else f"{want} made of {style}"
    return Shape(name, want, source.kind, chat, columns, convert)


_COLUMNS_OF: dict[Kind, tuple[str, ...]] = {
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "unpaired": ("prompt", "completion", "label"),
    "prompt-only": ("prompt", "reference"),
}


def _is_chat(source: _Source, first: Sequence[Row]) -> bool:
    """Whether the first value that is there is a list of messages, or one."""
    if source.chat is None or source.text is None:
        return source.text is None
    value = next((row[source.probe] for row in first if row.get(source.probe) is not None), None)
    return isinstance(value, list | dict) or (isinstance(value, str) and value.startswith('[{"'))


def _unfit(has: Iterable[str], found: Sequence[_Source], name: str, wants: Sequence[Kind]) -> BadData:
    needs = ", or ".join(_NEEDS[want] for want in wants)
    hint = f"This method learns from {needs}."
    if found and found[0].kind != "prompt-only":
        return BadData(f"{short_name(name)} is {found[0].name or found[0].kind} data.", hint, "data.kind")
    listed = ", ".join(sorted(has)) or "none"
    pairs = [pair for want in wants for pair in _TOGETHER.get(want, ())]
    lacks = next((f"The column {b!r} is missing. " for a, b in pairs if a in has and b not in has), "")
    guessed = guess(has, wants)
    if guessed:
        likely = ", ".join(f"{column} as {role}" for role, column in guessed.items() if role != column)
        hint = f"Say what each column is, perhaps {likely}. {hint}"
    return BadData(f"{lacks}{short_name(name)} has the columns {listed}.", hint, "data.columns")


_TOGETHER: dict[Kind, tuple[tuple[str, str], ...]] = {  # a column, and one that has to be there with it
    "prompt-completion": (("prompt", "completion"), ("completion", "prompt"), ("instruction", "output")),
    "preference": (("chosen", "rejected"), ("rejected", "chosen")),
    "unpaired": (("prompt", "completion"), ("completion", "label")),
}
_NEEDS: dict[Kind, str] = {
    "prompt-completion": "prompt and completion (or instruction and output)",
    "language modelling": "messages, or conversations, or text",
    "preference": "prompt, chosen and rejected",
    "unpaired": "prompt, completion and label",
    "prompt-only": "prompts",
}


_SOURCES = tuple(
    _Source(frozenset(needs), *rest)
    for needs, *rest in (
        (("chosen", "rejected"), "preference", "", "chosen", rows.chat_preference, rows.text_preference),
        (("prompt", "completion", "label"), "unpaired", "", "completion", rows.chat_unpaired, rows.text_unpaired),
        (("messages", "label"), "unpaired", "", "messages", rows.turns_unpaired, None),
        (("prompt", "completion"), "prompt-completion", "", "prompt", rows.chat_pair, rows.text_pair),
        (("messages",), "language modelling", "messages", "", partial(rows.conversation, "messages"), None),
        (("instruction", "output"), "prompt-completion", "Alpaca", "", rows.alpaca, None),
        (("conversations",), "language modelling", "ShareGPT", "", partial(rows.conversation, "conversations"), None),
        (("text",), "language modelling", "text", "", None, rows.plain),
        (("prompt",), "prompt-only", "", "prompt", rows.chat_prompt, rows.text_prompt),
    )
)
_DERIVED: dict[tuple[Kind, Kind], Callable[[Row], list[Row]]] = {
    ("preference", "unpaired"): rows.two,
    ("preference", "prompt-only"): partial(rows.asked, "chosen"),
    ("prompt-completion", "prompt-only"): partial(rows.asked, "completion"),
    ("language modelling", "prompt-only"): rows.asked_last,
}


def _derivable(source: _Source, want: Kind, first: Sequence[Row], there: Iterable[str]) -> bool:
    """Plain text has no turns to take a prompt from, nor has a pair of texts without one."""
    if (source.kind, want) not in _DERIVED:
        return False
    return source.name != "text" and (_is_chat(source, first) or source.kind != "preference" or "prompt" in there)

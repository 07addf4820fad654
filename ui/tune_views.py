"""Data and plans before a run, as HTML. Pure; everything from outside is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from backend.recipes import METHODS, why_not
from backend.recipes.params import Adapter
from ui.views import ADAPTERS, duration, plain, plural, size, text

# -- step 1: the data -------------------------------------------------------------------------------------------


def facts(look: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """Count, kind and columns; what is wrong, in which rows; the first rows."""
    many = "rows not counted" if look["total"] is None else plural(look["total"], "row")
    words = " · ".join(str(word) for word in (many, look["format"]) if word)
    return (
        f'<p class="facts"><b>{text(words)}</b> <span class=quiet>columns: '
        f"{text(', '.join(look['columns']))}</span></p>{problem(look['problem'])}"
        f"{findings(look['report'], rules)}{preview(look['rows'])}"
    )


def problem(said: Mapping[str, str] | None) -> str:
    if not said:
        return ""
    return (
        f'<div class="panel panel-error" role="alert" id="tune-problem"><b>{text(said["message"])}</b>'
        f"<p>{text(said['hint'])}</p></div>"
    )


def findings(report: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """Each thing that is wrong, how often and where; then rows that are there twice."""
    lines = [finding(one, _MARKS[rules["bad_rows"]]) for one in report["wrong"]]
    lines += [finding(report["twice"], _MARKS[rules["same_rows"]])] if report["twice"] else []
    return f'<ul class="findings" id="tune-findings">{"".join(lines)}</ul>' if lines else ""


_MARKS = {"stop": "wrong", "drop": "left out", "keep": "kept"}


def finding(one: Mapping[str, Any], mark: str, what: str = "row") -> str:
    """How many rows, by their numbers, and what about them; `mark` says what becomes of them."""
    more = " …" if one["count"] > len(one["rows"]) else ""
    numbers = ", ".join(f"{number:,}" for number in one["rows"])
    return (
        f'<li class="finding-{text(mark.replace(" ", "-"))}"><b>{plural(one["count"], what)}</b> {text(mark)}: '
        f"{text(one['rule'])} <span class=quiet>{what}{'s' * (one['count'] > 1)} {numbers}{more}</span></li>"
    )


def preview(rows: Sequence[Mapping[str, Any]], limit: int = 4) -> str:
    """The first rows: chats as chats, other columns by name."""
    return f'<div class="rows">{"".join(_row(row) for row in rows[:limit])}</div>' if rows else ""


def _row(row: Mapping[str, Any]) -> str:
    cells = "".join(
        f"<div class=cell><dt>{text(name)}</dt><dd>{_value(value)}</dd></div>" for name, value in row.items()
    )
    return f"<dl class=row>{cells}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        said = [(turn.get("role", ""), _cut(turn["content"])) for turn in value[:6]]
        return "".join(
            f'<div class="turn"><span class=quiet>{text(who)}</span> {text(words)}</div>' for who, words in said
        )
    return text(_cut(plain(value)))


def _cut(value: Any, most: int = 400) -> str:
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= most else words[:most] + "…"


def lens(seen: Mapping[str, Any], left_out: bool = False) -> str:
    """Rows token by token, those that are trained on coloured; below, how long rows are."""
    note = f"<p class=quiet>{text(seen['note'])}</p>" if seen["note"] else ""
    rows = "".join(f'<div class="seen">{"".join(map(_sequence, row))}</div>' for row in seen["rows"])
    return (
        '<p class="quiet">Token by token, as the trainer batches it. <span class="tokens"><span class="on">Coloured'
        "</span></span> tokens are trained on; the others are only read.</p>"
        f"{note}{rows}{_lengths(seen['lengths'], seen['long'], left_out)}"
    )


def _sequence(one: Mapping[str, Any]) -> str:
    pieces = "".join(
        f"<span{' class=on' if trained else ''}>{text(piece).replace(chr(10), '⏎' + chr(10))}</span>"
        for piece, trained in one["pieces"]
    )
    name = f"{text(one['name'].capitalize())} · " if one["name"] else ""
    rest = " …" if one["tokens"] > len(one["pieces"]) else ""
    return (
        f'<div><span class="quiet">{name}{plural(one["tokens"], "token")}, {one["trained"]:,} trained on</span>'
        f'<div class="tokens">{pieces}{rest}</div></div>'
    )


def _lengths(lengths: Mapping[str, Any], long: Mapping[str, Any], left_out: bool) -> str:
    width, counts, cut = lengths["width"], lengths["counts"], lengths["cut"]
    most = max([*counts, 1])
    bars = "".join(
        f'<i class="{"over" if cut and place * width > cut else ""}" style="height:{100 * many / most:.0f}%" '
        f'title="{place * width:,} to {(place + 1) * width - 1:,} tokens: {plural(many, "row")}"></i>'
        for place, many in enumerate(counts)
    )
    of = "" if lengths["measured"] == lengths["total"] else f", measured on {plural(lengths['measured'], 'random row')}"
    said = f"None is longer than max_length {cut:,}." if cut and not long["count"] else ""
    if long["count"]:
        share = f"{100 * long['count'] / long['known']:.2g} %"
        known = f" of the {long['known']:,} longest" if long["known"] < lengths["total"] else ""
        numbers = ", ".join(f"{number:,}" for number in long["rows"]) + (" …" * (long["count"] > len(long["rows"])))
        what = "are left out by this method" if left_out else "are cut off there, unless you choose otherwise"
        said = (
            f"<b>{plural(long['count'], 'row')}{known} ({share}) are longer than max_length {cut:,} and {what}</b>: "
            f"row{'s' * (long['count'] > 1)} {numbers}."
        )
    return (
        '<div class="lengths" id="tune-lengths"><div class="histogram" role="img" aria-label="How long rows are">'
        f"{bars}</div><div class=ends><span>0</span><span>{lengths['longest']:,} tokens</span></div>"
        f"<p class=quiet>How long rows are{of}. {said}</p></div>"
    )


# -- step 2: the method -----------------------------------------------------------------------------------------


def grid() -> str:
    """Method × adapter; a cell that can't be is off and says why. What the chosen one does is told below."""
    adapters = get_args(Adapter)
    head = "".join(f"<th scope=col>{text(ADAPTERS.get(name, name))}</th>" for name in adapters)
    rows = "".join(
        f'<tr><th scope=row title="{text(method.title)}">{text(name.upper())}{_marked(method.title)}</th>'
        f"{''.join(_cell(name, adapter) for adapter in adapters)}</tr>"
        for name, method in METHODS.items()
    )
    about = "".join(
        f'<p class="quiet about" ${{value.startsWith("{name}/") ? "" : "hidden"}}><b>{text(method.title)}.</b> '
        f"{text(method.about)}</p>"
        for name, method in METHODS.items()
    )
    rates = {
        f"{name}/{one}": f"{method.params.rates.of(one):g}" for name, method in METHODS.items() for one in adapters
    }
    rate = f"${{({json.dumps(rates)})[value]}}"
    about += f'<p class="quiet about">Learning rate where its field stays empty: <b>{rate}</b></p>'
    table = f'<table class="grid"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="grid-scroll" tabindex="0">{table}</div>{about}'


def _marked(title: str) -> str:
    return "<span class=why>experimental</span>" if "experimental" in title else ""


def _cell(method: str, adapter: str) -> str:
    why = why_not(method, adapter)
    name = text(f"{METHODS[method].title} with {ADAPTERS.get(adapter, adapter)}{f': {why}' if why else ''}")
    value = f"{method}/{adapter}"
    state = "disabled" if why else f'${{value === "{value}" ? "checked" : ""}}'
    about = "<span class=why>off</span>" if why else ""
    return (
        f'<td><label title="{name}"><input type=radio name=tune-cell value="{value}" aria-label="{name}" {state}>'
        f"{about}</label></td>"
    )


# -- steps 3 and 4: the plan ------------------------------------------------------------------------------------


def summary(recipe: str, params: Mapping[str, Any], place: str, look: Mapping[str, Any], count: int) -> str:
    """`SFT · LoRA r=8 on sample/instructions, 504 rows, 1 epoch ≈ 61 steps, on This machine`."""
    adapter = ADAPTERS.get(params["adapter"], params["adapter"])
    rank = f" r={params['lora_r']}" if "lora" in params["adapter"] else ""
    length = [plural(look["total"], "row")] if look["total"] is not None else []
    if look["total"] is not None and (left_out := look["total"] - look["kept"]):
        length.append(f"{left_out:,} of them left out")
    if params["long_rows"] != "cut":
        length.append(f"{'without' if params['long_rows'] == 'drop' else 'unless there are'} rows that are too long")
    if params["max_steps"]:
        length.append(plural(params["max_steps"], "step"))
    else:
        about = f" ≈ {plural(count, 'step')}" if count else ""
        length.append(f"{plural(params['num_train_epochs'], 'epoch')}{about}")
    start = f" Starts from {text(params['start_from'])}." if params.get("start_from") else ""
    reward = f" Reward: {text(params['reward'])}." if params.get("reward") else ""
    return (
        f'<p class="summary"><b>{text(f"{recipe.upper()} · {adapter}{rank}")}</b> on '
        f"<b>{text(params['dataset'])}</b>, {text(', '.join(length))}, on {text(place)}</p>"
        f"<p class=quiet>Model: {text(params['model'])}.{start}{reward} Learning rate: {params['learning_rate']:g}. "
        "The run goes on when you close this page; you find it in Runs.</p>"
    )


def hardware(one: Mapping[str, Any]) -> str:
    """Rented hardware in a list: `Nvidia T4 - small · 16 GB · $0.40 an hour`."""
    return f"{one['title']} · {size(one['memory'])} · ${one['price']:.2f} an hour"


def rented(place: str) -> str:
    """What of `hf_jobs:FLAVOR:SECONDS:MACHINES` is rented, after the name of the place; '' for another one."""
    _, flavor, _, machines = (*place.split(":"), "", "", "")[:4]
    return f", {machines} × {flavor}" if machines else f", {flavor}" if flavor else ""


def cost(seen: Mapping[str, Any], waiting: int, away: bool = False) -> str:
    """What the preflight found: whether it fits, how long it takes, what would help. `away`: the Hub has its line."""
    level, memory, disk = seen["verdict"]["level"], seen["memory"], seen["disk"]
    count, seconds = seen["time"]["steps"], seen["time"]["seconds"]
    time = "How long it takes is known after the first steps; the run shows it."
    if seconds:
        how = (
            "a guess that the run soon betters" if seen["time"].get("guessed") else "going by an earlier run like this"
        )
        time = f"About {duration(seconds)} for {plural(count, 'step')}, {how}."
    how = "as a run like it took" if memory["measured"] else "by formula"
    lines = [
        *seen["price"],
        "It starts when the Hub has that hardware free; waiting costs nothing."
        if away
        else f"{plural(waiting, 'run')} before yours."
        if waiting
        else "Nothing waits: it starts at once.",
        time,
    ]
    if memory["needed"]:
        lines.append(f"Memory: about {size(memory['needed'])}, {how}; {size(memory['free'])} are free.")
        lines.append(f"Disk: about {size(disk['needed'])}; {size(disk['free'])} are free.")
    fixes = "".join(
        f'<button type="button" class="fix" data-set="{text(json.dumps(one["set"]))}">{text(one["title"])}'
        f"{' · ' + size(one['needed']) if one.get('needed') else ''}"
        f"{', fits' if 0 < one.get('needed', 0) <= memory['free'] else ''}</button>"
        for one in seen["fixes"]
    )
    helps = f'<div class="fixes"><span class=quiet>What makes it smaller:</span> {fixes}</div>' if fixes else ""
    kind = {"no": "panel-error", "tight": "panel-warning"}.get(level, "")
    return (
        f'<div class="panel {kind}" id="tune-verdict"><b>{text(seen["verdict"]["text"])}</b>{helps}</div>'
        f'<ul class="cost">{"".join(f"<li>{text(line)}</li>" for line in lines)}</ul>'
    )

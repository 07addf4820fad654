"""The Hub tab as HTML: who is signed in, lists, one repository, the cache, transfers. Pure; everything is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ui import markdown
from ui.views import duration, plural, size, text, when

LENGTH = 50  # repositories of a page
FILES = 60  # files of a repository that are listed
PANES = (
    ("mine", "My repositories"),
    ("find", "Find"),
    ("cache", "On this machine"),
    ("machine", "Resources"),
    ("secrets", "Secrets"),
    ("learn", "Learn"),
)
KINDS = (("model", "Models"), ("dataset", "Datasets"), ("space", "Spaces"))
WAYS = {
    "page": "your sign-in on this page",
    "environment": "HF_TOKEN of this server's environment, lent to nobody else",
    "login": "`hf auth login` on this machine, lent to nobody else",
}


def head(who: Mapping[str, Any], reached: bool, pane: str, problem: str = "") -> str:
    """Who is signed in, and the way to the panes."""
    if problem:
        line = text(problem)
    elif not reached:
        line = "The Hub can't be reached from here. What is on this machine works as ever."
    elif not who:
        line = (
            "Not signed in: searching and downloading what is public works. To see your own repositories, "
            "sign in at the top of the page, or set HF_TOKEN on a server of your own."
        )
    else:
        parts = [f"<b>{text(who['name'])}</b>", text(who["plan"])]
        parts += [f"scopes: {text(', '.join(who['scopes']))}"] if who["scopes"] else []
        parts += [f"also {text(', '.join(who['organisations']))}"] if who["organisations"] else []
        line = " · ".join([*parts, f"by {text(WAYS[who['way']])}"])
    buttons = "".join(
        f'<button type="button" data-act="pane" data-pane="{key}"{" aria-current=page" if key == pane else ""}>'
        f"{text(title)}</button>"
        for key, title in PANES
    )
    return f'<p class="hub-who">{line}</p><nav class="hub-nav" aria-label="Hub">{buttons}</nav>'


def calm(message: str) -> str:
    """Something that can't be shown now, without alarm."""
    return f'<p class="empty quiet">{text(message)}</p>'


# -- lists ------------------------------------------------------------------------------------------------------


def kinds(chosen: str) -> str:
    return "".join(
        f'<button type="button" class="chip" data-act="kind" data-kind="{key}"'
        f"{' aria-pressed=true' if key == chosen else ''}>"
        f"{title}</button>"
        for key, title in KINDS
    )


def mine(rows: Sequence[Mapping[str, Any]], view: Mapping[str, Any]) -> str:
    """One's own repositories of a kind, those whose name has the words, a page of them."""
    words, start = str(view["words"]).strip().lower(), int(view["start"])
    fits = [row for row in rows if words in row["name"].lower()]
    kind = view["kind"]
    create = (
        '<details class="hub-form"><summary>New repository</summary><form data-act="create">'
        f"{_field('name', 'Name', '', 'name, or organisation/name')}"
        '<label class="tick"><input type="checkbox" name="private" checked> Private</label>'
        f'<button type="submit">Create this {text(kind)}</button></form></details>'
    )
    tools = (
        f'<div class="hub-tools">{kinds(kind)}<form data-act="words" role="search">'
        f'<input type="search" name="words" value="{text(view["words"])}" placeholder="Words in the name" '
        f'aria-label="Words in the name"></form>'
        '<button type="button" class="chip" data-act="again">Look again</button></div>'
    )
    if not rows:
        return tools + create + calm(f"You have no {kind} yet. A run's Take it away, or Data's Publish, puts one here.")
    return tools + create + table(fits[start : start + LENGTH]) + pager(start, len(fits), "repository", "repositories")


def pager(start: int, many: int, noun: str, nouns: str) -> str:
    if many <= LENGTH:
        return f'<p class="quiet">{many:,} {noun if many == 1 else nouns}</p>'
    last = min(start + LENGTH, many)
    return (
        f'<div class="pager"><button type="button" data-act="page" data-start="{max(0, start - LENGTH)}"'
        f"{' disabled' if start == 0 else ''}>‹</button><span>{start + 1:,}–{last:,} of {many:,}</span>"
        f'<button type="button" data-act="page" data-start="{start + LENGTH}"'
        f"{' disabled' if last == many else ''}>›</button></div>"
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Repositories, one a line."""
    if not rows:
        return calm("Nothing has that in its name.")
    return (
        '<div class="hub-scroll"><table class="hub-table"><thead><tr><th>Name</th><th>Visible to</th><th>Size</th>'
        "<th>Likes</th><th>Downloads</th><th>Changed</th></tr></thead><tbody>"
        + "".join(_row(row) for row in rows)
        + "</tbody></table></div>"
    )


def _row(row: Mapping[str, Any]) -> str:
    seen = "you" if row["private"] else "all, gated" if row["gated"] else "all"
    weight = size(row["bytes"]) if row["bytes"] else _parameters(row["parameters"]) if row["parameters"] else "–"
    return (
        f'<tr><td><button type="button" class="hub-name" data-act="open" data-kind="{text(row["kind"])}" '
        f'data-name="{text(row["name"])}">{text(row["name"])}</button>'
        f'<span class="quiet">{text(row["note"])}</span></td>'
        f"<td>{seen}</td><td>{weight}</td><td>{row['likes']:,}</td>"
        f"<td>{format(row['downloads'], ',') if row['kind'] != 'space' else '–'}</td>"
        f"<td>{when(row['updated'] or None)}</td></tr>"
    )


def _parameters(count: int) -> str:
    return f"{count / 1e9:.2g} B parameters" if count >= 1e9 else f"{count / 1e6:.0f} M parameters"


def find(view: Mapping[str, Any], choices: Mapping[str, Sequence[str]], found: str) -> str:
    """The search form over what it found."""
    asked, kind = view["asked"], view["kind"]
    shown = {"model": ("task", "library", "size", "licence"), "dataset": ("task", "licence"), "space": ("licence",)}
    fields = "".join(_choice(name, choices[name], str(asked.get(name, ""))) for name in shown[kind])
    return (
        f'<div class="hub-tools">{kinds(kind)}</div><form data-act="search" role="search" class="hub-search">'
        f'<input type="search" name="words" value="{text(asked.get("words", ""))}" placeholder="Words, such as smollm" '
        f'aria-label="Words">{fields}<button type="submit" class="primary">Search</button></form>{found}'
    )


def _choice(name: str, choices: Sequence[str], chosen: str) -> str:
    options = "".join(f"<option{' selected' if one == chosen else ''}>{text(one)}</option>" for one in choices)
    return f'<label>{name.capitalize()}<select name="{name}"><option value="">any</option>{options}</select></label>'


def _field(name: str, label: str, value: str, hint: str = "", kind: str = "text") -> str:
    return (
        f'<label>{text(label)}<input type="{kind}" name="{name}" value="{text(value)}" placeholder="{text(hint)}" '
        'autocomplete="off" spellcheck="false"></label>'
    )


# -- one repository ---------------------------------------------------------------------------------------------


def page(told: Mapping[str, Any], has: frozenset[str], plan: Mapping[str, Any] | None = None) -> str:
    """One repository: what it is, what can be done with it, its files, its card."""
    kind, name = str(told["kind"]), str(told["name"])
    facts = [told["task"], told["library"], told["licence"], size(told["bytes"]) if told["bytes"] else ""]
    facts += [plural(told["likes"], "like"), f"{told['downloads']:,} downloads" if kind != "space" else ""]
    facts += ["only you see it" if told["private"] else "", "gated" if told["gated"] else ""]
    if told["base"]:
        facts.append(f"tuned from {told['base']}")
    act = f'data-kind="{text(kind)}" data-name="{text(name)}"'
    rows = "".join(
        f"<tr><td>{text(one['name'])}</td><td>{size(one['bytes'])}</td></tr>" for one in told["files"][:FILES]
    )
    more = len(told["files"]) - FILES
    files = (
        f'<details class="hub-form"><summary>{plural(len(told["files"]), "file")}</summary><div class="hub-scroll">'
        f'<table class="hub-table">{rows}</table></div>'
        f"{f'<p class=quiet>and {more:,} more</p>' if more > 0 else ''}</details>"
    )
    card = "".join(markdown.blocks(str(told["card"]))) if told["card"] else calm("It has no card.")
    changed = when(told["updated"] or None)
    return (
        '<p><button type="button" class="chip" data-act="back">‹ Back</button></p>'
        f'<h2 class="hub-title">{text(name)}</h2>'
        f'<p class="quiet">{" · ".join(text(one) for one in facts if one)}'
        f"{f' · changed {changed}' if changed else ''}</p>"
        f'<div class="hub-acts">{_acts(kind, act, told, has)}</div>'
        f"{_plan(plan, act) if plan else ''}{_own(told, act) if told['mine'] else ''}{files}"
        f'<article class="hub-card prose">{card}</article>'
    )


def _acts(kind: str, act: str, told: Mapping[str, Any], has: frozenset[str]) -> str:
    """What one press can do with it."""

    def button(what: str, title: str, primary: bool = False) -> str:
        return f'<button type="button" class="{"primary" if primary else ""}" data-act="{what}" {act}>{title}</button>'

    known = [("chat", "Chat with it", "text"), ("tune", "Tune it", "tune"), ("evaluate", "Evaluate it", "evaluate")]
    if kind == "space":
        return f'<span class="quiet">sdk {text(told["note"])}</span>'
    if kind == "dataset":
        acts = [f'<a class="button" href="?tab=data&dataset={text(told["name"])}">See its rows</a>']
        acts += [button(what, title) for what, title, tab in known[1:] if tab in has]
    else:
        acts = [button(what, title, what == "chat") for what, title, tab in known if tab in has]
    revision = (
        f'<form data-act="plan" {act}><input name="revision" placeholder="revision: main" aria-label="Revision" '
        'autocomplete="off" spellcheck="false">'
        '<label class="tick" title="Without it, weights in other forms than safetensors stay on the Hub">'
        '<input type="checkbox" name="everything"> every form</label>'
        '<button type="submit">Download …</button></form>'
    )
    return "".join(acts) + revision


def _plan(plan: Mapping[str, Any], act: str) -> str:
    """What a download would take, before it begins."""
    every = "1" if plan["everything"] else ""
    revision = f'data-revision="{text(plan["revision"])}" data-everything="{every}"'
    free = f"{size(plan['free'])} may still be taken"
    if not plan["bytes"]:
        return '<div class="panel"><p>All of it is on this machine already.</p></div>'
    if not plan["fits"]:
        return (
            f'<div class="panel panel-warning"><b>It does not fit.</b><p>It needs {size(plan["bytes"])} and {free}. '
            'Delete something first.</p><button type="button" class="chip" data-act="pane" data-pane="cache">'
            "See what is on this machine</button></div>"
        )
    return (
        f'<div class="panel"><p>{size(plan["bytes"])} in {plural(plan["files"], "file")}; {free}.'
        f" Every file is compared "
        f'with the Hub\'s checksum.</p><button type="button" class="primary" data-act="download" {act} {revision}>'
        "Download now</button></div>"
    )


def _own(told: Mapping[str, Any], act: str) -> str:
    """What its owner may change."""
    name, other = str(told["name"]), "public" if told["private"] else "private"
    return (
        '<details class="hub-form"><summary>Rename, show, delete</summary>'
        f'<form data-act="rename" {act}>{_field("to", "New name", name)}<button type="submit">Rename</button></form>'
        f'<form data-act="show" data-private="{"" if told["private"] else "1"}" {act}>'
        f'<button type="submit">Make it {other}</button></form>'
        f'<form data-act="delete" {act}>{_field("typed", "Type its whole name to delete it for good", "", name)}'
        '<button type="submit" class="stop">Delete</button></form></details>'
    )


def room(told: Mapping[str, Any]) -> str:
    """Whether a model fits into memory here."""
    if not told:
        return ""
    needs = size(told["bytes"] + told["packed_bytes"] + told["context_bytes"])
    if told["fits"]:
        return (
            f'<p class="hub-fit"><b>It fits here</b>: {_parameters(told["parameters"])}'
            f" take {needs} with a conversation of "
            f"{told['context']:,} tokens; {size(told['free'])} are free.</p>"
        )
    return f'<p class="hub-fit"><b>It does not fit here.</b> {text(told["advice"])}</p>'


# -- transfers --------------------------------------------------------------------------------------------------


def transfers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Downloads and uploads that go on or have just ended."""
    return f'<ul class="hub-transfers">{"".join(_transfer(row) for row in rows)}</ul>' if rows else ""


def _transfer(row: Mapping[str, Any]) -> str:
    going = row["state"] == "running"
    verb = {"download": "Download of", "upload": "Upload to"}[row["do"]]
    share = row["done"] / row["total"] if row["total"] else 0.0
    words = [f"{size(row['done'])} of {size(row['total'])}" if row["total"] else "looking what is missing"]
    if going:
        words += [f"{size(row['rate'])}/s" if row["done"] else "", f"{duration(row['eta'])} left" if row["eta"] else ""]
        words.append(row["phase"])
    elif row["state"] == "finished":
        words = [
            f"{size(row['total'])} in {duration(row['seconds'])}, checksums right" if row["total"] else "all was here"
        ]
    else:
        words.append("stopped" if row["state"] == "stopped" else "")
        words.append(f"{row['error']['message']} {row['error']['hint']}" if row["error"] else "")
    acts = [("stop", "Stop")] if going else [("forget", "Dismiss")]
    if row["state"] in ("failed", "stopped"):
        acts.insert(0, ("resume", "Go on"))
    buttons = "".join(
        f'<button type="button" class="chip" data-act="{act}" data-id="{text(row["id"])}">{title}</button>'
        for act, title in acts
    )
    bar = (
        f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><div style="width:{100 * share:.1f}%"></div></div>'
        if going
        else ""
    )
    said = " · ".join(text(one) for one in words if one)
    return f"<li><b>{verb} {text(row['name'])}</b> <span class=quiet>{said}</span>{buttons}{bar}</li>"


# -- the cache --------------------------------------------------------------------------------------------------


def cache(told: Mapping[str, Any], plan: Mapping[str, Any] | None = None) -> str:
    """What the cache holds, largest first; with a `plan` what deleting would free, to be confirmed."""
    left = told["left_over"]
    limit = f" It may take {size(told['limit'])}." if told["limit"] else ""
    line = (
        f"<p>The cache holds <b>{size(told['bytes'])}</b>; {size(told['free'])} of the disk are free.{limit} "
        f'<span class="quiet">{text(told["folder"])}</span></p>'
    )
    sure = ""
    if plan:
        names = " ".join(f'<input type="hidden" name="names" value="{text(one)}">' for one in plan["names"])
        what = ", ".join(one.partition("/")[2] or one for one in plan["names"])
        sure = (
            f'<form class="panel panel-warning" data-act="cache-delete">{names}<b>Delete {text(what)}?</b><p>It frees '
            f"{size(plan['bytes'])}. What is on the Hub stays there and can be downloaded again.</p>"
            '<button type="submit" class="stop">Delete</button> '
            '<button type="button" data-act="pane" data-pane="cache">Keep it</button></form>'
        )
    over = ""
    if left["files"]:
        over = (
            f'<p class="panel">{plural(left["files"], "file")}'
            f" left over, {size(left['bytes'])}: unfinished downloads, and "
            'revisions that newer ones replaced. <button type="button" class="chip" data-act="cache-plan" '
            'data-name="left over">Delete …</button></p>'
        )
    if not told["repositories"]:
        return line + over + sure + calm("Nothing from the Hub is on this machine yet.")
    rows = "".join(_cached(row) for row in told["repositories"])
    return (
        f'{line}{sure}{over}<div class="hub-scroll"><table class="hub-table"><thead><tr><th>Name</th><th>Kind</th>'
        f"<th>Size</th><th>Files</th><th>Last used</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cached(row: Mapping[str, Any]) -> str:
    replaced = [one for one in row["revisions"] if not one["refs"]]
    note = f"{plural(len(row['revisions']), 'revision')}, {len(replaced)} replaced" if len(row["revisions"]) > 1 else ""
    return (
        f'<tr><td><button type="button" class="hub-name" data-act="open" data-kind="{text(row["kind"])}" '
        f'data-name="{text(row["name"])}">{text(row["name"])}</button><span class="quiet">{note}</span></td>'
        f"<td>{text(row['kind'])}</td><td>{size(row['bytes'])}</td><td>{row['files']:,}</td><td>{when(row['used'])}</td>"
        f'<td><button type="button" class="chip" data-act="cache-plan"'
        f' data-name="{text(row["kind"])}/{text(row["name"])}">'
        "Delete …</button></td></tr>"
    )

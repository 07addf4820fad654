"""Secrets, what is kept, and what to read, as HTML. Pure; a secret's value never comes here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ui.views import plural, text, when

KEPT = {
    "environment": "Kept on this disk, encrypted by the key in ATELIER_SECRETS_KEY.",
    "keyring": "Kept on this disk, encrypted by a key in this system's keyring.",
    "memory": (
        "Kept in memory alone: they are gone when the server restarts. Set ATELIER_SECRETS_KEY to keep them, encrypted."
    ),
}
KINDS = {"course": "Course", "docs": "Docs", "paper": "Paper"}


def secrets(rows: Sequence[Mapping[str, Any]], kept: str) -> str:
    """Names alone, and a form to write one."""
    lines = "".join(_secret(row) for row in rows)
    table = (
        f'<table class="hub-table"><thead><tr><th>Name</th><th>Written</th><th>New runs</th><th></th></tr></thead>'
        f"<tbody>{lines}</tbody></table>"
        if rows
        else '<p class="empty quiet">No secrets yet. A token for a tracker or a gated model goes here.</p>'
    )
    return (
        f"<p class=quiet>{KEPT[kept]} A value can be written over or deleted, never read. You choose "
        f"for each run which it gets; those that are given are chosen at first. It finds them in its environment under "
        f"their names; logs show ••• instead.</p>{table}"
        '<form data-act="secret-put" class="hub-search"><label>Name<input name="name" placeholder="WANDB_API_KEY" '
        'autocomplete="off" spellcheck="false"></label><label>Value<input type="password" name="value" '
        'autocomplete="new-password"></label><button type="submit">Keep it</button></form>'
    )


def _secret(row: Mapping[str, Any]) -> str:
    name = f'data-name="{text(row["name"])}"'
    given = "given" if row["given"] else "not given"
    turn = "Don't give it" if row["given"] else "Give it"
    return (
        f"<tr><td><b>{text(row['name'])}</b></td><td>{when(row['at'])}</td><td>{given} "
        f'<button type="button" class="chip" data-act="secret-give" data-given="{"" if row["given"] else "1"}" {name}>'
        f'{turn}</button></td><td><button type="button" class="chip" data-act="secret-delete" '
        f"{name}>Delete</button></td></tr>"
    )


def learn(topics: Sequence[Mapping[str, Any]]) -> str:
    """Links by topic, in the order of the loop."""
    parts = "".join(
        f"<section><h3>{text(one['topic'])}</h3><ul>{''.join(_link(item) for item in one['items'])}</ul></section>"
        for one in topics
    )
    return f'<div class="learn">{parts}</div>'


def _link(item: Mapping[str, Any]) -> str:
    return (
        f'<li><a href="{text(item["url"])}" target="_blank" rel="noopener noreferrer">{text(item["title"])}</a> '
        f'<span class="quiet">{KINDS[item["kind"]]}</span></li>'
    )


def deposit(told: Mapping[str, Any]) -> str:
    """Whether one's runs are kept in a repository of one's own; '' where that is not offered."""
    if not told:
        return ""
    name = f"<b>{text(told['repository'])}</b>"
    if not told["on"]:
        trouble = f" <span class=problem>{text(told['trouble'])}</span>" if told["trouble"] else ""
        return (
            f'<p class="hub-keep">Your runs, uploads and pictures can be kept in {name}, a private data set of yours, '
            "and come back when you sign in here again."
            f'{trouble} <button type="button" class="chip" data-act="keep">Keep mine there</button></p>'
        )
    last = f", the last time {when(told['kept'])}" if told["kept"] else ""
    said = [f"The last time failed: {told['trouble']}"] if told["trouble"] else []
    if told["left"]:
        said.append(f"There is no room for {plural(told['left'], 'older run')}.")
    return (
        f'<p class="hub-keep">Your runs, uploads and pictures are kept in {name} every few minutes{last}. '
        f"<span class=problem>{text(' '.join(said))}</span> "
        '<button type="button" class="chip" data-act="keep-no-more">Keep them no more</button></p>'
    )

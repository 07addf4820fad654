"""What a judge, one's own choices and groups of errors say, as HTML; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ui import views
from ui.evaluate_views import tone

Told = Mapping[str, Any]
_OTHERS = (  # choice, key, words
    ("tie", "ArrowDown", "Equally good ↓"),
    ("neither", "ArrowUp", "Both bad ↑"),
    ("back", "Backspace", "Back ⌫"),
)
_CUT = 3000  # characters of an answer in the arena


def foretold(told: Told) -> str:
    """How long tasks will take, and by what that is said."""
    if told["seconds"] is None:
        why = "it is not known how many rows there are" if not told["unknown"] else "nothing like it has run here yet"
        return views.note(f"How long it takes can't be told: {why}. Ask 5 rows first; then the time is told here.")
    rows, runs = views.plural(told["rows"], "row"), ", ".join(told["of"])
    word = "About" if told["alike"] else "By other tasks, perhaps"
    more = f" {', '.join(told['unknown'])} was never measured and comes on top." if told["unknown"] else ""
    return views.note(f"{word} {views.duration(told['seconds'])} for {rows} of each model, as run {runs} went.{more}")


def ratings(rated: Sequence[Told]) -> str:
    """Models by their rating, with intervals."""
    known = [one for one in rated if one["rating"] is not None]
    if not known:
        return '<p class="quiet">Nothing has been compared yet.</p>'
    ends = [one[key] for one in known for key in ("low", "high", "rating") if one[key] is not None]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0
    lines = ""
    for one in sorted(known, key=lambda one: -one["rating"]):
        bar = ""
        if one["low"] is not None:
            left, right, at = (100 * (one[key] - low) / span for key in ("low", "high", "rating"))
            bar = (
                f'<div class="interval" aria-hidden="true"><i class="span" style="left:{left:.1f}%;'
                f'width:{max(right - left, 0.5):.1f}%"></i><i class="at" style="left:{at:.1f}%"></i></div>'
            )
        bounds = f" <span>[{one['low']:.0f}, {one['high']:.0f}]</span>" if one["low"] is not None else ""
        counts = f"{one['wins']:,} won, {one['ties']:,} even, {one['losses']:,} lost"
        lines += (
            f"<tr><th scope=row>{views.text(one['model'])}</th><td><b>{one['rating']:.0f}</b>{bounds}{bar}"
            f"<small>{counts}</small></td></tr>"
        )
    note = "Bradley-Terry, on the scale of chess: 100 points more win 64 % of comparisons. In brackets: 95 %."
    table = f'<table class="figures-table"><tbody>{lines}</tbody></table>'
    return f'<div class="scrolls" tabindex="0">{table}</div><p class="quiet">{note}</p>'


def judged(verdicts: Sequence[Told]) -> str:
    """What each judge said, the newest first."""
    if not verdicts:
        return '<p class="quiet">No judge has been asked about these answers.</p>'
    return "".join(_judge(one) for one in verdicts)


def _judge(told: Told) -> str:
    agreement, first = told["agreement"], told["first"]
    parts = []
    if agreement["value"] is not None:
        parts.append(
            f"<b>It agrees with itself on {_share(agreement)}</b> of {views.plural(agreement['n'], 'pair')} when the "
            "answers change places"
        )
    else:
        parts.append("<b>It gave no pair two verdicts</b>")
    if first["value"] is not None:
        parts.append(f"it names the first answer {_share(first)} of the time (50 % has no leaning)")
    if told["nonsense"]:
        parts.append(f"{told['nonsense']:,} of {told['asked']:,} replies were no verdict")
    weak = agreement["value"] is None or agreement["value"] < 0.6
    words = "A judge that agrees with itself so seldom says little." if weak else ""
    if told["nonsense"] > told["asked"] / 2:
        words = "This judge can't do it: most of its replies are no verdict. Take a larger model."
    warning = f'<p class="warns">{words}</p>' if words else ""
    names = told["models"]
    lines = ""
    for pair in told["pairs"]:
        counts = f"{pair['wins']:,} won, {pair['ties']:,} even or undecided, {pair['losses']:,} lost"
        lines += (
            f"<tr><th scope=row>{views.text(names[pair['b']])} beside {views.text(names[pair['a']])}</th><td>"
            f'<b class="verdict {tone(pair)}">{views.text(pair["verdict"])}</b><small>{counts}</small></td></tr>'
        )
    table = f'<div class="scrolls" tabindex="0"><table class="figures-table"><tbody>{lines}</tbody></table></div>'
    rated = ratings(told["ratings"]) if len(names) > 2 else ""
    decided = any(pair["wins"] + pair["losses"] for pair in told["pairs"])
    use = views.note(f"Pairs that both orders decided are the dataset run/{told['id']}.") if decided else ""
    head = f"<h4>{views.text(views.short(told['judge']))} as judge · {views.when(told['at'])}</h4>"
    return f'<section class="judge">{head}<p>{"; ".join(parts)}.</p>{warning}{table}{rated}{use}</section>'


def _share(one: Told) -> str:
    return f"{100 * one['value']:.0f} % [{100 * one['low']:.0f}, {100 * one['high']:.0f}]"


def pair(told: Told) -> str:
    """Two answers without names, to be chosen between by key or click."""
    done, total = told["done"], told["total"]
    count = f'<p class="quiet">{done:,} of {total:,} chosen</p>'
    if "prompt" not in told:
        return f'{count}<p class="empty">All are chosen. The ratings tell who was who.</p>'
    chosen = told["chosen"]
    sides = "".join(
        f'<button class="side" data-choice="{side}" data-key="{key}" aria-pressed="{str(chosen == side).lower()}">'
        f"<small>{name} · press {mark}</small><span>{views.text(told[side][:_CUT])}</span></button>"
        for side, key, name, mark in (("left", "ArrowLeft", "One", "←"), ("right", "ArrowRight", "The other", "→"))
    )
    others = "".join(
        f'<button data-choice="{choice}" data-key="{key}" aria-pressed="{str(chosen == choice).lower()}">'
        f"{words}</button>"
        for choice, key, words in _OTHERS
    )
    return (
        f'{count}<div class="arena-pair" tabindex="0" data-place="{told["place"]}"><header>{views.text(told["prompt"])}'
        f'</header><div class="sides">{sides}</div><div class="others">{others}</div></div>'
    )


def groups(found: Sequence[Told]) -> str:
    """Where errors gather; a press opens the rows of a group."""
    wrong, rows = sum(one["errors"] for one in found), sum(one["rows"] for one in found)
    lines = "".join(
        f'<tr><th scope=row><button data-rows="{",".join(map(str, one["of"]))}">'
        f"{views.text(', '.join(one['words']) or 'no words apart')}</button></th><td><b>{one['errors']:,} wrong</b> of "
        f"{one['rows']:,}: {_share({'value': one['share']} | {key: one[key] for key in ('low', 'high')})}</td></tr>"
        for one in found
    )
    head = (
        f"{views.plural(wrong, 'error')} of {views.plural(rows, 'row')}, grouped by what is asked (all-MiniLM-L6-v2)."
    )
    note = "The words set a group apart. A small group says little: mind the intervals."
    table = f'<table class="figures-table"><tbody>{lines}</tbody></table>'
    return f'<p>{head}</p><div class="scrolls" tabindex="0">{table}</div><p class="quiet">{note}</p>'

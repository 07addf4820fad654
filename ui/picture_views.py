"""What is learned from pictures, before and during a run, as HTML. Pure; everything from outside is escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from backend.recipes import PICTURES
from ui.tune_views import finding, problem
from ui.views import note, plural, text

_MARKS = {"stop": "wrong", "drop": "left out", "keep": "kept"}


def facts(look: Mapping[str, Any], rules: Mapping[str, str]) -> str:
    """How many there are, what is wrong or was changed, and the first ones small."""
    report = look["report"]
    lines = [finding(one, _MARKS[rules["bad_rows"]], "picture") for one in report["wrong"]]
    lines += [finding(report["twice"], _MARKS[rules["same_rows"]], "picture")] if report["twice"] else []
    lines += [finding(one, "kept", "picture") for one in report["changed"]]
    found = f'<ul class="findings" id="tune-findings">{"".join(lines)}</ul>' if lines else ""
    thumbs = "".join(
        f'<img src="data:image/webp;base64,{base64.b64encode(one).decode()}" alt="Picture {at}">'
        for at, one in enumerate(look["thumbs"], 1)
    )
    more = look["total"] - len(look["thumbs"])
    rest = f"<span class=quiet>and {more:,} more</span>" if more > 0 and len(look["thumbs"]) >= 24 else ""
    return (
        f'<p class="facts"><b>{text(plural(look["total"], "picture"))}</b> <span class=quiet>columns: '
        f"{text(', '.join(look['columns']))}</span></p>{problem(look['problem'])}{''.join(map(note, look['notes']))}"
        f'{found}<div class="thumbs" id="tune-thumbs">{thumbs}{rest}</div>'
    )


def summary(recipe: str, params: Mapping[str, Any], place: str, look: Mapping[str, Any]) -> str:
    """`Image LoRA r=8 of “a sks figure” from 10 pictures of sample/mascot, 200 steps, on This machine`."""
    rank = f" r={params['lora_r']}" if "lora_r" in params else ""
    many = min(look["total"], params["max_rows"] or look["total"])
    start = f" Starts from {text(params['start_from'])}." if params.get("start_from") else ""
    kept = f" Keeps “{text(params['class_prompt'])}”." if params.get("class_prompt") else ""
    return (
        f'<p class="summary"><b>{text(PICTURES[recipe].title + rank)}</b> of “{text(params["instance_prompt"])}” from '
        f"<b>{text(plural(many, 'picture'))} of {text(params['dataset'])}</b>, "
        f"{text(plural(params['max_steps'], 'step'))}, on {text(place)}</p>"
        f"<p class=quiet>Model: {text(params['model'])}.{start}{kept} Learning rate: {params['learning_rate']:g}. "
        "The run goes on when you close this page; you find it in Runs.</p>"
    )


def samples(drawn: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """Watch it learn: for each prompt and seed what was drawn before, and at each checkpoint since."""
    steps = list(drawn)
    cards = []
    for row in drawn[steps[-1]]:
        said = [(step, _picture(drawn[step], row)) for step in steps]
        pictures = "".join(
            f'<figure class="{"now" if step == steps[-1] else "then"}"><img src="{text(address)}" '
            f'alt="{text(row.get("prompt", ""))}, {"before" if not step else f"step {step}"}">'
            f"<figcaption>{f'Step {step:,}' if step else 'Before'}</figcaption></figure>"
            for step, address in said
            if address
        )
        seed = f" <span class=quiet>seed {text(row.get('seed', ''))}</span>"
        cards.append(
            f'<article class="sample"><p>{text(row.get("prompt", ""))}{seed}</p>'
            f'<div class="drawn" tabindex="0">{pictures}</div></article>'
        )
    return f'<h3>Watch it learn</h3><div class="samples pictures">{"".join(cards)}</div>'


def _picture(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> str:
    """The address of the picture of the same prompt and seed; '' where there is none."""
    same = (row for row in rows if (row.get("prompt"), row.get("seed")) == (wanted.get("prompt"), wanted.get("seed")))
    address = str(next(same, {}).get("picture", ""))
    return address if address.startswith("data:image/webp;base64,") else ""

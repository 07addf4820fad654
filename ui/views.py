"""The words and small pieces that every page about runs is made of. Pure; everything from outside is escaped."""

from __future__ import annotations

import html
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backend.recipes import METHODS, PICTURES

_PART = re.compile("(?=[@:])")
LIVING = ("queued", "running", "stopping")
WORDS = {
    "queued": "Queued",
    "running": "Running",
    "paused": "Paused",
    "stopping": "Stopping",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
NAMES = {  # how the figures people meet most are called and written
    "loss": ("Loss", "{:.4g}"),
    "eval_loss": ("Eval loss", "{:.4g}"),
    "learning_rate": ("Learning rate", "{:.3g}"),
    "tokens_per_second": ("Tokens/s", "{:,.0f}"),
    "rows_per_second": ("Rows/s", "{:.2f}"),
    "pictures_per_second": ("Pictures/s", "{:.2f}"),
    "grad_norm": ("Gradient norm", "{:.3g}"),
    "epoch": ("Epoch", "{:.2f}"),
    "train_loss": ("Mean loss", "{:.4g}"),
    "mean_token_accuracy": ("Token accuracy", "{:.1%}"),
    "eval_mean_token_accuracy": ("Eval accuracy", "{:.1%}"),
    "rewards/margins": ("Margin", "{:.4g}"),
    "rewards/accuracies": ("Accuracy", "{:.1%}"),
    "rewards/chosen": ("Chosen", "{:.4g}"),
    "rewards/rejected": ("Rejected", "{:.4g}"),
    "accuracy": ("Accuracy", "{:.1%}"),
    "reward": ("Reward", "{:.4g}"),
    "kl": ("KL", "{:.4g}"),
    "entropy": ("Entropy", "{:.4g}"),
    "memory_gb": ("Memory, GB", "{:.2f}"),
    "job_memory_gb": ("Memory there, GB", "{:.1f}"),
    "job_cpu": ("Processor there", "{:.0%}"),
    "job_gpu": ("GPU there", "{:.0%}"),
    "job_gpu_memory_gb": ("GPU memory there, GB", "{:.1f}"),
    "seconds_per_step": ("Seconds a step", "{:.3g}"),
    "same_answers": ("Same answers", "{:.0%}"),
    "same_tokens": ("Same tokens", "{:.0%}"),
    "logit_difference": ("Largest difference of a logit", "{:.2g}"),
    "megabytes": ("MB", "{:,.3g}"),
}


def note(words: str) -> str:
    """A quiet line; nothing when there is nothing to say."""
    return f"<p class=quiet>{text(words)}</p>" if words else ""


def mark(*parts: Any) -> int:
    """A small number that changes when `parts` do, so that what a page has already is not sent again."""
    return zlib.crc32(json.dumps(parts, default=str).encode())


# -- words ------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """`value` as HTML text or attribute."""
    return html.escape(str(value))


def figure(name: str) -> str:
    """What a measured value is called."""
    return NAMES[name][0] if name in NAMES else name.replace("_", " ").replace("/", " · ").capitalize()


def number(name: str, value: Any) -> str:
    """A measured value in words; `not a number` when it is none."""
    amount = real(value)
    if amount is None:
        return str(value)
    if not math.isfinite(amount):
        return "not a number" if math.isnan(amount) else "infinite"
    return (NAMES[name][1] if name in NAMES else "{:.4g}").format(amount)


def real(value: Any) -> float | None:
    """A float; one that is not finite travels as text, and other text is no number."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else None
    return float(value) if isinstance(value, int | float) else None


def plain(value: Any) -> str:
    """A setting as a person reads it."""
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def size(many: float) -> str:
    """`512 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if many < 1000 or unit == "GB":
            return f"{many:.3g} {unit}"
        many /= 1000
    raise AssertionError


def duration(seconds: float | None) -> str:
    """`45 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def when(at: float | None) -> str:
    """A moment as <time>, in UTC; the page shows it in the visitor's own time."""
    if at is None:
        return ""
    moment = datetime.fromtimestamp(at, UTC)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M} UTC</time>'


def plural(many: float, noun: str) -> str:
    """`1 epoch`, `2.5 epochs`, `1,200 rows`."""
    amount = f"{many:,.10g}"
    return f"{amount} {noun}" if amount == "1" else f"{amount} {noun}s"


def state_words(status: Mapping[str, Any]) -> str:
    """`Running`, or `Queued: 1 run before yours`."""
    if status["state"] == "queued" and (ahead := status.get("ahead")) is not None:
        return f"Queued: {plural(ahead, 'run')} before yours" if ahead else "Queued: yours is next"
    return WORDS.get(status["state"], status["state"])


def progress_words(status: Mapping[str, Any]) -> str:
    """`step 12 of 165 · 3 min 05 s left`."""
    progress = status["progress"]
    if not progress["total"]:
        return ""
    unit = str(progress["unit"]).rstrip("s")
    parts = [f"{unit} {progress['done']:,.0f} of {progress['total']:,.0f}"]
    if status["state"] == "running" and progress["eta"] is not None:
        parts.append(f"{duration(progress['eta'])} left")
    return " · ".join(part for part in parts if part)


def share(status: Mapping[str, Any]) -> float:
    """How much is done, 0 to 1."""
    progress = status["progress"]
    if status["state"] == "finished":
        return 1.0
    return min(1.0, max(0.0, progress["done"] / progress["total"])) if progress["total"] else 0.0


def short(name: str) -> str:
    """The last part of a model's or dataset's name, with what is said of which part of that."""
    name = str(name)
    head, *part = [name] if name.startswith("/") else _PART.split(name, maxsplit=1)
    return "".join([head.rstrip("/").rpartition("/")[2], *part]) or name


def what(status: Mapping[str, Any]) -> str:
    """`SFT · LoRA` for a run, `Merge of run ab12` for what was made of one."""
    params, recipe = status["params"], str(status["recipe"])
    adapter = str(params.get("adapter", ""))
    name = recipe.upper() if "adapter" in params and recipe in METHODS else recipe.capitalize()
    name = PICTURES[recipe].title if recipe in PICTURES else name
    kind = " · ".join(part for part in (name, ADAPTERS.get(adapter, adapter) if recipe in METHODS else "") if part)
    of = f" of {str(params['run']).replace('/', ' ')}" if params.get("run") else ""
    return f"{kind}{of}{' · dry run' if params.get('dry_run') else ''}"


ADAPTERS = {
    "lora": "LoRA",
    "qlora": "QLoRA",
    "prefix_tuning": "prefix tuning",
    "p_tuning": "p-tuning",
    "prompt_tuning": "prompt tuning",
    "ia3": "IA3",
    "full": "full",
}


# -- pieces of a page -------------------------------------------------------------------------------------------


def badge(status: Mapping[str, Any], words: str = "") -> str:
    return f'<span class="state state-{text(status["state"])}">{text(words or state_words(status))}</span>'


def bar(status: Mapping[str, Any]) -> str:
    percent = round(100 * share(status), 1)
    return (
        f'<div class="bar bar-{text(status["state"])}" role="progressbar" aria-label="Progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent:g}"><div style="width:{percent:g}%"></div></div>'
    )


def link(run_id: str) -> str:
    """A way to another run; the page opens it in place."""
    return f'<a href="?run={text(run_id)}" data-run="{text(run_id)}">{text(run_id)}</a>'


def no_runs(tune: bool) -> str:
    """What will be where there is none yet, and where they begin if the page has that tab."""
    return f"Your runs will be here.{' Start one in Tune.' * tune}"


def listing(runs: Sequence[Mapping[str, Any]], shown: str = "", more: bool = False, tune: bool = True) -> str:
    """The sidebar's list: a button a run."""
    if not runs:
        return f'<p class="quiet">{no_runs(tune)}</p>'
    items = "".join(_item(status, status["id"] == shown) for status in runs)
    rest = '<button type="button" class="more" data-more="1">Show more</button>' if more else ""
    return f'<ul class="runs">{items}</ul>{rest}'


def _item(status: Mapping[str, Any], chosen: bool) -> str:
    living = status["state"] in LIVING
    word, _, place = state_words(status).partition(": ")  # the list is narrow: its place in the line goes below
    below = text(place or progress_words(status)) if living else when(status["ended"] or status["created"])
    loss = status["metrics"].get("loss", status["metrics"].get("train_loss"))
    score = f"loss {text(number('loss', loss))}" if loss is not None and not living else ""
    about = " · ".join(part for part in (short(status["params"].get("dataset", "")), status["id"]) if part)
    return (
        f'<li><button type="button" data-run="{text(status["id"])}"{" aria-current=true" if chosen else ""}>'
        f"<span class=top><b>{text(what(status))}</b>{badge(status, word)}</span>"
        f"<span class=quiet>{text(about)}</span>"
        f"{bar(status) if living else ''}"
        f"<span class=quiet>{' · '.join(part for part in (below, score) if part)}</span></button></li>"
    )

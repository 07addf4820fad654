"""All evaluations on one dataset beside one another, as HTML: a table, pictures, the settings; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ui import evaluate_views as drawn
from ui import views
from ui.evaluate import plots

Told = Mapping[str, Any]
ACROSS = {  # what quality is set against: title, and how it is written
    "seconds": ("Seconds an answer", lambda value: f"{value:.3g} s"),
    "memory_gb": ("Memory, GB", lambda value: f"{value:.3g} GB"),
    "dollars": ("Dollars for 1,000 answers", lambda value: f"$ {value:.3g}"),
}
_TOPS = {"mcc": 1.0, "embedding_similarity": 1.0, "bleu": 100.0, "chrf": 100.0}  # figures that have one, beside shares
_ASIDE = ("models", "dataset", "metrics", "answers", "columns", "held_out_of", "task_file", "tasks")  # no settings


def datasets(evaluations: Sequence[Told]) -> list[str]:
    """Which were measured on, the newest first."""
    return list(dict.fromkeys(one["dataset"] for one in evaluations))


def figures(evaluations: Sequence[Told], dataset: str) -> list[tuple[str, str]]:
    """(title, figure) of all that was measured on a dataset."""
    return list({one["figure"]: (one["title"], one["figure"]) for told in evaluations if told["dataset"] == dataset
                 for one in told["figures"]}.values())  # fmt: skip


def newest(evaluations: Sequence[Told], dataset: str) -> dict[str, dict[str, dict[str, Any]]]:
    """{model: {figure: what is known of it}}, of the newest evaluation that measured it. Each knows its costs, too."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for told in sorted(evaluations, key=lambda one: -one["created"]):
        if told["dataset"] == dataset:
            for one in told["figures"]:
                name = told["models"][one["model"]]
                costs = _costs(told, one["model"])
                found.setdefault(name, {}).setdefault(one["figure"], {**one, **costs, "of": told["id"]})
    return found


def _costs(told: Told, model: int) -> dict[str, float]:
    """{seconds an answer, memory_gb, dollars for 1,000 answers}, as far as known."""
    about = told["about"][model] if model < len(told.get("about", [])) else {}
    rows = max(1, told["rows"]) * max(1, int(told["settings"].get("seeds") or 1))
    found = {"memory_gb": about.get("memory_gb")}
    for key, many in (("seconds", 1), ("dollars", 1000)):
        found[key] = about[key] * many / rows if about.get(key) is not None else None
    return {key: value for key, value in found.items() if value is not None}


def table(evaluations: Sequence[Told], dataset: str) -> str:
    """Every model that was measured on `dataset`, its newest figures with intervals and costs, the best first."""
    models = newest(evaluations, dataset)
    if not models:
        return ""
    titles = {name: one for known in models.values() for name, one in known.items()}
    first = next(iter(titles.values()))
    heads = "".join(f"<th scope=col>{views.text(one['title'])}</th>" for one in titles.values())
    costs = [key for key in ACROSS if any(key in one for known in models.values() for one in known.values())]
    heads += "".join(f"<th scope=col>{ACROSS[key][0]}</th>" for key in costs)
    lines = ""
    for name in ranked(models, first["figure"]):
        cells = ""
        for figure, one in titles.items():
            peers = [known[figure] for known in models.values() if figure in known]
            cell = drawn.spanned(models[name][figure], peers) if figure in models[name] else "–"
            cells += f'<td data-of="{views.text(one["title"])}">{cell}</td>'
        known = next(iter(models[name].values()))
        for key in costs:
            cells += f'<td data-of="{ACROSS[key][0]}">{ACROSS[key][1](known[key]) if key in known else "–"}</td>'
        lines += f"<tr><th scope=row>{drawn.titled(name)}</th>{cells}</tr>"
    return (
        f'<div class="scrolls" tabindex="0"><table class="figures-table"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def ranked(models: Mapping[str, Mapping[str, Told]], figure: str) -> list[str]:
    """Names, the best of `figure` first; who has no value comes last."""
    about = next((known[figure] for known in models.values() if figure in known), {"higher": True})
    sign = 1 if about["higher"] is False else -1

    def place(name: str) -> tuple[bool, float]:
        value = models[name].get(figure, {}).get("value")
        return value is None, sign * (value or 0)

    return sorted(models, key=place)


def pictures(evaluations: Sequence[Told], dataset: str, figure: str, across: str = "seconds") -> str:
    """Bars, quality against a cost, a radar, and how it went over time."""
    models = newest(evaluations, dataset)
    models = {name: models[name] for name in ranked(models, figure)}  # a model has one colour in all pictures
    points = [{"name": name, "place": place} | known[figure] for place, (name, known) in enumerate(models.items())
              if known.get(figure, {}).get("value") is not None]  # fmt: skip
    if not points:
        return '<p class="quiet">Nothing was measured there by that figure.</p>'
    unit, title = points[0]["unit"], points[0]["title"]

    def written(value: float) -> str:
        return drawn.amount({"unit": unit, "value": value})

    parts = [_picture(f"{title}, with 95 % intervals", plots.bars(points, written, unit == "%"))]
    words, said = ACROSS[across]
    costly = [one | {"x": one[across]} for one in points if across in one]
    body = plots.scatter(costly, written, words, said) if costly else '<p class="quiet">Not known of any model.</p>'
    parts.append(_picture(f"{title} against {words[0].lower() + words[1:]}", body))
    parts.append(_radar(models))
    parts.append(_picture(f"{title} over time", _history(evaluations, dataset, figure, written, models)))
    return f'<div class="plots">{"".join(parts)}</div>'


def _picture(title: str, body: str) -> str:
    return f"<figure><figcaption>{views.text(title)}</figcaption>{body}</figure>"


def _radar(models: Mapping[str, Mapping[str, Told]]) -> str:
    """Of figures that all have and that are better or worse: shares as they are, others as parts of the best."""
    common = [figure for figure, one in next(iter(models.values())).items()
              if one["higher"] is not None and all(known.get(figure, {}).get("value") is not None
                                                   for known in models.values())]  # fmt: skip
    title = "All figures, outwards is better"
    if len(common) < 3:
        return _picture(title, '<p class="quiet">It takes three figures that every model has.</p>')
    best = {}
    for figure in common:
        values = [known[figure]["value"] for known in models.values()]
        best[figure] = min(values) if next(iter(models.values()))[figure]["higher"] is False else max(values)

    best |= {figure: _TOPS[figure] for figure in common if figure in _TOPS}

    def share(one: Told) -> float:
        if one["unit"] == "%":
            return float(1 - one["value"] if one["higher"] is False else one["value"])
        if one["higher"] is False:
            return best[one["figure"]] / one["value"] if one["value"] else 1.0
        return one["value"] / best[one["figure"]] if best[one["figure"]] else 0.0

    titles = [next(iter(models.values()))[figure]["title"] for figure in common]
    shown = [(name, [share(known[figure]) for figure in common]) for name, known in models.items()]
    note = '<p class="quiet">Shares as they are; figures without a top as a part of the best here.</p>'
    return _picture(title, plots.radar(titles, shown) + note)


def _history(
    evaluations: Sequence[Told], dataset: str, figure: str, written: Callable[[float], str], names: Iterable[str]
) -> str:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for told in sorted(evaluations, key=lambda one: float(one["created"])):
        for one in told["figures"]:
            if told["dataset"] == dataset and one["figure"] == figure and one["value"] is not None:
                found[told["models"][one["model"]]].append({**one, "x": told["created"]})
    return plots.lines({name: points for name, points in found.items() if points}, written)


def settings(evaluations: Sequence[Told], dataset: str, figure: str) -> str:
    """Evaluations with what they were set to, where that differs, beside what came of it."""
    mine = [one for one in evaluations if one["dataset"] == dataset]
    keys = [key for key in dict.fromkeys(key for one in mine for key in one["settings"]) if key not in _ASIDE]
    differ = [key for key in keys if len({str(one["settings"].get(key)) for one in mine}) > 1]
    if not mine:
        return ""
    heads = "".join(f"<th scope=col>{views.text(key)}</th>" for key in ("evaluation", "rows", *differ))
    lines = ""
    for one in mine:
        values = [drawn.amount(each) for each in one["figures"] if each["figure"] == figure]
        cells = "".join(f"<td>{views.text(views.plain(one['settings'].get(key)))}</td>" for key in differ)
        names = ", ".join(views.text(drawn.called(name)) for name in one["models"])
        label = f"<b>{views.text(one['name'])}</b> " if one["name"] else ""
        lines += (
            f"<tr><th scope=row>{label}{names}<small>{views.when(one['created'])}</small></th><td>{one['rows']:,}</td>"
            f"{cells}<td>{views.text(' → '.join(values)) or '–'}</td></tr>"
        )
    note = "" if differ else '<p class="quiet">All had the same settings.</p>'
    table = f'<table class="figures-table"><thead><tr>{heads}<th scope=col>figure</th></tr></thead>'
    return f'{note}<div class="scrolls" tabindex="0">{table}<tbody>{lines}</tbody></table></div>'

"""A judge: a chosen model says which of two stored answers is better, asked twice with the places swapped. Runs alone:

    mkdir -p /tmp/judged && echo '{"answers": "/tmp/measured"}' > /tmp/judged/params.json
    python -m backend.recipes.judge /tmp/judged/params.json

Only a verdict that it gives in both orders is a win; one that changes with the places is a tie. What is no verdict is
counted as such. `judge.json` has wins, agreement and ratings; `rows.jsonl` the decided pairs as preference data.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backend import events as ev
from backend.errors import BadData, BadInput
from backend.recipes import device, process, questions
from backend.recipes.answering import Answerer, Interrupted
from backend.recipes.asking import interrupted, name_of
from backend.recipes.process import say
from backend.recipes.provider import NAME as PROVIDER
from backend.recipes.provider import Provider
from backend.starter import MODEL_ID

RESULTS, LINES, ROWS = "judge.json", "judged.jsonl", "rows.jsonl"
CRITERIA = "Which answer is better: correct, to the point, and clear?"
VERDICTS = ("a", "b", "tie", "nonsense")
_LONGEST = 4000  # characters of an answer that the judge reads

Line = dict[str, Any]  # {row, a, b, order, verdict, said}; order 0 shows model a first


class Params(BaseModel):
    """Who judges which answers. A field that is left out, empty or None has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    answers: str = Field(title="Answers of", description="run/ID of an evaluation with two models or more")
    judge: str = Field(MODEL_ID, title="Judge", description="A model, or owner/name:provider")
    criteria: str = Field(CRITERIA, max_length=4000, title="What counts", description="Put to the judge as it is")
    reference: bool = Field(True, title="Show the reference", description="To the judge, where a row has one")
    max_rows: int = Field(0, ge=0, title="Rows", description="Judge only the first; 0 judges all")
    max_new_tokens: int = Field(8, ge=1, le=1024, title="Longest verdict", description="In tokens")
    per_device_eval_batch_size: int = Field(16, ge=1, le=1024, title="Batch size", description="Pairs judged at once")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Of what is drawn for intervals")


def preflight(params: Params) -> None:
    """Raises BadInput where there is nothing to judge."""
    pairs(Path(params.answers), params.max_rows)


def pairs(run: Path, max_rows: int = 0) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the models of an evaluation, and {row, prompt, reference, a, b, answers} of what can be compared."""
    if not (run / "results.json").exists() or not (run / questions.FILE).exists():
        raise BadInput(f"Run {run.name} has no results with answers.", "Name an evaluation that has finished.")
    names = [one["name"] for one in json.loads((run / "results.json").read_text())["models"]]
    if len(names) < 2:
        raise BadInput(f"Run {run.name} asked one model; a judge compares two.", "Evaluate two models together.")
    asked = questions.kept(run).questions
    said = [_answers(run / "answers" / f"{model}.answers.jsonl") for model in range(len(names))]
    found = []
    for one in asked[: max_rows or None]:
        for a, b in itertools.combinations(range(len(names)), 2):
            both = [said[model].get(one.number, "") for model in (a, b)]
            if all(answer.strip() for answer in both):
                about = {"row": one.number, "prompt": one.prompt, "shown": one.shown, "reference": one.reference}
                found.append(about | {"a": a, "b": b, "answers": both})
    if not found:
        raise BadInput(f"Run {run.name} has no row with two answers.", "Evaluate with a metric of answers.")
    return names, found


def _answers(path: Path) -> dict[int, str]:
    """What a model answered, by row."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {row["row"]: row.get("answer", "") for row in rows}


def put(params: Params, one: Mapping[str, Any], order: int) -> list[dict[str, str]]:
    """The question to the judge, with the two answers in one `order`."""
    first, second = one["answers"][:: -1 if order else 1]
    wanted = f"\n\nReference answer:\n{one['reference']}" if params.reference and one["reference"] else ""
    text = (
        f"{params.criteria}\n\nQuestion:\n{one['shown']}{wanted}\n\nAnswer A:\n{first[:_LONGEST]}\n\n"
        f"Answer B:\n{second[:_LONGEST]}\n\nReply with one letter alone: A, B, or C if they are equally good."
    )
    return [{"role": "user", "content": text}]


_LETTER = re.compile(r"^[\W_]*(?:(?:the )?(?:better )?(?:answer|option|verdict)\W+(?:is\W+)?)?([abc])(?![a-z'’])", re.I)
_LATER = re.compile(r"\b(?:answer|option)\W+([ab])\W+is\W+(?:clearly\W+)?(?:the\W+)?(?:better|best)\b", re.I)
_ARTICLE = re.compile(r"\W*a (?!is\b|was\b|seems\b|because\b|gives\b|has\b)[a-z]", re.I)
_EVEN = re.compile(r"^\W*(?:it'?s\W+a\W+|a\W+)?(?:tie|draw|both|equal|equally|neither)\b", re.I)


_CHOICES = re.compile(r"^[\W_]*(?:answers? |options? )?a\W*(?:,|/|\bor\b|\band\b|&)\W*(?:or\W+)?b\b(.*)", re.I | re.S)
_ALIKE = re.compile(r"\b(?:equal|equally|same|tie|tied|both|alike)\b", re.I)


def verdict(said: str, order: int) -> str:
    """Whom a reply names: a, b, tie, or nonsense for what is no verdict, such as the choices themselves."""
    if _EVEN.match(said):
        return "tie"
    if choices := _CHOICES.match(said):
        return "tie" if _ALIKE.search(choices[1]) else "nonsense"
    found = _LATER.search(said) or _LETTER.match(said)
    if found is None or (found.re is _LETTER and _ARTICLE.match(said)):  # the article
        return "nonsense"
    letter = found[1].lower()
    return "tie" if letter == "c" else letter if not order else "ba"["ab".index(letter)]


def run(params: Params, folder: Path) -> None:
    """Judge, and tell of it on standard output. Raises LabError."""
    begun = time.perf_counter()
    names, found = pairs(Path(params.answers), params.max_rows)
    same = [one for one in found if one["answers"][0] == one["answers"][1]]
    asked = [(one, order) for one in found if one["answers"][0] != one["answers"][1] for order in (0, 1)]
    lines = _held(folder / LINES)
    left = [(one, order) for one, order in asked if (one["row"], one["a"], one["b"], order) not in lines]
    say(
        ev.Logged(text=f"{len(found):,} pairs, each asked twice; {len(same):,} are the same text and ties as they are.")
    )
    try:
        if left:
            _ask(params, folder, left, lines, len(asked))
    except Interrupted:
        interrupted(folder, "what was judged", len(lines))
        return
    if asked and all("error" in line for line in lines.values()):
        raise BadData(
            f"Every question to the judge failed; the first: {next(iter(lines.values()))['error']}.", "See it."
        )
    told = tell(names, found, lines, params.seed) | {"judge": name_of(params.judge), "at": time.time()}
    told["of"] = Path(params.answers).name
    decided = list(preferences(names, found, lines))
    (folder / ROWS).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in decided))
    (folder / RESULTS).write_text(json.dumps(told, ensure_ascii=False))
    for pair in told["pairs"]:
        say(ev.Logged(text=f"{names[pair['b']]} beside {names[pair['a']]}: {pair['verdict']}"))
    say(ev.Produced(kind="dataset", name="preferences", file=ROWS))
    say(ev.Produced(kind="verdicts", name="judge", file=RESULTS))
    values: dict[str, Any] = {"agreement": told["agreement"]["value"], "nonsense": told["nonsense"]}
    values = {key: value for key, value in values.items() if value is not None}
    say(ev.Finished(values=values | {"rows": len(found), "seconds": round(time.perf_counter() - begun, 1)}))


def _held(path: Path) -> dict[tuple[int, int, int, int], Line]:
    """Verdicts that were written, but for a last line that a kill cut short."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    path.write_text(whole, encoding="utf-8")
    lines = [json.loads(line) for line in whole.splitlines()]
    return {(line["row"], line["a"], line["b"], line["order"]): line for line in lines}


def _ask(
    params: Params,
    folder: Path,
    left: Sequence[tuple[dict[str, Any], int]],
    lines: dict[tuple[int, int, int, int], Line],
    total: int,
) -> None:
    begun, before = time.perf_counter(), len(lines)
    with (folder / LINES).open("a", encoding="utf-8") as file:
        for batch in _batches(params, folder, left):
            for place, row in batch:
                one, order = left[place]
                line: Line = {"row": one["row"], "a": one["a"], "b": one["b"], "order": order}
                if "error" in row:
                    line |= {"verdict": "nonsense", "said": "", "error": row["error"]}
                else:
                    line |= {"verdict": verdict(row["answer"], order), "said": row["answer"][:500]}
                lines[one["row"], one["a"], one["b"], order] = line
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            made = len(lines) - before
            eta = (time.perf_counter() - begun) / made * (total - len(lines))
            say(ev.Progressed(done=len(lines), total=total, unit="verdicts", eta=round(eta, 1)))


def _batches(
    params: Params, folder: Path, left: Sequence[tuple[dict[str, Any], int]]
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    def stopped() -> bool:
        return (folder / "stop").exists()

    if stopped():
        raise Interrupted
    judge: Answerer | Provider
    if PROVIDER.fullmatch(params.judge):
        judge = Provider(params.judge, stopped)
        say(ev.Started(info={"judge": params.judge}))
    else:
        say(ev.Logged(text="Loading PyTorch and Transformers …"))
        import torch

        chosen = device.choose(device.find())
        torch.set_num_threads(chosen.threads)
        say(ev.Started(info={"judge": name_of(params.judge)} | chosen.info()))
        judge = Answerer(params.judge, chosen, params.per_device_eval_batch_size, stopped)
    try:
        yield from judge.answers([put(params, *one) for one in left], params.max_new_tokens)
    finally:
        judge.close()


def decided(one: Mapping[str, Any], lines: Mapping[tuple[int, int, int, int], Line]) -> str:
    """What both orders together say of a pair: a, b, tie, or nonsense where one of them said none."""
    if one["answers"][0] == one["answers"][1]:
        return "tie"
    both = [lines[one["row"], one["a"], one["b"], order]["verdict"] for order in (0, 1)]
    return "nonsense" if "nonsense" in both else both[0] if both[0] == both[1] else "tie"


def tell(
    names: Sequence[str],
    found: Sequence[Mapping[str, Any]],
    lines: Mapping[tuple[int, int, int, int], Line],
    seed: int = 0,
) -> dict[str, Any]:
    """{models, pairs, ratings, agreement, first, nonsense, n}: what `judge.json` holds, with `cases`.

    `agreement` is how often both orders name the same, of the pairs with two verdicts; `first` how often the answer
    that was shown first is named, of the single verdicts for one of the two: without a leaning near a half.
    """
    import numpy

    from backend.metrics import ratings, statistics

    whole = [decided(one, lines) for one in found]
    twice = [one for one, what in zip(found, whole, strict=True)
             if what != "nonsense" and one["answers"][0] != one["answers"][1]]  # fmt: skip
    same = [len({lines[one["row"], one["a"], one["b"], order]["verdict"] for order in (0, 1)}) == 1 for one in twice]
    named = [(line["verdict"] == "a") != bool(line["order"]) for line in lines.values() if line["verdict"] in "ab"]
    told: dict[str, Any] = {
        "models": list(names),
        "n": len(found),
        "nonsense": sum(line["verdict"] == "nonsense" for line in lines.values()),
        "asked": len(lines),
        "agreement": _share(sum(same), len(same)),
        "first": _share(sum(named), len(named)),
        "pairs": [],
    }
    for a, b in itertools.combinations(range(len(names)), 2):
        mine = Counter(what for one, what in zip(found, whole, strict=True) if (one["a"], one["b"]) == (a, b))
        n = mine["a"] + mine["b"] + mine["tie"]
        pair: dict[str, Any] = {"a": a, "b": b, "wins": mine["b"], "ties": mine["tie"], "losses": mine["a"], "n": n,
                "nonsense": mine["nonsense"]}  # fmt: skip
        if n:
            low, high = statistics.paired_shares(mine["b"], mine["a"], n)
            value, p = (mine["b"] - mine["a"]) / n, statistics.mcnemar(mine["b"], mine["a"])
            gap = statistics.Difference(value, low, high, p, n, mine["b"], mine["tie"], mine["a"])
            pair |= {"value": value, "low": low, "high": high, "p": p}
            pair["verdict"] = (
                statistics.verdict(gap, True, "%", p if n > 1 else numpy.nan)
                if gap.wins or gap.losses
                else f"Can't tell: no pair was decided in both orders, n = {n:,}."
            )
        else:
            pair["verdict"] = "No verdict at all."
        told["pairs"].append(pair)
    games = [(one["a"], one["b"], {"a": 1.0, "b": 0.0, "tie": 0.5}[what])
             for one, what in zip(found, whole, strict=True) if what != "nonsense"]  # fmt: skip
    rated = ratings.ratings(games, len(names), seed)
    told["ratings"] = [{"model": name} | one for name, one in zip(names, rated, strict=True)]
    told["cases"] = [_case(one, what, lines) for one, what in zip(found, whole, strict=True)]
    return told


def _case(one: Mapping[str, Any], what: str, lines: Mapping[tuple[int, int, int, int], Line]) -> dict[str, Any]:
    said = [lines.get((one["row"], one["a"], one["b"], order), {}) for order in (0, 1)]
    return {
        "row": one["row"], "a": one["a"], "b": one["b"], "verdict": what,
        "said": [line.get("said", "") for line in said], "verdicts": [line.get("verdict", "") for line in said],
    }  # fmt: skip


def _share(right: int, n: int) -> dict[str, Any]:
    from backend.metrics import statistics

    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = statistics.wilson(right, n)
    return {"value": right / n, "low": low, "high": high, "n": n}


def preferences(
    names: Sequence[str],
    found: Sequence[Mapping[str, Any]],
    lines: Mapping[tuple[int, int, int, int], Line],
) -> Iterator[dict[str, Any]]:
    """The pairs that both orders decided, as rows that DPO takes."""
    for one in found:
        what = decided(one, lines)
        if what in ("a", "b"):
            better = "ab".index(what)
            prompt = one["prompt"]
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            chosen, rejected = ([{"role": "assistant", "content": one["answers"][i]}] for i in (better, 1 - better))
            models = (names[one["a"]], names[one["b"]])
            yield {"prompt": messages, "chosen": chosen, "rejected": rejected, "row": one["row"],
                   "chosen_by": models[better], "rejected_by": models[1 - better]}  # fmt: skip


if __name__ == "__main__":
    process.leave(process.main(Params, run))

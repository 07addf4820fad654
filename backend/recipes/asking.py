"""The passes over all models of an evaluation: answers, likelihoods, rewards. What was answered is not asked again.

Each line of `answers/MODEL.PASS.jsonl` is written when its batch is done; `answers/MODEL.json` tells what it took.
Several processes (see `together`) deal the questions out; each writes a part of its own until the pass is over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from backend import events as ev
from backend.metrics import Need, about
from backend.recipes import device, questions, scoring, together
from backend.recipes.answering import Answerer, Interrupted, Row
from backend.recipes.callbacks import peak_memory
from backend.recipes.process import say
from backend.recipes.provider import NAME as PROVIDER
from backend.recipes.provider import Provider
from backend.recipes.questions import Question
from backend.recipes.reading import short_name

if TYPE_CHECKING:
    from backend.recipes.evaluate import EvaluateParams

ANSWERS = "answers"
_QUIET = 0.5  # seconds between two Progressed, at least
_DRAWN = ("answers", "reward")  # passes whose outcome depends on the seed
Pass = tuple[int, Need, int]  # model, what is asked of it, which drawing


def _listed(value: Any) -> Any:
    """Text with commas is a list; a name twice is once."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        return value
    return list(dict.fromkeys(one.strip() for one in given if one.strip()))


Names = Annotated[list[str], BeforeValidator(_listed)]  # a field of params


def interrupted(folder: Path, kept: str, step: int = 0) -> None:
    """Say how a run ends that was asked to: by the word in its file `stop`."""
    if (folder / "stop").read_text().strip() == "cancel":
        say(ev.Cancelled(reason="cancelled by its owner"))
    else:
        say(ev.Paused(step=step, reason=f"stopped; {kept} is kept"))


def name_of(place: str) -> str:
    """What people call MODEL + ADAPTER: an adapter of a run is `run/ID`."""
    model, _, adapter = place.partition(" + ")
    path = Path(adapter or model)
    made = path.is_absolute() and path.name in ("adapter", "model")
    return f"run/{path.parent.name}" if made else short_name(adapter or model)


class Work:
    """What is to be asked of each model, and what was answered."""

    def __init__(self, params: EvaluateParams, folder: Path, asked: Sequence[Question], names: Sequence[str]) -> None:
        self.params, self.folder, self.asked = params, folder, asked
        needs = {about(name).needs for name in names}
        self.choices = all(one.choices for one in asked) and params.mode != "generation"
        passes: list[Need] = [need for need in ("answers", "likelihood", "preference", "reward") if need in needs]
        if "reward" in needs and "answers" not in needs:
            passes.insert(0, "answers")
        # Only what is written is drawn; how likely a given text is stays the same.
        self.draws = params.seeds if "answers" in passes and not self.choices else 1
        self.passes = [(need, draw) for need in passes for draw in range(self.draws if need in _DRAWN else 1)]
        every = [(model, *one) for model in range(len(params.models)) for one in self.passes]
        self.held = together.agreed({which: self._held(*which) for which in every} if together.first() else {})
        self.done = sum(map(len, self.held.values()))
        self.total = len(self.held) * len(asked)
        self.begun, self.first = time.perf_counter(), self.done
        self.told = 0.0
        self._answerer: Answerer | Provider | None = None
        self._device: device.Device | None = None
        if self.done:
            say(ev.Logged(text=f"{self.done:,} of {self.total:,} were answered before and are kept."))

    def of(self, model: int, place: str) -> list[list[Row]]:
        """For each drawing a row for each question: everything that the passes found. Raises Interrupted."""
        begun, before = time.perf_counter(), self.done
        try:
            for need, draw in self.passes:
                self._pass((model, need, draw), place)
        finally:
            if self._answerer:
                self._note(model, begun, self.done - before)
                self._answerer.close()
                self._answerer = None
        return [
            [
                scoring.join(
                    self.held[model, need, draw if need in _DRAWN else 0].get(one.number, {})
                    for need in dict(self.passes)
                )
                for one in self.asked
            ]
            for draw in range(self.draws)
        ]

    def about(self, model: int) -> dict[str, Any]:
        """What it took: {seconds, memory_gb} here, {dollars} at a provider; what is not known is left out."""
        path = self.folder / ANSWERS / f"{model}.json"
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        spent = [row.get("dollars") for (of, *_), rows in self.held.items() if of == model for row in rows.values()]
        known = [one for one in spent if one is not None]
        return told | ({"dollars": round(sum(known), 8)} if known else {})

    def _note(self, model: int, begun: float, made: int) -> None:
        if not made or not together.first():
            return
        told = self.about(model)
        told["seconds"] = round(told.get("seconds", 0.0) + time.perf_counter() - begun, 2)
        if isinstance(self._answerer, Answerer):
            told["memory_gb"] = round(max(told.get("memory_gb", 0.0), peak_memory()), 3)
        (self.folder / ANSWERS / f"{model}.json").write_text(json.dumps(told))

    def _file(self, model: int, need: Need, draw: int, part: int = 0) -> Path:
        """Where answers go; those of another process than the first to a `part` of it."""
        which = f"{f'.{draw}' if draw else ''}{f'.part{part}' if part else ''}"
        return self.folder / ANSWERS / f"{model}.{need}{which}.jsonl"

    def _held(self, model: int, need: Need, draw: int) -> dict[int, Row]:
        """What was written, but for a last line that a kill cut short."""
        found: dict[int, Row] = {}
        whole = self._file(model, need, draw)
        for path in (whole, *whole.parent.glob(f"{whole.stem}.part*.jsonl")):
            if not path.exists():
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = text[: text.rfind("\n") + 1]
            if lines != text:
                path.write_text(lines, encoding="utf-8")
            for line in lines.splitlines():
                row = json.loads(line)
                found[row.pop("row")] = row
        return found

    def _pass(self, which: Pass, place: str) -> None:
        """Ask what is left; of several processes each its share, and afterwards all know everything."""
        held = self.held[which]
        left = [one for one in self.asked if one.number not in held]
        if not left:
            return
        stopped = False
        try:
            self._ask(which, place, left[together.rank() :: together.many()])
        except Interrupted:
            stopped = True
        ours = {one.number: held[one.number] for one in left if one.number in held}
        told = together.collected((ours, stopped))
        if together.many() > 1:
            self._join(which, [rows for rows, _ in told])
        if any(wish for _, wish in told):
            raise Interrupted

    def _ask(self, which: Pass, place: str, ours: list[Question]) -> None:
        """Ask, and write what is answered batch by batch. Raises Interrupted."""
        if self._stopped():
            raise Interrupted
        path = self._file(*which, together.rank())
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for batch in self._batches(which, place, ours) if ours else ():
                for question, row in batch:
                    self.held[which][question.number] = row
                    file.write(_line(question.number, row))
                file.flush()
                os.fsync(file.fileno())
                self.done = min(self.total, self.done + len(batch) * together.many())  # the others are as quick
                self._progress()

    def _join(self, which: Pass, parts: list[dict[int, Row]]) -> None:
        """Everything that was answered is known to all, and lies in one file at the first."""
        for rows in parts:
            self.held[which] |= rows
        self.done = sum(map(len, self.held.values()))
        if together.first():
            whole = self._file(*which)
            new = whole.with_suffix(".new")
            new.write_text("".join(_line(*one) for one in sorted(self.held[which].items())), encoding="utf-8")
            new.replace(whole)
            for part in whole.parent.glob(f"{whole.stem}.part*.jsonl"):
                part.unlink()

    def _batches(self, which: Pass, place: str, left: list[Question]) -> Iterator[list[tuple[Question, Row]]]:
        model, need, draw = which
        if need == "reward":
            yield from self._rewards(model, draw, left)
            return
        answerer = self._loaded(place)
        prompts = [one.prompt for one in left]
        if need == "answers" and not self.choices:
            longest, stop, temperature = self.params.max_new_tokens, self.params.stop, self.params.temperature
            seeds = [(self.params.seed + draw) * 1_000_003 + one.number for one in left]
            for batch in answerer.answers(prompts, longest, stop, temperature, seeds):
                yield [(left[i], row) for i, row in batch]
            return
        given = [_given(one, need) for one in left]
        for judged in answerer.likelihoods(prompts, given):
            yield [(left[i], _judged(left[i], need, found)) for i, found in judged]

    def _rewards(self, model: int, draw: int, left: list[Question]) -> Iterator[list[tuple[Question, Row]]]:
        from backend.recipes import rewards

        scorer = rewards.scorer(self.params.reward_model, self._chosen())
        answers = self.held[model, "answers", draw]
        size = self.params.per_device_eval_batch_size
        for begin in range(0, len(left), size):
            if self._stopped():
                raise Interrupted
            part = [one for one in left[begin : begin + size] if "error" not in answers[one.number]]
            said = [_as_asked(one, answers[one.number]["answer"]) for one in part]
            found = scorer([one.prompt for one in part], said, [one.reference for one in part]) if part else []
            by_row = {one.number: {"reward": reward} for one, reward in zip(part, found, strict=True)}
            yield [(one, by_row.get(one.number, {})) for one in left[begin : begin + size]]

    def _begin(self, info: dict[str, Any]) -> None:
        names = {"model": ", ".join(map(name_of, self.params.models)), "dataset": short_name(self.params.dataset)}
        say(ev.Started(step=self.done, info=names | info))
        self._progress()

    def _chosen(self) -> device.Device:
        if self._device is None:
            say(ev.Logged(text="Loading PyTorch and Transformers …"))
            import torch

            self._device = device.choose(device.find(), self.params.precision)
            torch.set_num_threads(max(1, self._device.threads // together.here()))
            self._begin(self._device.info())
        return self._device

    def _loaded(self, place: str) -> Answerer | Provider:
        if self._answerer is None:
            if PROVIDER.fullmatch(place):
                self._answerer = Provider(place, self._stopped)
                if self._device is None:
                    self._begin({"device": "provider"})
            else:
                chosen = self._chosen()
                forget_peak()
                self._answerer = Answerer(place, chosen, self.params.per_device_eval_batch_size, self._stopped)
            self.begun, self.first = time.perf_counter(), self.done
        return self._answerer

    def _stopped(self) -> bool:
        return (self.folder / "stop").exists()

    def _progress(self) -> None:
        now = time.perf_counter()
        if self.done < self.total and now - self.told < _QUIET:
            return
        self.told = now
        spent, made = now - self.begun, self.done - self.first
        eta = round(spent / made * (self.total - self.done), 1) if made else None
        say(ev.Progressed(done=self.done, total=self.total, unit="answers", eta=eta))
        if made and spent:
            say(ev.Measured(step=self.done, values={"rows_per_second": round(made / spent, 3)}))


def _line(number: int, row: Row) -> str:
    return json.dumps({"row": number} | row, ensure_ascii=False) + "\n"


def forget_peak() -> None:
    """From here on `peak_memory` tells of the next model alone; elsewhere than on Linux, of the largest so far."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _given(question: Question, need: Need) -> list[str]:
    """The texts that a model judges for one question."""
    if need == "answers":
        return list(question.choices)
    return [question.reference, question.rejected] if need == "preference" else [question.reference or " "]


def _judged(question: Question, need: Need, found: list[Row] | Row) -> Row:
    """What a pass of likelihoods tells of a row."""
    import math

    if isinstance(found, dict):
        return found
    if need == "answers":
        logs = [one["log_likelihood"] for one in found]
        best = max(range(len(logs)), key=logs.__getitem__)
        sure = 1 / sum(math.exp(one - logs[best]) for one in logs)
        return {"answer": question.choices[best], "tokens": found[best]["tokens"], "seconds": 0.0,
                "confidence": round(sure, 6), "choices": logs}  # fmt: skip
    row = {"log_likelihood": found[0]["log_likelihood"] if question.reference else None,
           "reference_tokens": found[0]["tokens"], "reference_bytes": found[0]["bytes"]}  # fmt: skip
    return row | ({"rejected_log_likelihood": found[1]["log_likelihood"]} if need == "preference" else {})


def _as_asked(question: Question, answer: str) -> questions.Text:
    """An answer in the form of its prompt: text, or a message."""
    return answer if isinstance(question.prompt, str) else [{"role": "assistant", "content": answer}]

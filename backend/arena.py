"""The arena: one's own blind choice between two stored answers, rated by Bradley-Terry.

    arena.next(run, owner)                 two answers to one prompt, left and right, without names
    arena.choose(run, owner, place, …)     which is better, and the next two
    arena.standing(run, owner)             ratings with intervals; this tells the names

Choices lie in the evaluation's folder; decided ones are also votes, which Tune takes as preference data.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.door import door
from backend.errors import BadInput
from backend.evaluations import Evaluations
from backend.jobs import Run
from backend.metrics import ratings
from backend.recipes.judge import pairs
from backend.store import room
from backend.votes import Votes

FILE = "arena.jsonl"
CHOICES = ("left", "right", "tie", "neither")
PROMPTS = 200  # of one's own at once

Pair = dict[str, Any]


class Arena:
    """`upload(owner, path, name)` takes a dataset in. Every method raises LabError and nothing else."""

    def __init__(self, evaluations: Evaluations, votes: Votes, upload: Callable[[str, Path, str], str]) -> None:
        self._evaluations = evaluations
        self._votes = votes
        self._upload = upload

    @door
    def next(self, run_id: str, owner: str, place: int = -1) -> Pair:
        """{place, total, done, prompt, left, right, chosen}; without `prompt` when all were chosen.

        `place` takes one again that was chosen; −1 is the first that was not. Models change sides from row to row.
        """
        run = self._evaluations.evaluation(run_id, owner)
        _, found = self._pairs(run)
        chosen = _chosen(run)
        waiting = [i for i in range(len(found)) if i not in chosen]
        told: Pair = {"total": len(found), "done": len(found) - len(waiting), "place": place}
        if not 0 <= place < len(found):
            if not waiting:
                return told
            place = waiting[0]
        one = found[place]
        left, right = one["answers"][:: -1 if _swapped(run, place) else 1]
        return told | {"place": place, "prompt": one["shown"], "left": left, "right": right,
                       "chosen": chosen.get(place, "")}  # fmt: skip

    @door
    def choose(self, run_id: str, owner: str, place: int, choice: str) -> Pair:
        """Keep that the left one, the right one, both or none is better; the next pair. Choosing again changes it."""
        if choice not in CHOICES:
            raise BadInput(f"The choice {choice[:20]!r} is unknown.", f"Use one of {', '.join(CHOICES)}.")
        run = self._evaluations.evaluation(run_id, owner)
        names, found = self._pairs(run)
        if not 0 <= place < len(found):
            raise BadInput(f"place is {place}; there are {len(found)} pairs.", "Take the next one.")
        one = found[place]
        sides = "ba" if _swapped(run, place) else "ab"
        verdict = sides[CHOICES.index(choice)] if choice in ("left", "right") else choice
        prompt = one["prompt"]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        models = [{"model": names[one[side]], "evaluation": f"run/{run.id}"} for side in ("a", "b")]
        self._votes.cast(owner, messages, (one["answers"][0], one["answers"][1]), (models[0], models[1]), verdict)
        line = json.dumps({"place": place, "choice": choice})
        with room(run.folder), (run.folder / FILE).open("a") as file:
            file.write(line + "\n")
        return self.next(run_id, owner)

    @door
    def before(self, run_id: str, owner: str, place: int) -> int:
        """The place that was chosen last, or before the chosen `place`; −1 when there is none."""
        places = list(_chosen(self._evaluations.evaluation(run_id, owner)))
        earlier = places[: places.index(place)] if place in places else places
        return earlier[-1] if earlier else -1

    @door
    def standing(self, run_id: str, owner: str) -> dict[str, Any]:
        """{ratings: [{model, rating, low, high, n, wins, ties, losses}], n, neither, dataset}, the best first.

        `dataset` is the name of the owner's votes as preference data.
        """
        run = self._evaluations.evaluation(run_id, owner)
        names, found = self._pairs(run)
        games, neither = [], 0
        for place, choice in _chosen(run).items():
            one, left = found[place], 0.0 if _swapped(run, place) else 1.0
            neither += choice == "neither"
            got = {"left": left, "right": 1 - left, "tie": 0.5, "neither": 0.5}[choice]
            games.append((one["a"], one["b"], got))
        rated = [{"model": name} | one for name, one in zip(names, ratings.ratings(games, len(names)), strict=True)]
        rated.sort(key=lambda one: -(one["rating"] or 0))
        return {"ratings": rated, "n": len(games), "neither": neither, "dataset": self._votes.dataset(owner)}

    @door
    def prompts(self, text: str, owner: str, folder: Path) -> str:
        """One's own prompts, a line each, as a dataset; gives its name. `folder` holds the file until then."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not 1 <= len(lines) <= PROMPTS:
            raise BadInput(f"There are {len(lines)} prompts; write 1 to {PROMPTS}, a line each.", "Write some.")
        path = folder / "prompts.jsonl"
        rows = [{"prompt": [{"role": "user", "content": line}]} for line in lines]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return self._upload(owner, path, path.name)

    def _pairs(self, run: Run) -> tuple[list[str], list[dict[str, Any]]]:
        """Pairs of different answers, mixed so that models meet early and rows come back late."""
        names, found = pairs(run.folder)
        kept = [one for one in found if one["answers"][0] != one["answers"][1]]
        if not kept:
            raise BadInput("All answers are the same, so there is nothing to choose.", "Compare other models.")
        by_pair = [list(group) for _, group in itertools.groupby(
            sorted(kept, key=lambda one: (one["a"], one["b"], one["row"])), key=lambda one: (one["a"], one["b"])
        )]  # fmt: skip
        mixed = [one for row in itertools.zip_longest(*by_pair) for one in row if one]
        return names, mixed


def _swapped(run: Run, place: int) -> bool:
    """Whether model b is on the left: by a coin that falls the same each time."""
    return bool(hashlib.sha256(f"{run.id} {place}".encode()).digest()[0] & 1)


def _chosen(run: Run) -> dict[int, str]:
    """What was chosen last for each pair."""
    try:
        lines = (run.folder / FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return {one["place"]: one["choice"] for one in told}

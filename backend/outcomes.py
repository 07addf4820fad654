"""What a run made, to take away: its card, script and notebook, a zip, a repository on the Hub; and runs side by side.

    lab.outcomes.files(run, owner)                  what there is to take, by name and size
    lab.outcomes.zip(run, owner)                    all of it in one file
    lab.outcomes.push(run, owner, repo, token)      all of it to the Hub
    lab.outcomes.sweep("sft", params, values, who)  a run for each combination of values
    lab.outcomes.curves(runs, owner)                their figures over their steps

Merging an adapter and exporting to GGUF take long, so they are runs: `lab.launch("merge", {"run": "run/ID"}, owner)`
and `lab.launch("export", {"run": "run/ID", "type": "q8_0"}, owner)`.
"""

from __future__ import annotations

import itertools
import json
import secrets
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.card import Story, card
from backend.card_pictures import drawn, image_card
from backend.door import door
from backend.errors import BadInput, NotFound
from backend.jobs import Run
from backend.notebook import notebook, view_notebook
from backend.recipes import PICTURES, TRAINED
from backend.recipes.loading import hub_errors
from backend.starter import EMBEDDER_ID, IMAGE_ID, MODEL_ID, SAMPLES, embedder_ready, locate, ready
from backend.store import room

if TYPE_CHECKING:
    from backend.lab import Lab

MADE = ("adapter", "model", "gguf", *PICTURES)  # kinds of artifact that are taken away
MOST = 24  # runs of a sweep
LONGEST = 300_000  # characters of code in a notebook
_STORED = (".safetensors", ".gguf")  # weights don't get smaller by packing


class Outcomes:
    """Every method raises LabError and nothing else; a run is its owner's alone."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @door
    def card(self, run_id: str, owner: str) -> str:
        """The model card of a run that trained; of a merge or an export, that of the run it was made from."""
        run = self._trained(run_id, owner)
        status = self.lab.status(run.id, owner)
        if run.id != run_id:
            status["artifacts"] = self.lab.status(run_id, owner)["artifacts"]
        if run.job.recipe in PICTURES:
            return image_card(status, run.folder)
        return card(status, Story.read(_events(run.log)), self.lab.lineage(run_id, owner))

    @door
    def script(self, run_id: str, owner: str) -> str:
        """The plain Python that trains the same."""
        run = self._trained(run_id, owner)
        return self.lab.code(run.job.recipe, run.job.params, owner)

    @door
    def notebook(self, run_id: str, owner: str) -> str:
        """The same as a notebook for Colab: a JSON text."""
        run = self._trained(run_id, owner)
        params = run.job.params
        dataset = self.lab.catalog.dataset(params["dataset"], owner)
        place = Path(locate(dataset)) if dataset in SAMPLES else Path(dataset)
        local = place.is_file()
        script = self.lab.code(run.job.recipe, params, owner)
        if params["model"] == MODEL_ID:  # elsewhere it comes from the Hub
            script = script.replace(json.dumps(locate(MODEL_ID)), json.dumps(MODEL_ID))
        if params["model"] == IMAGE_ID:  # it is nowhere else
            script = script.replace(
                json.dumps(locate(IMAGE_ID)), '"pipeline"  # backend/starter/pictures/pipeline of Atelier, brought here'
            )
        title = f"{TRAINED[run.job.recipe].title} of {Path(params['model']).name}"
        return notebook(title, script, place if local else None)

    @door
    def book(self, title: str, script: str) -> str:
        """Any code that a page shows as a notebook; what comes with Atelier is named as others have it.

        Of this disk it carries the samples alone, whatever `script` names. Raises BadInput.
        """
        if not 0 < len(script) <= LONGEST:
            raise BadInput(f"The code has {len(script):,} characters; use 1 to {LONGEST:,}.", "Open Code first.")
        starter = self.lab.settings.starter
        for name, there in ((MODEL_ID, ready), (EMBEDDER_ID, embedder_ready)):
            if there(starter):
                place = locate(name, starter)
                script = script.replace(f"# {place} holds {name}, which is also on the Hub.\n", "").replace(place, name)
        return view_notebook(title, script, [Path(locate(name)) for name in SAMPLES])

    # -- away with it -------------------------------------------------------------------------------------------

    @door
    def files(self, run_id: str, owner: str) -> list[dict[str, Any]]:
        """What a zip or a push holds: {name, bytes} of each file, weights first."""
        parts = self._parts(run_id, owner)
        return [
            {"name": name, "bytes": len(part.encode()) if isinstance(part, str) else part.stat().st_size}
            for name, part in parts.items()
        ]

    @door
    def zip(self, run_id: str, owner: str) -> Path:
        """A zip of what the run made, with card, script and notebook; made anew, since a run may go on."""
        run = self.lab.run(run_id, owner)
        parts = self._parts(run_id, owner)
        place = run.folder / f"{run.job.recipe}-{run.id}.zip"
        size = sum(part.stat().st_size for part in parts.values() if isinstance(part, Path))
        with room(run.folder, size), zipfile.ZipFile(place.with_suffix(".new"), "w") as file:
            for name, part in parts.items():
                how = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
                if isinstance(part, Path):
                    file.write(part, name, how)
                else:
                    file.writestr(name, part, how)
        place.with_suffix(".new").replace(place)
        return place

    @door
    def push(self, run_id: str, owner: str, repo: str, token: str, private: bool = True) -> str:
        """Bring it all to the model repository `repo` of the visitor whose `token` this is; gives its address.

        Raises BadInput without a token or a name, HubError, Gated, NotFound.
        """
        from huggingface_hub import CommitOperationAdd, HfApi, constants

        if not token:
            raise BadInput(
                "Pushing needs a Hugging Face account, and nobody is signed in.", "Sign in first.", "hub.token"
            )
        if not repo.strip(" /"):
            raise BadInput("The repository has no name.", "Write it as owner/name.", "hub.name")
        parts = self._parts(run_id, owner)
        api = HfApi(constants.ENDPOINT, token=token)
        operations = [
            CommitOperationAdd(name, part if isinstance(part, Path) else part.encode()) for name, part in parts.items()
        ]
        with hub_errors(repo):
            name = api.create_repo(repo.strip(), private=private, exist_ok=True).repo_id
            api.create_commit(name, operations, commit_message=f"Run {run_id}, by Atelier")
        return f"{constants.ENDPOINT}/{name}"

    def _parts(self, run_id: str, owner: str) -> dict[str, Path | str]:
        """Name in the zip or repository → a file, or a text. Raises NotFound where nothing was made."""
        run = self.lab.run(run_id, owner)
        made = [one for one in self.lab.status(run_id, owner)["artifacts"] if one["kind"] in MADE]
        parts: dict[str, Path | str] = {}
        for one in made:
            place = run.folder / one["file"]
            for path in [place] if place.is_file() else sorted(place.rglob("*")):
                if path.is_file():
                    parts[path.name if place.is_file() else path.relative_to(place).as_posix()] = path
        if not parts:
            raise NotFound(
                f"Run {run.id} has made nothing yet that can be taken away.",
                "Wait for its first saved adapter, or stop it with Save.",
                "run.nothing",
            )
        if run.job.recipe in PICTURES:
            parts |= {f"pictures/{path.name}": path for path in drawn(run.folder)}
        parts["README.md"] = self.card(run_id, owner)
        try:
            parts["train.py"] = self.script(run_id, owner)
            parts["train.ipynb"] = self.notebook(run_id, owner)
        except NotFound:  # a method of which there is no plain script
            pass
        return parts

    def _trained(self, run_id: str, owner: str) -> Run:
        """The run that trained: itself, or the one that a merge or an export was made from."""
        run = self.lab.run(run_id, owner)
        while run.job.recipe not in TRAINED:
            source = str(run.job.params.get("run", ""))
            if not source.startswith("run/"):
                raise NotFound(f"Run {run.id} trained nothing.", "Choose one that did.", "run.untrained")
            run = self.lab.run(source.removeprefix("run/"), owner)
        return run

    # -- runs side by side --------------------------------------------------------------------------------------

    @door
    def sweep(
        self,
        recipe: str,
        params: Mapping[str, Any],
        values: Mapping[str, Sequence[Any]],
        owner: str,
        target: str = "local",
        grants: Sequence[str] | None = None,
    ) -> list[Run]:
        """A run for each combination of the `values` of one or two settings; all have the same `group`.

        {"learning_rate": [1e-4, 1e-3], "lora_r": [4, 16]} makes four. Every one is checked before the first is
        queued. Raises BadInput, and what `launch` raises.
        """
        if not 1 <= len(values) <= 2:
            raise BadInput(
                f"The sweep has {len(values)} settings; use one or two.", "Name fewer settings.", "sweep.many"
            )
        for name, some in values.items():
            if len(some) < 2 or len({str(one) for one in some}) < len(some):
                raise BadInput(f"{name} has the values {list(some)}; use at least two different ones.", "Add a value.")
        combinations = [dict(zip(values, some, strict=True)) for some in itertools.product(*values.values())]
        if len(combinations) > MOST:
            raise BadInput(f"That is {len(combinations)} runs; use at most {MOST}.", "Take fewer values.", "sweep.many")
        asked = [dict(params) | combination for combination in combinations]
        for one in asked:
            self.lab.checked(recipe, one, owner)
        group = secrets.token_hex(4)
        return [self.lab.launch(recipe, one, owner, target, group=group, grants=grants) for one in asked]

    @door
    def group(self, group: str, owner: str) -> list[dict[str, Any]]:
        """The runs of a sweep as `Lab.status` tells them, in the order of their making."""
        return [self.lab.status(run.id, owner) for run in self.lab.store.grouped(group, owner)]

    @door
    def curves(self, run_ids: Sequence[str], owner: str) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """For each run, each figure's (step, value) in order: what a comparison chart is drawn from."""
        return {run_id: Story.read(_events(self.lab.run(run_id, owner).log)).curves for run_id in run_ids}


def _events(log: Path) -> Iterator[ev.Event]:
    """All of a log, a piece at a time."""
    events, cursor = ev.read(log)
    while events:
        yield from events
        events, cursor = ev.read(log, cursor)

"""The one door: tabs, API and tests ask here, and nothing else of the backend.

    lab.stream("text", {...}, owner)      an answer, event by event
    lab.launch("sft", {...}, owner)       a run, queued
    lab.watch(run, owner, after)          its events since `after`, and the cursor to go on from
    lab.status(run, owner)                what /run tells
    lab.cancel(run, owner, save=True)     stop it
    lab.runs(owner)                       the owner's runs, newest first
    lab.data.rows(dataset, owner)         a page of a dataset; the rest about data is there too
    lab.outcomes.zip(run, owner)          what a run made, to take away; cards, notebooks and sweeps are there too
    lab.sharing.publish(run, owner)       everybody may look at it
    lab.lending.turn(owner)               ZeroGPU: the next slice of a run; what things cost there is told here too
    lab.pictures.list(owner)              what was drawn, newest first
    lab.evaluations.list(owner)           what was measured; figures, rows, export and comparing are there too
    lab.hub.repositories.mine(owner)      the Hub: whose sign-in, repositories, this machine's cache, transfers
    lab.resources.look(owner)             memory, disk, cores, GPU over ten minutes, and who holds what

Every method raises LabError and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backend import events as ev
from backend import machine, providers
from backend.arena import Arena
from backend.catalog import Catalog, Entry
from backend.clusters import Clusters
from backend.data import Data
from backend.deposits import Deposits
from backend.door import broken, door
from backend.engines import remote, tasks_script
from backend.engines import script as engines_script
from backend.engines.client import EngineProcess
from backend.engines.remote import Remote
from backend.engines.tasks import MANY, TASKS, FileParams, whole
from backend.engines.text import ChatParams, CompleteParams
from backend.errors import BadInput, LabError, NotFound, NotYours
from backend.evaluations import Evaluations
from backend.hub.hub import Hub
from backend.jobs import ENDED, Job, Run, Status
from backend.keeping import Keeping, outlook, restored
from backend.learn import learn
from backend.lending import Lending
from backend.lens import Lens
from backend.lineage import related
from backend.outcomes import Outcomes
from backend.pictures import Pictures
from backend.recipes import (
    METHODS,
    PICTURES,
    RECIPES,
    Kind,
    Method,
    Recipe,
    data,
    evaluate_script,
    harness,
    image_data,
    image_preflight,
    image_script,
    limits,
    preflight,
    why_not,
)
from backend.recipes import script as recipes_script
from backend.recipes.evaluate import EvaluateParams
from backend.recipes.params import check
from backend.recipes.provider import NAME
from backend.recipes.rewards import REWARDS, is_place
from backend.resources import Resources
from backend.rules import Rules
from backend.sequel import Sequel
from backend.settings import Settings
from backend.sharing import Sharing
from backend.starter import EMBEDDER_ID, IMAGE_ID, MODEL_ID, SAMPLES, embedder_ready, locate, ready
from backend.store import Claim, Store, room
from backend.targets import Target
from backend.targets.hf_jobs import HfJobs, hardware_of
from backend.targets.local import Local
from backend.vault import Vault
from backend.votes import Votes

if TYPE_CHECKING:
    from backend.answers import Answers

log = logging.getLogger("atelier")
ANSWERS: Mapping[str, type[ChatParams] | type[CompleteParams]] = {"chat": ChatParams, "complete": CompleteParams}
_FOLDS = 512  # runs whose fold is kept in memory
_RELATIVES = 500  # runs of an owner, the newest, among which a run's relatives are looked for
_DISK = 300_000_000  # bytes that a run may need for its checkpoints


class Lab:
    """What Atelier can do, over one data folder."""

    def __init__(
        self, settings: Settings, store: Store, targets: Sequence[Target], engine: EngineProcess | Answers
    ) -> None:
        self.settings = settings
        self.store = store
        self.catalog = Catalog(settings, store)
        self.data = Data(settings, self.catalog, store)
        self.outcomes = Outcomes(self)
        self.evaluations = Evaluations(store, self.run, self.launch, self._shown)
        self.votes = Votes(store)
        self.hub = Hub(self)
        self.resources = Resources(self)
        self.vault = Vault(settings.home, settings.env, alone=not settings.public)
        self.learn = learn
        self.arena = Arena(self.evaluations, self.votes, self.upload)
        self.clusters = Clusters(self.evaluations, self._vectors)
        self.sequel = Sequel(store.home, self.evaluations, self._state)
        self.targets: Mapping[str, Target] = {target.name: target for target in targets}
        for target in targets:
            if isinstance(target, HfJobs):
                target.token = self._sign_in
            if isinstance(target, HfJobs | Local):
                target.granted = self._granted
        self.engine = engine
        self.remote = Remote()
        self.token = self._own_token  # of an owner, '' for none; the page puts its own in place
        self.lenses = Lens(settings.child_env)
        self.lending = Lending(self)
        self.rules = Rules(settings, store)
        self.pictures = Pictures(self.catalog, store, self.rules)
        self.sharing = Sharing(self)
        self.deposits = Deposits(self)
        self._folds: OrderedDict[str, tuple[int, Status]] = OrderedDict()
        self._ended: dict[str, tuple[dict[str, Any], int]] = {}  # folds to remember at the next listing
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._salt = secrets.token_bytes(16)

    @classmethod
    def open(
        cls,
        settings: Settings,
        targets: Callable[[Settings], Sequence[Target]],
        answers: Callable[[EngineProcess], EngineProcess | Answers] = lambda process: process,
    ) -> Lab:
        """Claim the data folder and look after the queue. Raises HomeInUse, NoRoom.

        `answers` may put something before the engine's process.
        """
        keeping = restored(settings)
        claim = Claim(settings.home)
        store = Store(settings.home)
        engine = EngineProcess(env=settings.child_env)
        lab = cls(settings, store, targets(settings), answers(engine))
        lab._claim, lab.keeping = claim, keeping
        if keeping:
            keeping.watch()
        threading.Thread(target=lab._tend, daemon=True, name="tend").start()
        return lab

    _claim: Claim | None = None
    keeping: Keeping | None = None

    def warm(self, engine: str = "text") -> None:
        """Start the engine, which loads the starter; and have another than text's ready, where it is on this machine.

        Called once the page is served (before, they share the cores), and when a tab is first opened.
        """
        self.engine.start()
        if engine != "text" and isinstance(self.engine, EngineProcess):
            self.engine.warm(engine)

    def rest(self) -> None:
        """End the engine, and with it what it holds; the next question starts another."""
        self.engine.stop()
        if isinstance(self.engine, EngineProcess):
            self.engine = type(self.engine)(env=self.settings.child_env)
        else:
            self.engine.process = EngineProcess(env=self.settings.child_env)

    def close(self) -> None:
        """End the engine; runs go on by themselves."""
        self._closed.set()
        self.engine.stop()
        self.data.close()
        self.hub.close()
        if self.keeping:
            self.keeping.close()
        self.deposits.close()
        if self._claim:
            self._claim.close()

    def passing(self) -> str:
        """What is said of the disk, '' when it keeps everything by itself."""
        return outlook(self.settings, self.keeping)

    def _tend(self) -> None:
        while True:
            for target in self.targets.values():
                try:
                    target.tend()
                except Exception:
                    log.exception("tending %s", target.name)
            self.resources.sample()
            try:
                self.sequel.tend(self.store.run)
            except Exception:
                log.exception("tending what follows runs")
            if self._closed.wait(2):
                return

    # -- answers ------------------------------------------------------------------------------------------------

    def stream(self, engine: str, request: Mapping[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        """Events of one answer. Closing the generator stops it within a step. A failure is raised as LabError."""
        try:
            params = whole(engine, dict(request)) if engine in TASKS else dict(request)
            if engine == "image":
                yield from self._drawn(params, owner)
                return
            self.rules.answer(params, owner)
            if NAME.fullmatch(str(params.get("model") or "").strip()):
                yield from self.remote.stream(engine, params, self.token(owner))
                return
            params["model"] = self.catalog.model(str(params.get("model") or ""), owner)
            params["adapter"] = self.catalog.adapter(str(params.get("adapter") or ""), owner)
            yield from self._answered(engine, params, owner)
        except LabError:
            raise
        except Exception as error:
            raise broken(error, "stream") from error

    def _answered(self, engine: str, params: dict[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        who = owner if self.lending.on else self._alias(owner)
        for event in self.engine.stream(engine, params, owner=who):
            if isinstance(event, ev.Failed):
                raise LabError(event.message, event.hint, event.code)
            yield event

    def _drawn(self, request: Mapping[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        for event in self._answered("image", self.pictures.asked(request, owner), owner):
            yield event
            if isinstance(event, ev.Produced) and event.kind == "picture" and (said := self.pictures.bound(owner)):
                yield ev.Logged(text=said)

    def _alias(self, owner: str) -> str:
        """What the engine knows an owner by: the same while this server lives, and no name."""
        return hashlib.blake2b(owner.encode(), key=self._salt, digest_size=8).hexdigest()

    def _vectors(self, texts: Sequence[str], owner: str) -> list[list[float]]:
        """The embedder's vectors of texts, a few at a time."""
        found: list[list[float]] = []
        for begin in range(0, len(texts), MANY):
            for event in self.stream("feature-extraction", {"texts": [*texts[begin : begin + MANY]]}, owner):
                if isinstance(event, ev.Finished):
                    found += event.values["vectors"]
        return found

    @door
    def inspect(self, request: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """The templated prompt of `messages`, its token count and the model's context: {prompt, tokens, context}."""
        answer: dict[str, Any] = {}
        for event in self.stream("inspect", request, owner):
            if isinstance(event, ev.Finished):
                answer = event.values
        return answer

    @door
    def fit(self, model: str, owner: str, tokens: int = 4096) -> dict[str, Any]:
        """Whether a model fits here with a conversation of `tokens`, told before it is loaded.

        {parameters, bytes, packed_bytes, precision, context, context_bytes, free, fits, advice}, sizes in bytes; empty
        for a model at a provider.
        """
        if NAME.fullmatch(model.strip()):
            return {}
        answer: dict[str, Any] = {}
        for event in self.stream("fit", {"model": model, "tokens": tokens}, owner):
            if isinstance(event, ev.Finished):
                answer = event.values
        return answer

    # -- runs ---------------------------------------------------------------------------------------------------

    @door
    def launch(
        self,
        recipe: str,
        params: Mapping[str, Any],
        owner: str,
        target: str = "local",
        parent: str = "",
        group: str = "",
        grants: Sequence[str] | None = None,
    ) -> Run:
        """Check everything that can be checked now, then queue. Raises BadInput, BadData, NotFound, NoRoom, …

        `grants` names those of its owner's secrets that the run gets; None: those that are given to new runs.
        """
        self.rules.train(owner)
        self.lending.takes(recipe, target)
        place = self._target(target)
        asked, resolved = self.checked(recipe, params, owner)
        if isinstance(place, HfJobs):
            place.check(target, owner, recipe)
        self.lenses.check(recipe, resolved)
        names, given = self._recipe(recipe).names, self.vault.chosen(owner, grants)
        providers.check(asked, names, place, self.token(owner))
        with room(self.settings.home, _DISK):
            run = self.store.add(Job(recipe, asked, target, owner, group), resolved, parent)
            self.vault.grant(run, given)
            providers.grant(run, names)
        self.sequel.promise(run)
        place.start(run)
        return run

    def checked(self, recipe: str, params: Mapping[str, Any], owner: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Whole, checked params, as they were asked for and with names resolved; queues nothing. Raises as `launch`."""
        asked, resolved = self.named(recipe, params, owner)
        what = self._recipe(recipe)
        what.preflight(check(what.params, resolved))
        return asked, resolved

    def named(self, recipe: str, params: Mapping[str, Any], owner: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same before the data are looked at."""
        what = self._recipe(recipe)
        asked = check(what.params, dict(params)).model_dump(mode="json")
        if recipe in METHODS and (why := why_not(recipe, asked["adapter"])):
            raise BadInput(
                f"{recipe} can't train {asked['adapter']} here: {why}.", "Choose another adapter.", "cell.off"
            )
        for name in _names(what, asked, "model", "answerer", "pipeline"):
            self.rules.model(name, owner)
        return asked, asked | {field: self._resolved(kind, asked[field], owner) for field, kind in what.names.items()}

    @door
    def preflight(self, recipe: str, params: Mapping[str, Any], owner: str, target: str = "local") -> dict[str, Any]:
        """What a run would take: {memory, time, disk, verdict, fixes, price}, by formula or as measured.

        memory {needed, free, measured, parts}, disk {needed, free} in bytes; time {steps, seconds_per_step, seconds},
        None where nothing like it has run; verdict {level: ok, tight, no, unknown; text}; fixes, each {title, set:
        settings that change, needed}; price is what it costs there, in lines. Raises what `launch` raises.
        """
        device = getattr(self._target(target), "device", "cpu")
        place = self.hub.rented.place(owner, target) or machine.place(
            self.settings.home, device, self.settings.memory_limit
        )
        asked, resolved = self.checked(recipe, params, owner)
        self.lenses.check(recipe, resolved)
        pace, took = self._measured(recipe, asked, owner, target)
        if recipe in PICTURES:
            seen = image_preflight.estimate(recipe, resolved, place, pace, took)
        else:
            method = self._method(recipe)
            checked = check(method.params, resolved)
            seen = preflight.estimate(recipe, checked, method.wants, limits.local(checked.model), place, pace, took)
        price = self.hub.rented.price(owner, target, seen["time"]["seconds"], recipe)
        return seen | {"price": price or self.lending.price(target, seen["time"]["seconds"], owner)}

    @door
    def dry_run(self, recipe: str, params: Mapping[str, Any], owner: str, target: str = "local") -> Run:
        """Three steps on the longest rows: a run whose end tells memory_gb and seconds_per_step, and keeps nothing."""
        return self.launch(recipe, {**params, "dry_run": True}, owner, target)

    def _measured(self, recipe: str, asked: Mapping[str, Any], owner: str, target: str) -> tuple[float | None, int]:
        """(seconds a step, bytes at most) of the newest run there that took as much, if there was one."""
        free = {"dry_run", "max_steps", "num_train_epochs", "seed", "learning_rate", "save_steps", "logging_steps"}
        free.add("evaluate_after")  # what comes later costs the run nothing
        free |= {"instance_prompt", "validation_prompt", "num_validation_images", "placeholder_token"}
        for run in self.store.runs(owner, 50):
            params = run.job.params
            same = all(asked[name] == params.get(name) for name in asked.keys() - free)
            if not same or (run.job.recipe, hardware_of(run.job.target)) != (recipe, hardware_of(target)):
                continue
            metrics = self._status(run).metrics
            pace = metrics.get("seconds_per_step")
            rows = metrics.get("rows_per_second") or metrics.get("pictures_per_second")
            if rows and not pace:
                pace = asked["per_device_train_batch_size"] * asked["gradient_accumulation_steps"] / rows
            if pace and "memory_gb" in metrics:
                return pace, int(metrics["memory_gb"] * 1e9)
        return None, 0

    @door
    def resume(self, run_id: str, owner: str, target: str = "") -> str:
        """Go on from the last whole checkpoint, perhaps on another `target`. Returns the state.

        Raises BadInput when there is nothing to resume.
        """
        run = self._mine(run_id, owner)
        state = self._state(run)
        if state not in ENDED or state == "finished":
            raise BadInput(f"Run {run.id} is {state}; only a stopped run can be resumed.", "Clone it to train again.")
        place, names = self._target(target or run.job.target), self._recipe(run.job.recipe).names
        providers.check(run.job.params, names, place, self.token(owner))
        with room(self.settings.home, _DISK):
            if target and target != run.job.target:
                run = self.store.retarget(run, target)
            place.start(run)
        return self._state(run)

    @door
    def cancel(self, run_id: str, owner: str, save: bool = True) -> str:
        """Stop at the next step with everything saved, or at once. Returns the state. Ended runs are left alone."""
        run = self._mine(run_id, owner)
        if self._state(run) not in ENDED:
            self._target(run.job.target).cancel(run, save)
        return self._state(run)

    @door
    def move(self, run_id: str, direction: Literal["ahead", "behind"], owner: str) -> str:
        """Let a waiting run change places with the owner's next one before or behind it. Returns the state.

        Other people's runs keep their places. Raises BadInput when it does not wait, or none of theirs is there.
        """
        run = self._mine(run_id, owner)
        mine = self._waiting(run)
        if run.id not in mine:
            raise BadInput(f"Run {run.id} does not wait; only a waiting run can be moved.", "Leave it as it is.")
        place = mine.index(run.id) + (-1 if direction == "ahead" else 1)
        if not 0 <= place < len(mine):
            raise BadInput(f"No other run of yours waits {direction} of run {run.id}.", "Leave it as it is.")
        self.store.swap(run.id, mine[place])
        return self._state(run)

    def _waiting(self, run: Run) -> list[str]:
        """The waiting runs of its owner in the line that `run` is in, first come first."""
        target = self._target(run.job.target)
        line = [self.store.run(name) for name, taken in self.store.line(getattr(target, "device", None)) if not taken]
        return [one.id for one in line if one.job.owner == run.job.owner and one.job.target == run.job.target]

    @door
    def lineage(self, run_id: str, owner: str) -> list[dict[str, Any]]:
        """What led to a run and what came of it, oldest first: {id, recipe, adapter, state, dataset, sources}.

        `sources` is {id: why}; `why` is `clone`, or the setting that names the other run, such as start_from.
        """
        run = self._mine(run_id, owner)
        return [
            {
                "id": one.id,
                "recipe": one.job.recipe,
                "adapter": str(one.job.params.get("adapter", "")),
                "state": self._state(one),
                "dataset": str(one.job.params.get("dataset", "")),
                "sources": sources,
            }
            for one, sources in related(run, self.store.runs(owner, _RELATIVES))
        ]

    @door
    def watch(self, run_id: str, owner: str, after: int = 0) -> tuple[list[ev.Event], int]:
        """Events since the cursor `after` (0 is the beginning) and the next cursor."""
        if after < 0:
            raise BadInput(f"after is {after}; use the cursor of the last call, or 0.", "Start again from 0.")
        return ev.read(self._shown(run_id, owner).log, after)

    @door
    def run(self, run_id: str, owner: str) -> Run:
        """Raises NotFound, NotYours."""
        return self._mine(run_id, owner)

    @door
    def status(self, run_id: str, owner: str) -> dict[str, Any]:
        """{id, recipe, target, state, progress, metrics, artifacts, error, …}: plain JSON values.

        `yours` tells whether it is `owner`'s, `public` whether everybody may look.
        """
        run = self._shown(run_id, owner)
        yours = run.job.owner == owner
        view = self._view(run) | {"yours": yours, "public": self.sharing.public(run)}
        return view if yours else view | {"mine": [], "parent": ""}

    @door
    def runs(self, owner: str, limit: int = 50, offset: int = 0) -> list[dict[str, Any]]:
        """The owner's runs, newest first, each as `status` tells it."""
        found = self.store.runs(owner, limit, offset)
        self._recall(found)
        try:
            return [self._view(run) for run in found]
        finally:
            self._remember()

    def _view(self, run: Run) -> dict[str, Any]:
        status = self._status(run)
        state = self._state(run, status)
        error = status.error
        if state == "failed" and error is None:
            error = {
                "code": "died",
                "message": "The run's process is gone without a word: it was killed or the machine restarted.",
                "hint": "Press Resume to go on from the last checkpoint.",
            }
        return {
            "id": run.id,
            "recipe": run.job.recipe,
            "target": run.job.target,
            "state": state,
            "progress": {"done": status.done, "total": status.total, "unit": status.unit, "eta": status.eta},
            "step": status.step,
            "metrics": status.metrics,
            "artifacts": status.artifacts,
            "error": error if state == "failed" else None,
            "reason": status.reason,
            "ahead": self._target(run.job.target).ahead(run) if state == "queued" else None,
            "mine": self._waiting(run) if state == "queued" else [],
            "params": run.job.params,
            "parent": run.parent,
            "group": run.job.group,
            "info": status.info,
            "created": run.created,
            "started": status.started,
            "ended": status.ended,
        }

    def _state(self, run: Run, status: Status | None = None) -> str:
        target = self.targets.get(run.job.target.partition(":")[0])  # none where the machine is another since
        waiting = target is not None and target.ahead(run) is not None
        alive = target is not None and not waiting and target.alive(run)
        # Read the log after asking for the process: one that ends in between has then said how.
        return (status if status and (alive or waiting) else self._status(run)).state(
            alive=alive, waiting=waiting, stop=run.stop
        )

    def _status(self, run: Run) -> Status:
        """The fold over the run's log, of which only what is new is read."""
        size = run.log.stat().st_size if run.log.exists() else 0
        with self._lock:
            cursor, status = self._folds.pop(run.id, (0, None))
            if status is None or cursor > size:
                cursor, status = 0, Status()
            while cursor < size:
                events, cursor_now = ev.read(run.log, cursor)
                if cursor_now == cursor:
                    break
                cursor = cursor_now
                for event in events:
                    status.add(event)
                if cursor >= size and status.ended:
                    self._ended[run.id] = (asdict(status), cursor)
            self._folds[run.id] = (cursor, status)
            while len(self._folds) > _FOLDS:
                self._folds.popitem(last=False)
            return status

    def _recall(self, runs: Sequence[Run]) -> None:
        """Take remembered folds in, so that ended runs' logs need not be read again."""
        held = self.store.summaries([run.id for run in runs if run.id not in self._folds])
        with self._lock:
            for run_id, (summary, size) in held.items():
                self._folds.setdefault(run_id, (size, Status(**summary)))

    def _remember(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, {}
        if ended:
            self.store.remember(ended)

    def _shown(self, run_id: str, owner: str) -> Run:
        """A run that `owner` may look at: their own, or a public one."""
        run = self.store.run(run_id)
        return run if self.sharing.public(run) else self._mine(run_id, owner)

    def _mine(self, run_id: str, owner: str) -> Run:
        run = self.store.run(run_id)
        if run.job.owner != owner:
            raise NotYours("This run is not yours.", "Open one from your own Runs list.")
        return run

    def _resolved(self, kind: Kind, name: Any, owner: str) -> Any:
        """Where what a field of some params names is on this disk; of a list, each."""
        if isinstance(name, list):
            return [self._resolved(kind, one, owner) for one in name]
        match kind:
            case "model":
                return self.catalog.model(name, owner)
            case "dataset":
                return self.catalog.dataset(name, owner) if name else ""
            case "adapter":
                return self.catalog.adapter(name, owner)
            case "answerer":
                return self.catalog.answerer(name, owner)
            case "reward":
                return self._judge(name, owner) if is_place(name) else name
            case "pipeline":
                return self.pictures.catalog.model(name, owner)
            case "lesson":
                return self.pictures.catalog.adapter(name, owner) if name else ""
            case "run":
                return str(self._mine(name.removeprefix("run/"), owner).folder) if name else ""

    def _judge(self, name: str, owner: str) -> str:
        """Where a reward model is: the adapter of `run/ID`, or the whole model that it made."""
        if name.startswith("run/") and (self._mine(name.removeprefix("run/"), owner).folder / "model").exists():
            return self.catalog.model(name, owner)
        return self.catalog.adapter(name, owner)

    def _recipe(self, name: str) -> Recipe:
        if name not in RECIPES:
            raise NotFound(
                f"There is no recipe {name[:40]!r}.", f"Choose one of {', '.join(RECIPES)}.", "recipe.unknown"
            )
        return RECIPES[name]

    def _method(self, name: str) -> Method:
        if name not in METHODS:
            raise NotFound(
                f"There is no training method {name[:40]!r}.", f"Choose one of {', '.join(METHODS)}.", "recipe.unknown"
            )
        return METHODS[name]

    def _target(self, name: str) -> Target:
        name = name.partition(":")[0]  # what follows is for the target itself
        if name not in self.targets:
            raise NotFound(
                f"There is no target {name[:40]!r} here.", f"Choose one of {', '.join(self.targets)}.", "target.unknown"
            )
        return self.targets[name]

    def _granted(self, run: Run) -> Mapping[str, str]:
        """Its owner's secrets that were given to a run."""
        lent = providers.granted(run, self.token(run.job.owner))
        return self.vault.environment(run.job.owner, run.grants) | lent

    def _sign_in(self, owner: str) -> str:
        """The token of an owner, for a target that works in their name."""
        return self.token(owner)

    # -- models and data ----------------------------------------------------------------------------------------

    def _own_token(self, owner: str) -> str:
        """This machine's own sign-in, which is lent to nobody else."""
        from huggingface_hub import get_token

        return "" if self.settings.public else get_token() or ""

    @door
    def models(self, query: str = "", task: str = "", owner: str = "") -> list[Entry]:
        """Chat models, or those that can do a task of TASKS; with an `owner` also what that one's runs made.

        With a `query` also what the Hub and providers have.
        """
        found = self.catalog.models(query, task, owner)
        if query and not task:
            found += [Entry(offer.name, "provider", offer.note) for offer in self.remote.offers(query)]
        return found

    @door
    def image_models(self, query: str = "", owner: str = "") -> list[Entry]:
        """What can draw: the starter, folders, the cache; with a `query` also what the Hub has."""
        return self.pictures.catalog.models(query, owner)

    @door
    def image_adapters(self, owner: str, model: str = "") -> list[Entry]:
        """What the owner's runs taught; `fits` tells whether it was made for `model`."""
        return self.pictures.catalog.adapters(owner, model)

    @door
    def adapters(self, owner: str, model: str = MODEL_ID) -> list[Entry]:
        return self.catalog.adapters(owner, model or MODEL_ID)

    @door
    def datasets(self, owner: str, recipe: str = "") -> list[Entry]:
        """Samples and uploads; with a recipe each tells whether it `fits`."""
        found = self.catalog.datasets(owner)
        if not recipe:
            return found
        if recipe in PICTURES:
            return [replace(one, fits=image_data.fits(self.catalog.dataset(one.name, owner))) for one in found]
        wants = self._method(recipe).wants
        return [replace(one, fits=data.fits(self.catalog.dataset(one.name, owner), wants)) for one in found]

    @door
    def rewards(self, owner: str) -> list[tuple[str, str]]:
        """What answers can be rewarded by: (in words, what `reward` takes); the owner's reward runs come first."""
        runs = [run for run in self.store.runs(owner, _RELATIVES) if run.job.recipe == "reward"]
        made = [run for run in runs if (run.folder / "adapter").is_dir() or (run.folder / "model").is_dir()]
        learned = [
            (f"run/{run.id} · learned from {run.job.params.get('dataset', '')}", f"run/{run.id}") for run in made
        ]
        return learned + [
            (f"{name} · {one.title}", f"{name}:{one.value}" if one.value else name) for name, one in REWARDS.items()
        ]

    @door
    def upload(self, owner: str, path: Path, name: str = "") -> str:
        """Take a visitor's dataset file in; returns `upload/ID/NAME`."""
        return self.store.upload(owner, path, name or path.name)

    @door
    def upload_files(self, owner: str, files: Sequence[Path]) -> tuple[str, bool]:
        """Take a visitor's files in as one dataset: `upload/ID/NAME`, and whether it has pictures.

        A table is one file; pictures may be several, or a zip. Raises BadInput.
        """
        if not image_data.pictures(files):
            if len(files) > 1:
                raise BadInput(
                    f"{len(files)} files were given, and not all are pictures; a table is one file.",
                    "Upload one table, or pictures alone.",
                )
            name = self.upload(owner, files[0])
            return name, image_data.fits(self.catalog.dataset(name, owner))
        with tempfile.TemporaryDirectory() as folder:
            packed = image_data.packed(files, Path(folder) / "pictures.zip")
            return self.store.upload(owner, packed, packed.name), True

    @door
    def look(
        self,
        dataset: str,
        owner: str,
        recipe: str = "sft",
        limit: int = 20,
        columns: Mapping[str, str] | None = None,
        rules: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """A dataset as `recipe` sees it, every row of a file checked: see `Method.look`, `image_data.look`."""
        if recipe in PICTURES:
            return image_data.look(self.catalog.dataset(dataset, owner), self.settings.home, **(rules or {}))
        return self._method(recipe).look(self.catalog.dataset(dataset, owner), limit, columns, rules)

    @door
    def lens(self, recipe: str, params: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """Rows as the loss of such a run sees them, and how long rows are: see `backend.recipes.lens.look`.

        It takes seconds: the real trainer prepares them, in a process of its own. Raises what `launch` raises.
        """
        _, resolved = self.checked(recipe, params, owner)
        return self.lenses.look(recipe, resolved)

    @door
    def code(self, recipe: str, params: Mapping[str, Any], owner: str) -> str:
        """The plain Python that does what a run of `recipe`, or an answer ("chat", "complete" or "image"), does.

        On a server of one's own it names this disk's folders and runs as it is; on a shared one it names the Hub's.
        """
        if recipe == "image":
            return self.pictures.code(params, owner)
        if recipe in ANSWERS:
            asked = check(ANSWERS[recipe], dict(params))
            if isinstance(asked, ChatParams) and NAME.fullmatch(asked.model):
                return remote.code(asked)
            adapter = self.catalog.adapter(asked.adapter, owner)
            return self._told(asked.model) + engines_script.code(
                asked, model=self._model_place(asked.model, owner), adapter=self._place(adapter, asked.adapter)
            )
        if recipe in TASKS:
            request = check(TASKS[recipe].params, whole(recipe, dict(params)))
            if self.settings.public and isinstance(request, FileParams):
                request = request.model_copy(update={"file": Path(request.file).name})
            kind = self.catalog.kind(request.model, recipe)
            return self._told(request.model) + tasks_script.code(recipe, request, kind, self._place(request.model))
        if recipe == "harness":
            return harness.code(check(harness.Params, dict(params)))
        if recipe == "evaluate":
            return self._evaluation_code(check(EvaluateParams, dict(params)), owner)
        if recipe in PICTURES:
            return self._picture_code(recipe, params, owner)
        method = self._method(recipe)
        settings = check(method.params, dict(params))
        dataset = self.catalog.dataset(settings.dataset, owner)
        earlier = {}
        for field in ("start_from", "reward"):  # these may name runs, which only we can find
            if name := getattr(settings, field, ""):
                earlier[field] = self._place(str(self._resolved(method.names.get(field, "adapter"), name, owner)), name)
        settings = settings.model_copy(update=earlier)
        return self._told(settings.model) + recipes_script.code(
            recipe,
            settings,
            model=self._model_place(settings.model, owner),
            dataset=self._place(dataset, settings.dataset),
        )

    def _picture_code(self, recipe: str, params: Mapping[str, Any], owner: str) -> str:
        settings = check(PICTURES[recipe].params, dict(params))
        asked = settings.model_dump()
        names = PICTURES[recipe].names.items()
        places = {
            field: self._place(str(self._resolved(kind, asked[field], owner)), asked[field])
            for field, kind in names
            if asked[field]
        }
        return image_script.code(recipe, settings, places)

    def _model_place(self, name: str, owner: str) -> str:
        return self._place(self.catalog.model(name, owner), name) if name.startswith("run/") else self._place(name)

    def _evaluation_code(self, params: EvaluateParams, owner: str) -> str:
        models = []
        for name in params.models:
            model, _, adapter = self.catalog.answerer(name, owner).partition(" + ")
            models.append((name, self._place(model), self._place(adapter, name) if adapter else ""))
        dataset = self.catalog.dataset(params.dataset, owner)
        return evaluate_script.code(params, models, self._place(dataset, params.dataset))

    def _place(self, name: str, public_name: str | None = None) -> str:
        """Where `name` is on this disk; strangers are shown the last part of a path instead."""
        if self.settings.public:
            return Path(name).name if name.startswith("/") else public_name or name
        if name == IMAGE_ID:
            return locate(name)
        there = {MODEL_ID: ready, EMBEDDER_ID: embedder_ready}.get(name)
        return locate(name) if name in SAMPLES or (there and there(self.settings.starter)) else name

    def _told(self, model: str) -> str:
        place = self._place(model)
        return "" if place == model else f"# {place} holds {model}, which is also on the Hub.\n"

    def where(self) -> str:
        """Where work runs, in a few words."""
        return next(iter(self.targets.values())).describe()

    @door
    def places(self, owner: str = "") -> list[tuple[str, str, int]]:
        """Where a run can go: (target, in a few words, runs that work or wait there); with an `owner` what they rent.

        Of `hf_jobs` the flavor and the seconds are still to be named: see `hub.rented`. On ZeroGPU nobody waits for
        another's run.
        """
        return [
            (name, target.describe(), 0 if name == "zerogpu" else len(self.store.line(getattr(target, "device", name))))
            for name, target in self.targets.items()
            if not isinstance(target, HfJobs) or (owner and self.token(owner))
        ]


def _names(what: Recipe, asked: Mapping[str, Any], *kinds: Kind) -> list[str]:
    """What params name of these kinds."""
    held = [asked[field] for field, kind in what.names.items() if kind in kinds]
    return [str(name) for one in held for name in (one if isinstance(one, list) else [one])]

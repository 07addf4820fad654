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

What is called by the lab itself stands at the end of `Lab.__init__`, each beside the room that does it. Every method
raises LabError and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from backend import providers
from backend.arena import Arena
from backend.catalog import Catalog
from backend.choices import Choices
from backend.clusters import Clusters
from backend.data import Data
from backend.deposits import Deposits
from backend.engines.client import EngineProcess
from backend.engines.remote import Remote
from backend.errors import NotFound
from backend.estimates import Estimates
from backend.evaluations import Evaluations
from backend.hub.hub import Hub
from backend.jobs import Run
from backend.keeping import Keeping, outlook, restored
from backend.learn import learn
from backend.lending import Lending
from backend.lens import Lens
from backend.outcomes import Outcomes
from backend.pictures import Pictures
from backend.resolving import Resolving
from backend.resources import Resources
from backend.rules import Rules
from backend.running import Running
from backend.scripts import Scripts
from backend.sequel import Sequel
from backend.settings import Settings
from backend.sharing import Sharing
from backend.states import States
from backend.store import Claim, Store
from backend.streaming import Streaming
from backend.targets import Target
from backend.targets.hf_jobs import HfJobs
from backend.targets.local import Local
from backend.training_data import TrainingData
from backend.vault import Vault
from backend.votes import Votes

if TYPE_CHECKING:
    from backend.answers import Answers

log = logging.getLogger("atelier")


class Lab:
    """What Atelier can do, over one data folder."""

    def __init__(
        self, settings: Settings, store: Store, targets: Sequence[Target], engine: EngineProcess | Answers
    ) -> None:
        self.settings = settings
        self.store = store
        self.engine = engine
        self.remote = Remote()
        self.token = self._own_token  # of an owner, '' for none; the page puts its own in place
        self.targets: Mapping[str, Target] = {target.name: target for target in targets}
        for target in targets:
            if isinstance(target, HfJobs):
                target.token = self._sign_in
            if isinstance(target, HfJobs | Local):
                target.granted = self._granted
        self._closed = threading.Event()

        self.rules = Rules(settings, store)
        self.vault = Vault(settings.home, settings.env, alone=not settings.public)
        self.catalog = Catalog(settings, store)
        self.pictures = Pictures(self.catalog, store, self.rules)
        self.data = Data(settings, self.catalog, store)
        self.hub = Hub(self)
        self.lending = Lending(self)
        self.lenses = Lens(settings.child_env)
        self.resources = Resources(self)
        self.resolving = resolving = Resolving(self)
        self.states = States(self)
        self.running = running = Running(self)
        self.streaming = streaming = Streaming(self)
        self.outcomes = Outcomes(self)
        self.sharing = Sharing(self)
        self.deposits = Deposits(self)
        self.evaluations = Evaluations(store, running.run, running.launch, running.shown)
        self.sequel = Sequel(store.home, self.evaluations, self.states.of)
        self.votes = Votes(store)
        teaching, choices, estimates = TrainingData(self), Choices(self), Estimates(self)
        self.arena = Arena(self.evaluations, self.votes, teaching.upload)
        self.clusters = Clusters(self.evaluations, streaming.vectors)
        self.learn = learn

        self.stream, self.inspect, self.fit = streaming.stream, streaming.inspect, streaming.fit
        self.named, self.checked = resolving.named, resolving.checked
        self.preflight, self.dry_run = estimates.preflight, running.dry_run
        self.launch, self.resume, self.cancel, self.move = running.launch, running.resume, running.cancel, running.move
        self.run, self.status, self.runs, self.watch = running.run, running.status, running.runs, running.watch
        self.lineage = running.lineage
        self.models, self.adapters, self.rewards = choices.models, choices.adapters, choices.rewards
        self.image_models, self.image_adapters = choices.image_models, choices.image_adapters
        self.places, self.where = choices.places, choices.where
        self.upload, self.upload_files = teaching.upload, teaching.upload_files
        self.datasets, self.look, self.lens = teaching.datasets, teaching.look, teaching.lens
        self.code = Scripts(self).code

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

    def target(self, name: str) -> Target:
        """The target of this name; what follows a colon is for the target itself. Raises NotFound."""
        name = name.partition(":")[0]
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

    def _own_token(self, owner: str) -> str:
        """This machine's own sign-in, which is lent to nobody else."""
        from huggingface_hub import get_token

        return "" if self.settings.public else get_token() or ""

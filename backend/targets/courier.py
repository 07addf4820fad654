"""Carries one run to Hugging Face Jobs, copies its log, and verifies what landed (see hf_jobs.py).

    python -m backend.targets.courier HOME RUN RECIPES

It is its own session: neither the page nor the server going away touches it, and one that goes away itself is followed
by another, which goes on where the log stands. The sign-in comes by the environment. Several machines are as many jobs
in one network group: the first one tells the run's story, lines of the others bear their number, and all end together.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.errors import LabError
from backend.hub.refusals import refusals
from backend.jobs import Run
from backend.redaction import redactor
from backend.store import Store, write
from backend.targets import freight, parcel
from backend.targets.hf_jobs import append, described, place, told, wanted

IMAGE = "python:3.12"
PATIENCE = 180.0  # seconds in the Hub's line after which a person is told
ELSEWHERE = "Waiting costs nothing; other hardware may be free: cancel, clone the run, and choose it."
EVERY = 2.0  # seconds between two looks at the jobs
LINGER = 120.0  # seconds that other machines may take to end after the first one has ended well
FIGURES = 15.0  # seconds between two figures of its hardware
ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")


class Courier:
    """One run, on its way."""

    def __init__(self, run: Run, token: str, recipes: str) -> None:
        from huggingface_hub import HfApi, constants

        self.run = run
        self.api = HfApi(constants.ENDPOINT, token=token)
        self.token = token
        self.recipes = recipes
        self.secrets = {name: os.environ[name] for name in run.grants if name in os.environ} | {"HF_TOKEN": token}
        self.redact = redactor(self.secrets, self.secrets)
        self.state: dict[str, Any] = told(run)
        self.held: list[ev.Event] = []  # artifacts and the end: told once they have landed
        self.failed: dict[int, ev.Failed] = {}  # what machines said of their own failure, in order
        self.step = 0
        self._lock = threading.Lock()

    @property
    def jobs(self) -> list[str]:
        """Their ids, the first machine's first."""
        found: list[str] = self.state.get("jobs") or []
        return found

    def carry(self) -> None:
        """From wherever it stands to the run's end. Raises LabError."""
        with refusals("your run's repository"):
            if not self.state.get("sent"):
                self.send()
            threading.Thread(target=self.watch, daemon=True, name="watch").start()
            for number in range(len(self.jobs)):
                threading.Thread(target=self.measure, args=(number,), daemon=True, name="measure").start()
            others = [threading.Thread(target=self.hear, args=(n,), daemon=True) for n in range(1, len(self.jobs))]
            for one in others:
                one.start()
            self.follow(0)
            for one in others:  # `watch` sees to it that they end
                one.join()
            self.conclude([self.stage(job) for job in self.jobs])

    # -- there --------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """Make the repository, put everything into it, ask for the jobs. Asked for once, even when we die between."""
        name = self.api.whoami()["name"]
        repository = f"{name}/atelier-run-{self.run.id}"
        self.note(namespace=name, repository=repository)
        living = {
            int((one.labels or {}).get("atelier-machine", 1)): one.id
            for one in self.api.list_jobs(namespace=name, labels={"atelier-run": self.run.id})
            if str(getattr(one.status.stage, "value", one.status.stage)) not in ENDED
        }
        if not living:
            self.api.create_repo(repository, private=True, exist_ok=True)
            self.put(repository)
        if self.run.stop == "cancel":
            raise LabError("It was cancelled before it was sent.", "", "cancelled")
        machines = wanted(self.run.job.target).machines
        jobs: list[str] = []
        try:
            for machine in range(1, machines + 1):
                jobs.append(living.pop(machine, "") or self.ask(repository, machine))
        except BaseException:
            for job in (*jobs, *living.values()):  # part of a group costs money and does nothing
                self.api.cancel_job(job_id=job, namespace=name)
            raise
        self.note(jobs=jobs, lines=[0] * machines, sent=True)

    def ask(self, repository: str, machine: int) -> str:
        """Ask for the job of one machine; gives its id."""
        flavor, seconds, machines = wanted(self.run.job.target)
        env = {"ATELIER_ALL_GPUS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # all that is paid for works
        env |= {name: os.environ[name] for name in ("ATELIER_SHARDED",) if name in os.environ}
        labels = {"atelier-run": self.run.id}
        if machines > 1:
            env |= {"ATELIER_MACHINES": str(machines), "ATELIER_MACHINE": str(machine)}
            labels["atelier-machine"] = str(machine)
        made = self.api.run_job(
            image=IMAGE,
            command=parcel.command(repository, f"{self.recipes}.{self.run.job.recipe}"),
            env=env,
            secrets=self.secrets,
            flavor=flavor,
            timeout=seconds,
            labels=labels,
            namespace=self.state["namespace"],
            network_group=f"atelier-{self.run.id}" if machines > 1 else None,
            network_aliases=[str(machine)] if machines > 1 else None,
        )
        which = f", machine {machine} of {machines}" if machines > 1 else ""
        self.say(ev.Logged(text=f"Sent to Hugging Face Jobs: {flavor}, for at most {seconds:,} s{which}. {made.url}"))
        return str(made.id)

    def put(self, repository: str) -> None:
        """Code, params, and the files of this disk that they name, in one commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        params, inputs = parcel.packed(json.loads((self.run.folder / "params.json").read_text()))
        there = set(self.api.list_repo_files(repository))
        files: dict[str, bytes | Path] = {
            "job/params.json": json.dumps(params).encode(),
            "job/requirements.txt": parcel.requirements(os.environ.get("ATELIER_SHARDED", "")).encode(),
            "job/code.zip": parcel.code({"backend", self.recipes.partition(".")[0]}),
            **inputs,
        }
        operations: list[Any] = [CommitOperationAdd(to, at) for to, at in files.items()]
        operations += [CommitOperationDelete(old) for old in ("job/stop", freight.MANIFEST) if old in there]
        self.api.create_commit(repository, operations, commit_message="What the run needs")

    # -- meanwhile ----------------------------------------------------------------------------------------------

    def follow(self, machine: int) -> None:
        """Copy the log of one job, from the first line that was not copied yet. `machine` counts from 0 here."""
        seen, begun = int(self.state["lines"][machine]), time.monotonic()
        for number, line in enumerate(self.lines(self.jobs[machine]), 1):
            event = ev.parse(self.redact(line))
            if isinstance(event, ev.Failed):
                self.failed.setdefault(machine, event)
            if machine == 0 and (event.ends or (isinstance(event, ev.Produced) and event.file)):
                self.held.append(event)  # not in our log yet: a courier after us must meet it again
            elif number > seen and not event.ends:
                if isinstance(event, ev.Measured):
                    self.step = max(self.step, event.step)
                self.say(event if machine == 0 else beside(machine + 1, line, event))
            if number > seen and time.monotonic() - begun > 0.5:
                self.reached(machine, number)
                begun = time.monotonic()

    def hear(self, machine: int) -> None:
        """`follow` a machine beside the first, again and again until its job has ended."""
        while True:
            try:
                with refusals("the job"):
                    self.follow(machine)
                return
            except LabError as error:
                print(f"machine {machine + 1}: will listen again: {error}", file=sys.stderr)
                time.sleep(EVERY)

    def lines(self, job: str) -> Iterator[str]:
        """The job's log until it has ended. A stream may break off short of its end, so the end is read again."""
        where = {"job_id": job, "namespace": self.state["namespace"]}
        count = quiet = 0
        while quiet < 2:
            ended = self.stage(job)[0] in ENDED
            found = self.api.fetch_job_logs(**where, follow=not ended)
            new = 0
            for line in itertools.islice(found, count, None):
                new += 1
                yield line
            count += new
            quiet = quiet + 1 if ended and not new else 0

    def watch(self) -> None:
        """Tell of the line at the Hub, pass on a wish to stop, and let no machine go on without the others."""
        begun, warned, asked, alone = time.monotonic(), False, "", 0.0
        while True:
            stages = [""]
            try:
                with refusals("the job"):
                    if (stop := self.run.stop) and stop != asked:
                        self.stop(stop)
                        asked = stop
                    stages = [self.stage(job)[0] for job in self.jobs]
                    if any(stage in ENDED for stage in stages) and not all(stage in ENDED for stage in stages):
                        alone = alone or time.monotonic()
                        broken = any(stage in ENDED and stage != "COMPLETED" for stage in stages)
                        if broken or time.monotonic() - alone > LINGER:
                            self.release(stages)
                if "SCHEDULING" in stages and not warned and time.monotonic() - begun > PATIENCE:
                    self.say(ev.Logged(level="warning", text=f"{self.line()} {ELSEWHERE}"))
                    warned = True
            except LabError as error:
                print(f"will look again: {error}", file=sys.stderr)
            if all(stage in ENDED for stage in stages):
                return
            time.sleep(1 if asked or alone else EVERY)

    def release(self, stages: list[str]) -> None:
        """End the jobs that still go on: without the others they would wait, and cost."""
        for number, (job, stage) in enumerate(zip(self.jobs, stages, strict=True), 1):
            if stage not in ENDED:
                self.say(ev.Logged(text=f"Machine {number} is ended, since another one has ended."))
                self.api.cancel_job(job_id=job, namespace=self.state["namespace"])

    def line(self) -> str:
        """What is waited for, and what else is as large: the two cheapest."""
        flavor = wanted(self.run.job.target).flavor
        said = f"No {flavor} has been free at the Hub for {PATIENCE / 60:.0f} minutes."
        with refusals("the hardware list"):
            there = [described(one) for one in self.api.list_jobs_hardware()]
        own = next((one for one in there if one["flavor"] == flavor), None)
        if not own:
            return said
        large = [
            one for one in there if one is not own and one["memory"] >= own["memory"] and one["gpus"] >= own["gpus"]
        ]
        cheap = sorted(large, key=lambda one: float(one["price"]))[:2]
        names = " or ".join(f"{one['flavor']} (${one['price']:.2f} an hour)" for one in cheap)
        return f"{said} As large: {names}." if names else said

    def stop(self, how: str) -> None:
        if how == "cancel":
            for job in self.jobs:
                self.api.cancel_job(job_id=job, namespace=self.state["namespace"])
            return
        self.api.upload_file(path_or_fileobj=b"save", path_in_repo="job/stop", repo_id=self.state["repository"])
        self.say(ev.Logged(text="Asked the job to stop and save."))

    def measure(self, machine: int) -> None:
        """Figures of the hardware beside those of the run; those of a machine beside the first bear its number."""
        last, job = 0.0, self.jobs[machine]
        try:
            for told in self.api.fetch_job_metrics(job_id=job, namespace=self.state["namespace"], follow=True):
                if time.monotonic() - last < FIGURES:
                    continue
                last = time.monotonic()
                values = {"job_memory_gb": told["memory_used_bytes"] / 1e9, "job_cpu": told["cpu_usage_pct"] / 100}
                gpus = list((told.get("gpus") or {}).values())
                if gpus:
                    values["job_gpu"] = sum(one["utilization"] for one in gpus) / len(gpus) / 100
                    values["job_gpu_memory_gb"] = sum(one["memory_used_bytes"] for one in gpus) / 1e9
                if machine:
                    values = {f"{name}/machine {machine + 1}": value for name, value in values.items()}
                self.say(ev.Measured(step=self.step, values=values))
        except Exception as error:  # figures beside; the log tells how the job does
            print(f"no figures: {type(error).__name__}: {error}", file=sys.stderr)

    def stage(self, job: str) -> tuple[str, str]:
        status = self.api.inspect_job(job_id=job, namespace=self.state["namespace"]).status
        return str(getattr(status.stage, "value", status.stage)), str(status.message or "")

    # -- back ---------------------------------------------------------------------------------------------------

    def conclude(self, stages: list[tuple[str, str]]) -> None:
        """Bring what was made, verify it, and only then tell how the run ended. `stages` has (stage, message)."""
        ends = [event for event in self.held if event.ends]
        failed = self.blame(stages)
        if self.run.stop == "cancel" or (not failed and any(stage == "CANCELED" for stage, _ in stages)):
            self.end(ev.Cancelled(reason="cancelled by its owner"))
            return
        if failed:
            self.end(failed)
            return
        missing, count = parcel.land(self.state["repository"], self.token, self.run.folder)
        if missing:
            self.end(
                ev.Failed(
                    code="jobs.not_landed",
                    message=f"The job ended well, but {missing} did not arrive whole in {self.state['repository']}.",
                    hint="Resume goes on from the last checkpoint that did.",
                )
            )
            return
        self.say(ev.Logged(text=f"{count} files landed; sizes and checksums are right."))
        for event in self.held:
            if not event.ends:
                self.say(event)
        self.end(
            ends[-1] if ends else ev.Failed(code="died", message="The job ended without a result.", hint="Resume.")
        )

    def blame(self, stages: list[tuple[str, str]]) -> ev.Failed | None:
        """What the run failed of, None when it did not.

        A machine that lost another one says so, too; the one that told a cause, or died without a word, was first.
        """
        told = [(n, event) for n, event in self.failed.items() if event.code != "broken" or len(stages) == 1]
        silent = [
            (n, how_it_ended(*stages[n]))
            for n in range(len(stages))
            if stages[n][0] not in ("COMPLETED", "CANCELED") and n not in self.failed and not (n == 0 and self.ended)
        ]
        for n, event in (*told, *silent, *self.failed.items()):
            if len(stages) == 1:
                return event
            return replace(event, message=f"Machine {n + 1} of {len(stages)}: {event.message}")
        return None

    @property
    def ended(self) -> bool:
        """Whether the recipe told its end: what the job says of itself then is about what came after."""
        return any(event.ends for event in self.held)

    def reached(self, machine: int, number: int) -> None:
        """Note how far the log of a machine was copied."""
        with self._lock:
            self.state["lines"][machine] = number
            write(place(self.run), self.state)

    def end(self, event: ev.Event) -> None:
        self.say(event)
        self.note(over=True)

    def say(self, event: ev.Event) -> None:
        with self._lock:
            append(self.run, event)

    def note(self, **more: Any) -> None:
        with self._lock:
            self.state |= more
            write(place(self.run), self.state)


def beside(machine: int, line: str, event: ev.Event) -> ev.Event:
    """A line of another machine than the first, with its number; what it says in events counts as text here."""
    said = getattr(event, "text", "") or line
    return (
        replace(event, text=f"[machine {machine}] {said}")
        if isinstance(event, ev.Logged)
        else ev.Wrote(text=f"[machine {machine}] {said}")
    )


def how_it_ended(stage: str, message: str) -> ev.Failed:
    """What a person is told of a job that ended without a word of the recipe's own."""
    if "timeout" in message.lower() or "time out" in message.lower():
        return ev.Failed(
            code="jobs.timeout",
            message="The job's time was over before the run was.",
            hint="Resume goes on from the last checkpoint, which lies in your repository; or clone it with more time.",
        )
    return ev.Failed(
        code="jobs.ended",
        message=f"The job ended at the Hub as {stage}{': ' + message[:200] if message else ''}.",
        hint="The log has its last words. Resume goes on from the last checkpoint.",
    )


def main(home: Path, run_id: str, recipes: str) -> int:
    """Returns the exit code."""
    run = Store(home).run(run_id)
    courier = Courier(run, os.environ["HF_TOKEN"], recipes)
    try:
        courier.carry()
    except LabError as error:
        if courier.state.get("sent") and error.code in ("hub.unreachable", "hub.error", "hub.busy", "hub.down"):
            print(f"{error}", file=sys.stderr)
            return 1  # the job goes on; another courier is sent
        if error.code == "cancelled":
            courier.end(ev.Cancelled(reason=error.message))
        else:
            courier.end(ev.Failed(code=error.code, message=error.message, hint=error.hint))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:4]))

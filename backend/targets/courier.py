"""Carries one run to Hugging Face Jobs, copies its log, and verifies what landed (see hf_jobs.py).

    python -m backend.targets.courier HOME RUN RECIPES

It is its own session: neither the page nor the server going away touches it, and one that goes away itself is followed
by another, which goes on where the log stands. The sign-in comes by the environment.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.errors import LabError
from backend.hub.refusals import refusals
from backend.jobs import Run
from backend.redaction import redactor
from backend.store import Store, write
from backend.targets import freight
from backend.targets.hf_jobs import ROOT, append, described, place, told, wanted

IMAGE = "python:3.12"
STACK = (  # of requirements.txt, what recipes need
    *("transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate", "huggingface_hub", "torch", "gguf"),
    *("pydantic", "psutil", "evaluate", "scipy", "sacrebleu", "rouge-score", "nltk", "jsonschema", "duckdb", "pyarrow"),
)
# What the job runs: fetch the repository, install what is missing, hand over to freight.py, which came along.
BEGIN = """
import os, subprocess, sys, zipfile
repository, module, hub = sys.argv[1:]
pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action", "ignore"]
subprocess.check_call([*pip, hub])
from huggingface_hub import snapshot_download
folder = os.path.abspath("run")
snapshot_download(repository, local_dir=folder)
subprocess.check_call([*pip, "-r", folder + "/job/requirements.txt"])
zipfile.ZipFile(folder + "/job/code.zip").extractall("code")
os.chdir("code")
os.execv(sys.executable, [sys.executable, "-u", "-m", "backend.targets.freight", repository, folder, module])
"""
PATIENCE = 180.0  # seconds in the Hub's line after which a person is told
ELSEWHERE = "Waiting costs nothing; other hardware may be free: cancel, clone the run, and choose it."
EVERY = 2.0  # seconds between two looks at the job
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
        self.step = 0
        self._lock = threading.Lock()

    def carry(self) -> None:
        """From wherever it stands to the run's end. Raises LabError."""
        with refusals("your run's repository"):
            if not self.state.get("job"):
                self.send()
            threading.Thread(target=self.watch, daemon=True, name="watch").start()
            threading.Thread(target=self.measure, daemon=True, name="measure").start()
            self.follow()
            stage, message = self.stage()
            self.conclude(stage, message)

    # -- there --------------------------------------------------------------------------------------------------

    def send(self) -> None:
        """Make the repository, put everything into it, ask for the job. Asked for once, even when we die between."""
        flavor, seconds = wanted(self.run.job.target)
        name = self.api.whoami()["name"]
        repository = f"{name}/atelier-run-{self.run.id}"
        self.note(namespace=name, repository=repository)
        known = list(self.api.list_jobs(namespace=name, labels={"atelier-run": self.run.id}))
        living = [one.id for one in known if str(getattr(one.status.stage, "value", one.status.stage)) not in ENDED]
        if living:
            self.note(job=living[0])
            return
        self.api.create_repo(repository, private=True, exist_ok=True)
        self.put(repository)
        if self.run.stop == "cancel":
            raise LabError("It was cancelled before it was sent.", "", "cancelled")
        made = self.api.run_job(
            image=IMAGE,
            command=command(repository, f"{self.recipes}.{self.run.job.recipe}"),
            env={"HF_HUB_DISABLE_PROGRESS_BARS": "1", "ATELIER_ALL_GPUS": os.environ.get("ATELIER_ALL_GPUS", "0")},
            secrets=self.secrets,
            flavor=flavor,
            timeout=seconds,
            labels={"atelier-run": self.run.id},
            namespace=name,
        )
        self.note(job=made.id, lines=0)
        self.say(ev.Logged(text=f"Sent to Hugging Face Jobs: {flavor}, for at most {seconds:,} s. {made.url}"))

    def put(self, repository: str) -> None:
        """Code, params, and the files of this disk that they name, in one commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        params, inputs = packed(json.loads((self.run.folder / "params.json").read_text()))
        there = set(self.api.list_repo_files(repository))
        files: dict[str, bytes | Path] = {
            "job/params.json": json.dumps(params).encode(),
            "job/requirements.txt": requirements().encode(),
            "job/code.zip": code({"backend", self.recipes.partition(".")[0]}),
            **inputs,
        }
        operations: list[Any] = [CommitOperationAdd(to, at) for to, at in files.items()]
        operations += [CommitOperationDelete(old) for old in ("job/stop", freight.MANIFEST) if old in there]
        self.api.create_commit(repository, operations, commit_message="What the run needs")

    # -- meanwhile ----------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Copy the job's log, from the first line that was not copied yet."""
        seen, begun = int(self.state.get("lines", 0)), time.monotonic()
        for number, line in enumerate(self.lines(), 1):
            if number <= seen:
                continue
            event = ev.parse(self.redact(line))
            if isinstance(event, ev.Measured):
                self.step = max(self.step, event.step)
            if event.ends or (isinstance(event, ev.Produced) and event.file):
                self.held.append(event)
            else:
                self.say(event)
            if time.monotonic() - begun > 0.5:
                self.note(lines=number)
                begun = time.monotonic()
        # Held events are not in our log yet: a courier after us must meet them again.

    def lines(self) -> Iterator[str]:
        """The job's log until it has ended. A stream may break off short of its end, so the end is read again."""
        where = {"job_id": self.state["job"], "namespace": self.state["namespace"]}
        count = quiet = 0
        while quiet < 2:
            ended = self.stage()[0] in ENDED
            found = self.api.fetch_job_logs(**where, follow=not ended)
            new = 0
            for line in itertools.islice(found, count, None):
                new += 1
                yield line
            count += new
            quiet = quiet + 1 if ended and not new else 0

    def watch(self) -> None:
        """Tell of the line at the Hub, and pass on its owner's wish to stop."""
        begun, warned, asked = time.monotonic(), False, ""
        while True:
            try:
                with refusals("the job"):
                    if (stop := self.run.stop) and stop != asked:
                        self.stop(stop)
                        asked = stop
                    stage, _ = self.stage()
                if stage == "SCHEDULING" and not warned and time.monotonic() - begun > PATIENCE:
                    self.say(ev.Logged(level="warning", text=f"{self.line()} {ELSEWHERE}"))
                    warned = True
            except LabError as error:
                print(f"will look again: {error}", file=sys.stderr)
                stage = ""
            if stage in ENDED:
                return
            time.sleep(1 if asked else EVERY)

    def line(self) -> str:
        """What is waited for, and what else is as large: the two cheapest."""
        flavor, _ = wanted(self.run.job.target)
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
            self.api.cancel_job(job_id=self.state["job"], namespace=self.state["namespace"])
            return
        self.api.upload_file(path_or_fileobj=b"save", path_in_repo="job/stop", repo_id=self.state["repository"])
        self.say(ev.Logged(text="Asked the job to stop and save."))

    def measure(self) -> None:
        """Figures of the job's hardware, beside those of the run."""
        last = 0.0
        try:
            for told in self.api.fetch_job_metrics(
                job_id=self.state["job"], namespace=self.state["namespace"], follow=True
            ):
                if time.monotonic() - last < FIGURES:
                    continue
                last = time.monotonic()
                values = {"job_memory_gb": told["memory_used_bytes"] / 1e9, "job_cpu": told["cpu_usage_pct"] / 100}
                gpus = list((told.get("gpus") or {}).values())
                if gpus:
                    values["job_gpu"] = sum(one["utilization"] for one in gpus) / len(gpus) / 100
                    values["job_gpu_memory_gb"] = sum(one["memory_used_bytes"] for one in gpus) / 1e9
                self.say(ev.Measured(step=self.step, values=values))
        except Exception as error:  # figures beside; the log tells how the job does
            print(f"no figures: {type(error).__name__}: {error}", file=sys.stderr)

    def stage(self) -> tuple[str, str]:
        status = self.api.inspect_job(job_id=self.state["job"], namespace=self.state["namespace"]).status
        return str(getattr(status.stage, "value", status.stage)), str(status.message or "")

    # -- back ---------------------------------------------------------------------------------------------------

    def conclude(self, stage: str, message: str) -> None:
        """Bring what was made, verify it, and only then tell how the run ended."""
        ends = [event for event in self.held if event.ends]
        if stage == "CANCELED" or self.run.stop == "cancel":
            self.end(ev.Cancelled(reason="cancelled by its owner"))
            return
        if stage != "COMPLETED" and not ends:
            self.end(how_it_ended(stage, message))
            return
        if ends and isinstance(ends[-1], ev.Failed):
            self.end(ends[-1])
            return
        missing = self.land()
        if missing:
            self.end(
                ev.Failed(
                    code="jobs.not_landed",
                    message=f"The job ended well, but {missing} did not arrive whole in {self.state['repository']}.",
                    hint="Resume goes on from the last checkpoint that did.",
                )
            )
            return
        for event in self.held:
            if not event.ends:
                self.say(event)
        self.end(
            ends[-1] if ends else ev.Failed(code="died", message="The job ended without a result.", hint="Resume.")
        )

    def land(self) -> str:
        """Bring what the run made here and compare each file; gives the first that is wrong, '' when all is well."""
        from huggingface_hub import snapshot_download

        repository = self.state["repository"]
        place = self.run.folder / "landed"
        snapshot_download(repository, local_dir=place, token=self.token, ignore_patterns=["job/*"])
        try:
            manifest = json.loads((place / freight.MANIFEST).read_text())
        except (FileNotFoundError, ValueError):
            return "the list of what it made"
        for name, listed in manifest.items():
            file = place / name
            if not file.is_file() or file.stat().st_size != listed["bytes"] or freight.digest(file) != listed["sha256"]:
                return str(name)
            if name.endswith(".safetensors") and not opens(file):
                return str(name)
        for name in manifest:
            target = self.run.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (place / name).replace(target)
        shutil.rmtree(place)
        self.say(ev.Logged(text=f"{len(manifest)} files landed; sizes and checksums are right."))
        return ""

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


def command(repository: str, module: str) -> list[str]:
    """What the job runs."""
    from huggingface_hub import __version__

    return ["python", "-c", BEGIN, repository, module, f"huggingface_hub=={__version__}"]


def requirements() -> str:
    """Lines of our own requirements that recipes need."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {line: line.partition("=")[0].partition("<")[0].partition(">")[0].partition("[")[0] for line in lines}
    return "\n".join(line for line, name in names.items() if name in STACK) + "\n"


def code(packages: set[str]) -> bytes:
    """Packages of ours as a zip: the same recipes run there as here."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for name in packages for path in (ROOT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(ROOT))
    return out.getvalue()


def packed(params: Any, inputs: dict[str, bytes | Path] | None = None) -> tuple[Any, dict[str, bytes | Path]]:
    """(params with paths of this disk replaced, {path in the repository: file}) of what they name."""
    inputs = {} if inputs is None else inputs
    if isinstance(params, dict):
        return {key: packed(one, inputs)[0] for key, one in params.items()}, inputs
    if isinstance(params, list):
        return [packed(one, inputs)[0] for one in params], inputs
    if not isinstance(params, str) or not params.startswith("/"):
        return params, inputs
    model, plus, adapter = params.partition(" + ")
    names = []
    for one in filter(None, (model, adapter)):
        source, number = Path(one), len({name.split("/")[2] for name in inputs})
        if not source.exists():
            names.append(one)
            continue
        name = f"{freight.INPUTS}{number}/{source.name}"
        names.append(name)
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_file():
                inputs[name if source.is_file() else f"{name}/{path.relative_to(source).as_posix()}"] = path
    return plus.join(names) if plus else names[0], inputs


def opens(file: Path) -> bool:
    """Whether its header can be read and all of its tensors lie inside."""
    try:
        with file.open("rb") as data:
            size = int.from_bytes(data.read(8), "little")
            header = json.loads(data.read(size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + size + max(ends, default=0) == file.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        return False


def main(home: Path, run_id: str, recipes: str) -> int:
    """Returns the exit code."""
    run = Store(home).run(run_id)
    courier = Courier(run, os.environ["HF_TOKEN"], recipes)
    try:
        courier.carry()
    except LabError as error:
        if courier.state.get("job") and error.code in ("hub.unreachable", "hub.error", "hub.busy", "hub.down"):
            print(f"{error}", file=sys.stderr)
            return 1  # the job goes on; another courier is sent
        if error.code == "cancelled":
            courier.end(ev.Cancelled(reason=error.message))
        else:
            courier.end(ev.Failed(code=error.code, message=error.message, hint=error.hint))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:4]))

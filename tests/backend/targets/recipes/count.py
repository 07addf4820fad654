"""Counts to `steps`, `pause` seconds apart, with a checkpoint file, as a trainer would: resumes, stops, fails, dies."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from backend import events as ev


def say(event: ev.Event) -> None:
    print(ev.line(event), flush=True)


def main(path: Path) -> int:
    params = json.loads(path.read_text())
    folder = path.parent
    checkpoint = folder / "checkpoint"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    say(ev.Started(step=step))
    if name := params.get("tell"):
        value = os.environ.get(name, "")
        print(f"{name} has {len(value)} characters: {value}", flush=True)
    else:
        print(params.get("say", "an ordinary line"), flush=True)
    while step < params["steps"]:
        time.sleep(params.get("pause", 0.02))
        step += 1
        say(ev.Measured(step=step, values={"loss": 1 / step}))
        say(ev.Progressed(done=step, total=params["steps"]))
        new = folder / "checkpoint.new"
        new.write_text(str(step))
        new.replace(checkpoint)
        stop = folder / "stop"
        if stop.exists() and stop.read_text() == "save":
            say(ev.Paused(step=step, reason="stopped and saved"))
            return 0
        if step == params.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == params.get("exit_at"):
            return 7
    say(ev.Finished(values={"train_loss": 1 / step}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

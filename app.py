"""Atelier: see the data, tune a model, measure it, talk to it, publish it. Settings → Lab → UI → launch."""

from __future__ import annotations

import gc
import os
import sys

if __name__ == "__main__":
    gc.disable()  # until the page is served: what is made before stays, and looking through it took 0.8 s

from backend.answers import Answers
from backend.errors import LabError
from backend.lab import Lab
from backend.quota import Quotas
from backend.settings import Settings
from backend.speeds import Speeds
from backend.targets import Target
from backend.targets.hf_jobs import HfJobs
from backend.targets.local import Local


def main() -> int:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before any library reads it
    try:
        settings = Settings.read()
        lab = lent(settings) if settings.zerogpu else Lab.open(settings, owned)
    except LabError as error:
        print(f"Atelier can't start: {error}", file=sys.stderr)
        return 1
    from ui.shell import serve  # gradio is imported when the data folder is known to be ours

    serve(lab)
    return 0


def owned(settings: Settings) -> tuple[Target, ...]:
    """Where work runs on a machine of one's own: here, and on hardware that its owner rents."""
    return Local(settings.home, env=settings.child_env), HfJobs(settings.home, env=settings.child_env)


def lent(settings: Settings) -> Lab:
    """With a GPU that is lent for seconds; what does not need one stays with the CPU."""
    from backend.targets import gpu_worker, zerogpu

    gpu_worker.warm()
    gpu_worker.place(settings.pinned)
    quotas, speeds = Quotas(), Speeds(settings.home / "speeds.json")
    return Lab.open(
        settings,
        lambda s: (
            zerogpu.ZeroGPU(s.home, quotas, s.slice_seconds),
            Local(s.home, "cpu", s.child_env),
            HfJobs(s.home, s.child_env),
        ),
        lambda process: Answers(process, gpu_worker.answer, quotas, speeds),
    )


if __name__ == "__main__":
    sys.exit(main())

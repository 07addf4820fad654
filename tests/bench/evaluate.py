"""Evaluation: rows per second beside lm-evaluation-harness on the same local tasks, re-scoring, and a long history.

lm-evaluation-harness is put into a folder of its own, with the same transformers, model, precision, batch size and
rows. The time is that of asking, without loading the model. Equal scores are part of the requirement.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from backend.recipes import device, scoring
from backend.recipes.answering import Answerer
from backend.recipes.questions import Question
from backend.starter import MODEL_ID, locate

ROOT = Path(__file__).resolve().parents[2]
HARNESS = Path.home() / ".cache" / "atelier" / "bench" / "lm-eval-0.4.13"
PACKAGES = (
    *("lm-eval==0.4.13", "sqlitedict", "pytablewriter", "word2number", "more_itertools", "zstandard", "DataProperty"),
    *("tabledata", "tcolorpy", "typepy", "pathvalidate", "mbstrdecoder", "chardet"),
)
ROWS, CHOICES, TOKENS, BATCH = 96, 160, 32, 16
REPEATS = 2
GENERATION = f"""task: atelier_generation
dataset_path: json
dataset_kwargs: {{data_files: {{test: DATA}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["<|im_end|>"], max_gen_toks: {TOKENS}, do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""
CHOICE = """task: atelier_choice
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
"""


def measure() -> list[dict[str, Any]]:
    return [*beside_the_harness(), rescoring(), history()]


def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(open questions, multiple choice) from the sample: {question, answer} and {question, choices, answer}."""
    found = [json.loads(line) for line in Path(locate("sample/evaluation")).read_text().splitlines()]
    asked = [{"question": row["prompt"][0]["content"], "answer": row["completion"][0]["content"]} for row in found]
    rng, choices = random.Random(0), []
    for row in asked[:CHOICES]:
        four = [row["answer"], *rng.sample([one["answer"] for one in asked if one["answer"] != row["answer"]], 3)]
        rng.shuffle(four)
        question = f"{row['question']} Answer:"
        choices.append({"question": question, "choices": four, "answer": four.index(row["answer"])})
    return asked[:ROWS], choices


def ours(asked: list[dict[str, Any]], choices: list[dict[str, Any]]) -> dict[str, Any]:
    """{seconds: [generation, choice], answers, right} of our own."""
    chosen = device.choose(device.find(), "bf16")
    answerer = Answerer(MODEL_ID, chosen, BATCH, lambda: False)
    prompts: list[Any] = [[{"role": "user", "content": row["question"]}] for row in asked]
    begun = time.perf_counter()
    answers = dict(pair for batch in answerer.answers(prompts, TOKENS) for pair in batch)
    between = time.perf_counter()
    judged = answerer.likelihoods([row["question"] for row in choices], [row["choices"] for row in choices])
    right = 0
    for place, found in (pair for batch in judged for pair in batch):
        logs = [one["log_likelihood"] for one in found]  # type: ignore[union-attr]
        right += logs.index(max(logs)) == choices[place]["answer"]
    ended = time.perf_counter()
    said = [answers[place]["answer"] for place in range(len(asked))]
    return {"seconds": [between - begun, ended - between], "answers": said, "right": right}


def theirs(folder: Path) -> dict[str, Any]:
    """The same of lm-evaluation-harness; runs in a process that has it on its path."""
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(device.cores())
    model = HFLM(pretrained=locate(MODEL_ID), dtype="bfloat16", batch_size=BATCH, device="cpu")
    tasks = TaskManager(include_path=str(folder), include_defaults=False)
    told: dict[str, Any] = {"seconds": []}
    for task, chat in (("atelier_generation", True), ("atelier_choice", False)):
        begun = time.perf_counter()
        found = simple_evaluate(
            model=model, tasks=[task], task_manager=tasks, apply_chat_template=chat, log_samples=True, bootstrap_iters=0
        )
        told["seconds"].append(time.perf_counter() - begun)
        samples = sorted(found["samples"][task], key=lambda one: one["doc_id"])
        if chat:
            told["answers"] = [one["resps"][0][0].strip() for one in samples]
        else:
            told["right"] = round(sum(one["acc"] for one in samples))
    return told


def beside_the_harness() -> list[dict[str, Any]]:
    if not (HARNESS / "lm_eval").exists():
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(HARNESS), *PACKAGES]
        subprocess.run(install, check=True)
    asked, choices = rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task, data, text in (("generation", asked, GENERATION), ("choice", choices, CHOICE)):
            path = folder / f"{task}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in data))
            (folder / f"{task}.yaml").write_text(text.replace("DATA", str(path)))
        mine, other = [], []
        for _ in range(REPEATS):
            other.append(_in_a_process(folder))
            mine.append(ours(asked, choices))
    held = [_contained(asked, one[0]["answers"]) for one in (mine, other)]
    figures = []
    for place, (what, many, scores) in enumerate(
        (("open questions", ROWS, held), ("multiple choice", CHOICES, [mine[0]["right"], other[0]["right"]]))
    ):
        fast, slow = (many / min(one["seconds"][place] for one in side) for side in (mine, other))
        equal = abs(scores[0] - scores[1]) <= 0.02 * many
        figures.append(
            {
                "what": f"{what}, {scores[0]} of {many} right (harness: {scores[1]})",
                "figure": fast,
                "unit": "rows/s",
                "against": "lm-eval, HF backend",
                "comparison": slow,
                "ratio": fast / slow,
                "requirement": "≥ 1.2 ×, equal scores",
                "passed": fast / slow >= 1.2 and equal,
            }
        )
    return figures


def _in_a_process(folder: Path) -> dict[str, Any]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HARNESS), str(ROOT)]), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.bench.evaluate", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    if not found:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-3000:])
    told: dict[str, Any] = json.loads(found[0])
    return told


def _contained(asked: list[dict[str, Any]], answers: list[str]) -> int:
    return sum(row["answer"].lower() in one.lower() for row, one in zip(asked, answers, strict=True))


def rescoring(many: int = 100_000) -> dict[str, Any]:
    """Five metrics over stored predictions: intervals, paired tests and rows' own scores included."""
    rng = random.Random(0)
    words = ["the", "a", "cat", "dog", "sat", "on", "mat", "red", "big", "ran"]
    questions = [Question(n, "q", " ".join(rng.choices(words, k=6))) for n in range(many)]
    answered = [{"answer": one.reference if rng.random() < 0.5 else " ".join(rng.sample(one.reference.split(), 5))}
                for one in questions]  # fmt: skip
    begun = time.perf_counter()
    scoring.score(
        ["exact_match", "contains", "token_f1", "bleu", "chrf"], questions, [answered], [{"name": "m", "place": ""}]
    )
    seconds = time.perf_counter() - begun
    return {"what": f"re-scoring {many:,} predictions with five metrics", "figure": seconds, "unit": "s",
            "requirement": "≤ 30 s", "passed": seconds <= 30}  # fmt: skip


def history(many: int = 500) -> dict[str, Any]:
    """The list of evaluations and the dashboard as the page gets them, from a server that has just started."""
    from backend.evaluations import Evaluations
    from backend.jobs import Job
    from backend.store import Store
    from ui.evaluate import board
    from ui.evaluate_views import history as drawn

    told = scoring.score(
        ["exact_match", "contains", "token_f1"],
        [Question(n, "q", "x", more={"topic": str(n % 13)}) for n in range(208)],
        [[{"answer": "x" if n % k else "y"} for n in range(208)] for k in (2, 5)],
        [{"name": "base", "place": ""}, {"name": "tuned", "place": ""}],
    )
    told.pop("scores")
    text = json.dumps(told | {"dataset": "sample/evaluation", "unasked": [], "at": 0.0})
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        for _ in range(many):
            run = store.add(Job("evaluate", {"models": [MODEL_ID]}, "local", "me"), {})
            (run.folder / "results.json").write_text(text)
        window = Evaluations(store, lambda run, owner: store.run(run), lambda *_: store.run(""))
        begun = time.perf_counter()
        every = window.every("me", many)
        drawn(every, "")
        figure, dataset = "exact_match", "sample/evaluation"
        board.table(every, dataset), board.pictures(every, dataset, figure), board.settings(every, dataset, figure)
        milliseconds = 1000 * (time.perf_counter() - begun)
    return {"what": f"list and dashboard of {many} evaluations, after a restart", "figure": milliseconds, "unit": "ms",
            "requirement": "≤ 300 ms", "passed": milliseconds <= 300}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(theirs(Path(sys.argv[1]))))

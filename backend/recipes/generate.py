"""A model's answer to each row of a column, as a new dataset. Goes on row by row where it stopped. Runs alone:

    mkdir -p /tmp/first && echo '{"column": "prompt", "max_rows": 20}' > /tmp/first/params.json
    python -m backend.recipes.generate /tmp/first/params.json

The rows with their answers come to `rows.jsonl`, a batch at a time; pictures and sounds are left out of them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from backend import events as ev
from backend.errors import BadInput
from backend.recipes import device, loading, process, table
from backend.recipes.params import PREFERENCES
from backend.recipes.process import say
from backend.starter import MODEL_ID

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS = "rows.jsonl"
SHOWN = 4  # answers that are shown while it runs


class Params(table.TableParams):
    """Who answers what, and how."""

    dataset: str = Field(PREFERENCES, title="Dataset", description="A sample, an upload, run/ID or a Hub id")
    column: str = Field("prompt", title="Column", description="With text or chats: what is asked")
    answer_column: str = Field(
        "answer", min_length=1, max_length=100, title="New column", description="For the answers"
    )
    model: str = Field(MODEL_ID, title="Model", description="A Hub id, or a folder saved with save_pretrained")
    adapter: str = Field("", title="Adapter", description="run/ID or a Hub id; empty for none")
    system: str = Field("", max_length=20_000, title="System prompt", description="Before each question")
    max_rows: int = Field(0, ge=0, title="Rows", description="Answer only the first so many; 0 answers all")
    max_new_tokens: int = Field(128, ge=1, le=4096, title="Longest answer", description="In tokens")
    max_length: int = Field(1024, ge=8, le=131_072, title="Longest question", description="Tokens kept, from its end")
    temperature: float = Field(0.0, ge=0, le=5, title="Temperature", description="0 takes the likeliest token")
    top_p: float = Field(0.95, gt=0, le=1, title="Top p", description="Sample from so much probability")
    batch_size: int = Field(8, ge=1, le=256, title="Batch size", description="Rows answered together")
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="The same seed gives the same answers")


def preflight(params: Params) -> None:
    """Raises BadInput."""
    table.check(params, params.column)


def run(params: Params, folder: Path) -> None:
    """Answer, writing to `folder`. Raises LabError."""
    from backend.tables.export import plain
    from backend.tables.pages import whole

    opened = table.open(params, folder)
    kind = opened.column(params.column).kind
    if kind not in ("text", "chat"):
        raise BadInput(f"{params.column!r} holds {kind}.", "Choose a column with text or chats.")
    names = [column.name for column in opened.columns if column.kind not in ("image", "audio", "bytes")]
    if params.answer_column in names:
        raise BadInput(f"There is a column {params.answer_column!r} already.", "Give the answers another name.")
    total = min(opened.rows, params.max_rows or opened.rows)
    done = begun(folder / ROWS)
    chosen = device.choose(device.find())
    info = {"model": Path(params.model).name, "dataset": Path(params.dataset).name, "column": params.column}
    say(ev.Started(step=done, info=info | chosen.info()))
    say(ev.Logged(text=f"{total - done:,} of {total:,} rows are to be answered."))
    writer = Writer(params, chosen) if done < total else None
    wish, began, before = table.Wish(folder), time.perf_counter(), done
    with (folder / ROWS).open("a", encoding="utf-8") as out:
        while done < total and writer is not None:
            if wish.is_set():
                say(ev.Paused(step=done, reason="stopped by its owner"))
                return
            numbers = range(done, min(done + params.batch_size, total))
            rows = [dict(zip(names, row, strict=True)) for row in whole(opened, numbers, names)]
            answers = writer.answers([row[params.column] for row in rows], params.seed + done)
            for row, answer in zip(rows, answers, strict=True):
                out.write(json.dumps(plain(row) | {params.answer_column: answer}, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())
            done += len(rows)
            pace = (done - before) / (time.perf_counter() - began)
            say(ev.Progressed(done=done, total=total, unit="rows", eta=round((total - done) / pace, 1)))
            say(ev.Measured(step=done, values={"rows_per_second": round(pace, 3)}))
            if done - len(rows) == before:
                shown = [
                    {"prompt": _said(row[params.column]), "answer": answer or ""}
                    for row, answer in zip(rows[:SHOWN], answers, strict=False)
                ]
                say(ev.Produced(kind="samples", name="samples", step=done, data={"rows": shown}))
                say(ev.Produced(kind="dataset", name="answers", file=ROWS))
    say(ev.Logged(text=f"Open the answers in the Data tab as run/{folder.name}."))
    say(ev.Produced(kind="dataset", name="answers", file=ROWS, step=done))
    say(ev.Finished(reason="answered", values={"rows": done}))


def begun(file: Path) -> int:
    """Rows that are written already; a last line that was cut off is taken away."""
    if not file.exists():
        return 0
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        file.write_bytes(whole)
    return whole.count(b"\n")


class Writer:
    """A loaded model that answers batches."""

    def __init__(self, params: Params, chosen: device.Device) -> None:
        import torch

        torch.set_num_threads(chosen.threads)
        self.params = params
        self.tokenizer: PreTrainedTokenizerBase = loading.tokenizer(params.model)
        self.model: PreTrainedModel = loading.model(params.model, chosen)
        if params.adapter:
            from peft import PeftModel

            with loading.hub_errors(params.adapter):
                self.model = PeftModel.from_pretrained(self.model, params.adapter)
                loading.share_head(self.model)
        self.model.to(chosen.device).eval()

    def answers(self, asked: Sequence[Any], seed: int) -> list[str | None]:
        """One for each; None where nothing was asked. The same `seed` and questions give the same answers."""
        import torch

        there = [i for i, one in enumerate(asked) if one]
        found: list[str | None] = [None] * len(asked)
        if not there:
            return found
        p = self.params
        inputs = self.tokenizer(
            [self._templated(asked[i]) for i in there],
            return_tensors="pt", padding=True, padding_side="left", add_special_tokens=not self.tokenizer.chat_template,
        )  # fmt: skip
        inputs = {name: tensor[:, -p.max_length :].to(self.model.device) for name, tensor in inputs.items()}
        torch.manual_seed(seed)
        sampling = {"do_sample": True, "temperature": p.temperature, "top_p": p.top_p} if p.temperature else {}
        with torch.no_grad():
            made = self.model.generate(
                **inputs,
                max_new_tokens=p.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                **({"do_sample": False, "num_beams": 1} | sampling),
            )
        new = self.tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(there, new, strict=True):
            found[i] = text.strip()
        return found

    def _templated(self, asked: Any) -> str:
        """A text is one question; of a chat an answer at its end is left away."""
        turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
        turns = [{"role": turn["role"], "content": turn["content"] or ""} for turn in turns]
        if turns and turns[-1]["role"] == "assistant":
            turns.pop()
        if self.params.system:
            turns.insert(0, {"role": "system", "content": self.params.system})
        if not self.tokenizer.chat_template:
            return "\n\n".join(turn["content"] for turn in turns)
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _said(asked: Any) -> str:
    """What was asked, for a reader."""
    if isinstance(asked, list):
        return next((str(turn["content"]) for turn in reversed(asked) if turn["role"] == "user"), "")
    return str(asked or "")


if __name__ == "__main__":
    process.leave(process.main(Params, run))

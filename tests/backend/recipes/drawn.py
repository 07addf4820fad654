"""Runs a recipe whose answers are drawn by lot, so that the lot of a row does not depend on which process draws it.

    python -m torch.distributed.run --nproc_per_node 2 -m tests.backend.recipes.drawn grpo params.json

Each token is drawn by a generator of prompt, number of the answer among all, and place of the token; the rest is real.
ORDER, in the environment, says how rows are dealt out: `blocks` (TRL's trainers) or `turns` (PPO).
"""

from __future__ import annotations

import os
import sys
import zlib
from importlib import import_module
from typing import Any

import torch
from transformers import GenerationMixin

from backend.recipes import process, together

generate, draw = GenerationMixin.generate, torch.multinomial
asked: list[int] = []
place = 0


def begun(self: Any, *args: Any, **more: Any) -> Any:
    global asked, place
    given, seen = more["input_ids"].tolist(), more["attention_mask"].tolist()
    rows = [[token for token, real in zip(*row, strict=True) if real] for row in zip(given, seen, strict=True)]
    asked, place = [zlib.crc32(str(row).encode()) for row in rows], 0
    return generate(self, *args, **more)


def drawn(chances: torch.Tensor, num_samples: int, *args: Any, **more: Any) -> torch.Tensor:
    global place
    if chances.dim() != 2:
        return draw(chances, num_samples, *args, **more)
    place += 1
    found, turns = [], os.environ["ORDER"] == "turns"
    for row, chance in enumerate(chances):
        number = row * together.many() + together.rank() if turns else together.rank() * len(chances) + row
        own = torch.Generator().manual_seed(asked[row] + number * 1009 + place)
        found.append(draw(chance.double(), num_samples, generator=own))
    return torch.stack(found)


GenerationMixin.generate = begun  # type: ignore[method-assign]
torch.multinomial = drawn

if __name__ == "__main__":
    recipe = import_module(f"backend.recipes.{sys.argv[1]}")
    process.leave(process.main(recipe.Params, recipe.run, sys.argv[2:]))

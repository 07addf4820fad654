"""What teaching an image model shares: the steps, from the start or exactly on from a checkpoint, and what is told.

All that is random in a step comes of the seed and the step's number, so a resumed run makes the same steps.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from backend import events as ev
from backend.errors import BadData, BadInput
from backend.recipes import checkpoints, device, image_data, image_model
from backend.recipes.callbacks import FOLDER, Reporter, peak_memory, reporter
from backend.recipes.image_params import ImageTrainParams
from backend.recipes.process import say
from backend.recipes.reading import short_name
from backend.recipes.training import ADAPTER, DRY_STEPS, RESULT, finished

if TYPE_CHECKING:
    from torch import Tensor

TOLD = "adapter.json"  # beside the weights: what they belong to
SAMPLES = "samples"  # the folder of the pictures that were drawn, whole
WEIGHTS, REST = "weights.safetensors", "optimizer.pt"  # of a checkpoint
_SHOWN_SIDE = 192  # pixels of a picture in the log
_KEPT = 2  # checkpoints
_SPREAD = 1_000_003  # between the seeds of two steps


class Lesson(Protocol):
    """What differs between the ways of teaching."""

    kind: str  # of the artifact
    trained: dict[str, Tensor]  # the weights that learn, by name

    def hint(self, caption: str) -> image_model.Hint:
        """What the denoiser reads of a caption."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what was learned, as diffusers reads it; gives what TOLD says of it."""


@dataclass(frozen=True)
class Example:
    """A picture as latents [channels, height, width], what it shows, how much it counts, and whether it is old."""

    latents: Tensor
    caption: str
    weight: float = 1.0
    kept: bool = False  # drawn by the model, so that it stays as it was


class Artist:
    """Draws the same prompts with the same seeds at each checkpoint; for a Reporter it is its samples."""

    def __init__(self, painter: image_model.Painter, params: ImageTrainParams, folder: Path, side: int) -> None:
        self.painter, self.params, self.folder, self.side = painter, params, folder / SAMPLES, side
        self.step = 0

    def rows(self, _: Any = None) -> list[dict[str, Any]]:
        """{prompt, seed, picture: WebP as a data address, file} of each."""
        found, (steps, guidance) = [], self.params.drawing()
        place = self.folder / f"step-{self.step}"
        place.mkdir(parents=True, exist_ok=True)
        for at, prompt in enumerate(self.params.shown):
            for seed in range(self.params.seed, self.params.seed + self.params.num_validation_images):
                picture = self.painter.draw(prompt, seed, steps, guidance, self.side)
                file = place / f"{at + 1}-{seed}.png"
                picture.save(file)
                shown = base64.b64encode(image_data.webp(picture, _SHOWN_SIDE, 85)).decode()
                name = f"{SAMPLES}/{place.name}/{file.name}"
                row = {"prompt": prompt, "seed": str(seed), "file": name}
                found.append(row | {"picture": f"data:image/webp;base64,{shown}"})
        return found


class Trainer:
    """Has of a Trainer what a Reporter asks for."""

    def __init__(
        self,
        painter: image_model.Painter,
        lesson: Lesson,
        examples: Sequence[Example],
        params: ImageTrainParams,
        folder: Path,
        artist: Artist | None = None,
    ) -> None:
        import torch
        from transformers import TrainerControl, TrainerState, get_scheduler

        self.painter, self.lesson = painter, lesson
        both = ([one for one in examples if one.kept is kept] for kept in (False, True))
        self.kinds = [kind for kind in both if kind]
        self.params, self.folder, self.artist = params, folder, artist
        self.control = TrainerControl()
        self.state = TrainerState(max_steps=params.max_steps, num_train_epochs=1)
        self.weights = list(lesson.trained.values())
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=params.learning_rate or 0.0, weight_decay=params.weight_decay
        )
        warmup = params.warmup_steps if params.warmup_steps >= 1 else params.warmup_steps * params.max_steps
        self.schedule = get_scheduler(params.lr_scheduler_type, self.optimizer, math.ceil(warmup), params.max_steps)
        half = painter.device.precision == "fp16" and painter.device.device == "cuda"
        self.scaler = torch.amp.GradScaler("cuda", enabled=half)
        self.watching: Any = None

    def train(self, checkpoint: Path | None = None) -> float:
        """All steps, to the last or to the watching's stop; gives the seconds that it took."""
        state, control, begun = self.state, self.control, time.perf_counter()
        if checkpoint:
            self.load(checkpoint)
            state = self.state
        self._tell("on_train_begin")
        while state.global_step < state.max_steps and not control.should_training_stop:
            self._tell("on_step_begin")
            values = self.step(state.global_step)
            state.global_step += 1
            state.epoch = state.global_step * self.params.rows / len(self.kinds[0])
            self._tell("on_step_end")
            if control.should_log or state.global_step % self.params.logging_steps == 0:
                state.log_history.append({**values, "step": state.global_step})
                self._tell("on_log", logs=values)
            if control.should_save:
                self.save(self.folder / f"checkpoint-{state.global_step}")
                if self.artist:
                    self.artist.step = state.global_step
                self._tell("on_save")
                for old in sorted(self.folder.glob("checkpoint-*"), key=checkpoints.step)[:-_KEPT]:
                    shutil.rmtree(old)
        return time.perf_counter() - begun

    def _tell(self, what: str, **more: Any) -> None:
        if self.watching is not None:
            args = SimpleNamespace(output_dir=str(self.folder), learning_rate=self.params.learning_rate or 0.0)
            getattr(self.watching, what)(args, self.state, self.control, **more)

    def step(self, number: int) -> dict[str, float]:
        """Step `number`, counted from 0: what it measured."""
        import torch

        params, painter = self.params, self.painter
        torch.manual_seed(params.seed * _SPREAD + number)  # dropout
        dice = torch.Generator().manual_seed(params.seed * _SPREAD + number)
        rows = self.drawn(number)
        total, at_once = 0.0, params.per_device_train_batch_size * len(self.kinds)
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            latents = torch.stack([one.latents for one in some]).to(painter.net.device)
            noise = torch.randn(latents.shape, generator=dice).to(latents.device)
            weight = torch.tensor([one.weight for one in some], device=latents.device)
            noisy, times, wanted = painter.noised(latents, noise, dice)
            kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(painter.device.precision, torch.float32)
            with torch.autocast(latents.device.type, kind, enabled=painter.device.autocast):
                hints = {one.caption: self.lesson.hint(one.caption) for one in some}
                guess = painter.guess(noisy, times, [hints[one.caption] for one in some])
            far = (guess.float() - wanted.float()).pow(2).mean((1, 2, 3))
            loss = (far * weight).sum() / len(rows)
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        self.scaler.unscale_(self.optimizer)
        length = torch.nn.utils.clip_grad_norm_(self.weights, params.max_grad_norm or float("inf"))
        rate = self.schedule.get_last_lr()[0]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.schedule.step()
        return {"loss": total, "grad_norm": float(length), "learning_rate": rate}

    def drawn(self, number: int) -> list[Example]:
        """The examples of step `number`: after each one to learn one to keep, where there are such.

        Each epoch has all of a kind, in an order of its own that the seed gives.
        """
        import torch

        found, orders = [], {}
        for place in range(number * self.params.rows, (number + 1) * self.params.rows):
            for kind in self.kinds:
                epoch, nth = divmod(place, len(kind))
                if (len(kind), epoch) not in orders:
                    dice = torch.Generator().manual_seed(self.params.seed * _SPREAD + epoch)
                    orders[len(kind), epoch] = torch.randperm(len(kind), generator=dice).tolist()
                found.append(kind[orders[len(kind), epoch][nth]])
        return found

    # -- where it stands ----------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, optimizer, schedule and position to `folder`."""
        import torch
        from safetensors.torch import save_file

        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_file({name: one.detach().contiguous() for name, one in self.lesson.trained.items()}, folder / WEIGHTS)
        self.state.save_to_json(str(folder / "trainer_state.json"))
        held = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(held, folder / REST)

    def load(self, folder: Path) -> None:
        """Go on from what `save` wrote."""
        import torch
        from safetensors.torch import load_file
        from transformers import TrainerState

        there = load_file(folder / WEIGHTS)
        for name, weight in self.lesson.trained.items():
            weight.data.copy_(there[name])
        held = torch.load(folder / REST, weights_only=True)
        self.optimizer.load_state_dict(held["optimizer"])
        self.schedule.load_state_dict(held["schedule"])
        if held["scaler"]:
            self.scaler.load_state_dict(held["scaler"])
        torch.set_rng_state(held["random"])
        total = self.state.max_steps
        self.state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
        self.state.max_steps = total


# -- a run ------------------------------------------------------------------------------------------------------


def run(
    params: ImageTrainParams,
    folder: Path,
    check: Callable[[Any], None],
    lesson: Callable[[image_model.Painter, Any], Lesson],
    more: Callable[[image_model.Painter, Any, Path, int], list[image_data.Picture]] | None = None,
) -> None:
    """Teach in `folder` what `lesson` makes of the loaded pipeline, telling of it on standard output. Raises LabError.

    `more` gives further pictures, of which the model learns nothing new.
    """
    if finished(folder):
        return
    if params.dry_run:
        params = params.model_copy(update={"max_steps": DRY_STEPS, "num_validation_images": 0, "logging_steps": 1})
    check(params)
    checkpoints.restore(folder / ADAPTER)
    checkpoint = checkpoints.newest(folder / FOLDER)
    step = checkpoints.step(checkpoint)
    say(ev.Logged(text="Loading PyTorch and Diffusers …"))
    import torch

    chosen = _device(params)
    torch.set_num_threads(chosen.threads)
    names = {"model": short_name(params.model), "dataset": short_name(params.dataset)}
    say(ev.Started(step=step, info=names | chosen.info()))
    if checkpoint:
        say(ev.Logged(text=f"Going on from the checkpoint of step {step}."))
    painter = image_model.Painter.load(params.model, chosen)
    side = params.resolution or _own_side(painter)
    pictures = _pictures(params, folder, side)
    artist = Artist(painter, params, folder, side) if params.num_validation_images else None
    if artist and not checkpoint:
        say(ev.Logged(text="Drawing what it draws before it has learned anything …"))
        say(ev.Produced(kind="samples", name="samples", step=0, data={"rows": artist.rows()}))
    kept = more(painter, params, folder, side) if more else []
    torch.manual_seed(params.seed)
    taught = lesson(painter, params)
    if chosen.gradient_checkpointing:
        painter.net.enable_gradient_checkpointing()
        painter.net.train()
    examples = _examples(painter, params, pictures, kept)
    trained, size = (
        sum(one.numel() for one in taught.trained.values()),
        sum(p.numel() for p in painter.net.parameters()),
    )
    say(ev.Logged(text=f"Training {trained / 1e6:.3g} million weights beside a denoiser of {size / 1e6:.3g} million."))
    trainer = Trainer(painter, taught, examples, params, folder / FOLDER, artist)
    watching = reporter(folder, say, params.rows, params.save_steps, artist, False)
    watching.on_divergence, watching.dry, watching.counted = params.on_divergence, params.dry_run, "pictures"
    trainer.watching = watching
    took = trainer.train(checkpoint)
    _close(trainer, watching, params, folder, took)


def _device(params: ImageTrainParams) -> device.Device:
    """Where it is taught; on a processor in fp32, which is quicker there than bf16 for such models."""
    machine = device.find()
    precision = "fp32" if params.precision == "auto" and machine.kind != "cuda" else params.precision
    return device.choose(machine, precision, params.gradient_checkpointing)


def _own_side(painter: image_model.Painter) -> int:
    size = getattr(painter.net.config, "sample_size", None)
    size = min(size) if isinstance(size, list | tuple) else size
    return int(size) * int(painter.pipeline.vae_scale_factor) if size else image_model.SIDE


def _pictures(params: ImageTrainParams, folder: Path, side: int) -> list[image_data.Picture]:
    """What is learned from, which is said, with what was left out or changed."""
    pictures, report = image_data.read(params, folder, side)
    if not pictures:
        raise BadData("No picture is left to learn from.", "Upload 5 to 20 pictures of one thing.", "data.no_pictures")
    say(ev.Logged(text=f"{len(pictures):,} rows to learn from, 0 held out; data: pictures of {side}×{side} pixels."))
    for found, words, level in ((report.wrong, "Left out, since", "warning"), (report.changed, "Some are", "info")):
        for one in found.values():
            numbers = ", ".join(map(str, one.rows)) + (" …" if one.count > len(one.rows) else "")
            say(ev.Logged(level=level, text=f"{words} {one.rule}: {one.count:,} (picture {numbers})."))
    word = getattr(params, "placeholder_token", "")
    for at, picture in enumerate(pictures, 1):
        if word and picture.caption and word not in picture.caption:
            raise BadInput(
                f"The caption of picture {at} is {picture.caption[:80]!r}; the new word {word!r} is not in it.",
                "Write it into every caption, or leave caption_column empty.",
                "prompt.token",
            )
    for line in image_data.number(len(pictures)):
        say(ev.Logged(level="warning", text=line))
    return pictures


def _examples(
    painter: image_model.Painter,
    params: ImageTrainParams,
    pictures: Sequence[image_data.Picture],
    kept: Sequence[image_data.Picture],
) -> list[Example]:
    """Pictures as latents, which is done once."""
    latents = painter.latents([one.image for one in (*pictures, *kept)]).cpu()
    usual = getattr(params, "instance_prompt", "")
    found = [Example(latents[i], one.caption or usual) for i, one in enumerate(pictures)]
    prior = float(getattr(params, "prior_loss_weight", 1.0))
    return found + [Example(latents[len(pictures) + i], one.caption, prior, True) for i, one in enumerate(kept)]


def _close(trainer: Trainer, watching: Reporter, params: ImageTrainParams, folder: Path, took: float) -> None:
    """Save what was learned and say how it ended."""
    step = trainer.state.global_step
    if watching.stopped == "cancel":
        say(ev.Cancelled(reason="cancelled by its owner"))
        return
    if params.dry_run:
        timed = watching.step_times[1:] or watching.step_times
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        peak = {"memory_gb": round(peak_memory(), 3), "seconds_per_step": round(sum(timed) / len(timed), 3)}
        say(ev.Finished(reason="dry run", values={"steps": step} | peak))
        return
    keep(trainer.lesson, params, folder)
    say(ev.Produced(kind=trainer.lesson.kind, name=ADAPTER, file=ADAPTER, step=step))
    if watching.stopped and step < trainer.state.max_steps:
        say(ev.Paused(step=step, reason=watching.reason))
        return
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    values: dict[str, Any] = {"steps": step, "seconds": round(took, 1)}
    if losses:
        values["train_loss"] = sum(losses) / len(losses)
    if watching.seconds > 0:
        values["pictures_per_second"] = round(watching.steps * watching.rows / watching.seconds, 3)
    new = folder / f"{RESULT}.new"
    new.write_text(json.dumps(values))
    checkpoints.sync(new)
    new.replace(folder / RESULT)
    say(ev.Finished(values=values))


def keep(lesson: Lesson, params: ImageTrainParams, folder: Path) -> None:
    """Write `folder/adapter`, whole or not at all."""
    new = folder / f"{ADAPTER}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    told = {"base_model": params.model, "kind": lesson.kind} | lesson.save(new)
    (new / TOLD).write_text(json.dumps(told, indent=2, ensure_ascii=False))
    checkpoints.replace(new, folder / ADAPTER)

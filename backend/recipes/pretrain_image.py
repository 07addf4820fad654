"""Trains the image starter from nothing: autoencoder, then text encoder and denoiser together. Runs alone:

    mkdir -p /tmp/pictures && echo '{}' > /tmp/pictures/params.json
    python -m backend.recipes.pretrain_image /tmp/pictures/params.json

The pictures are brought by npm. Each stage leaves its result in the folder and is not done again; `echo save >
/tmp/pictures/stop` stops with everything saved, and running it again goes on as if there had been no stop.
The pipeline, as `DiffusionPipeline.from_pretrained` reads it, comes to `/tmp/pictures/pipeline`.

v-prediction (Salimans and Ho, 2022, arXiv:2202.00512) with a schedule that ends in pure noise (Lin et al., 2023,
arXiv:2305.08891), so that few steps are enough and a plain ground can have any colour.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend import events as ev
from backend.errors import BadInput, NotFound
from backend.recipes import device, process
from backend.recipes.process import say
from backend.starter.pictures import captions, networks
from backend.starter.pictures.emoji import Emoji, catalogue, fetch, pictures, taught

if TYPE_CHECKING:
    import torch

SAYINGS = 8  # captions of each scene
UNSAID = 0.1  # of the captions are left out, so that guidance has something to compare with
PIPELINE = "pipeline"


class Params(BaseModel):
    """How long each stage trains, and on what."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    archive: str = Field("", title="Archive", description="Of the emoji pictures, as npm packs them; empty fetches it")
    views: int = Field(32, ge=1, le=500, title="Views", description="Scenes drawn of each emoji")
    autoencoder_steps: int = Field(3000, ge=1, le=1_000_000, title="Steps of the autoencoder")
    max_steps: int = Field(6000, ge=1, le=10_000_000, title="Steps", description="Of text encoder and denoiser")
    per_device_train_batch_size: int = Field(64, ge=1, le=4096, title="Batch size", description="Pictures a step")
    learning_rate: float = Field(6e-4, gt=0, le=1, title="Learning rate")
    save_steps: int = Field(250, ge=1, title="Save every", description="Steps between two checkpoints")
    logging_steps: int = Field(50, ge=1, title="Tell every", description="Steps between two figures")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field("auto", title="Precision", description="Of arithmetic")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="The same seed gives the same weights")


def preflight(params: Params) -> None:
    """Raises NotFound."""
    if params.archive and not Path(params.archive).is_file():
        raise NotFound(f"There is no file {params.archive}.", "Give the path of the archive, or leave it empty.")


def run(params: Params, folder: Path) -> None:
    """Train in `folder`. Raises LabError."""
    import numpy
    import torch

    preflight(params)
    chosen = device.choose(device.find(), params.precision, full=True)
    if params.precision == "auto" and chosen.device == "cpu" and device.computes_in_bf16():
        chosen = replace(chosen, precision="bf16", autocast=True)  # measured: twice the pictures a second
    torch.set_num_threads(chosen.threads)
    say(ev.Started(info=chosen.info()))
    archive = Path(params.archive) if params.archive else fetch(folder)
    emojis = catalogue(archive)
    if not taught(emojis):
        raise BadInput(f"{archive.name} holds no pictures that are used here.", "Leave the archive empty.")
    raw = pictures(archive, emojis)
    shown = scenes(emojis, params.views, params.seed)
    images = torch.from_numpy(numpy.stack([captions.draw(raw[one.emoji], one) for one in shown]))
    images = images.permute(0, 3, 1, 2).contiguous()
    say(ev.Logged(text=f"{len(taught(emojis))} emoji, {len(shown):,} scenes of them."))
    vae = _autoencoder(params, folder, images, chosen)
    if vae is None:
        return
    latents = _latents(folder, vae, images, chosen)
    dice = random.Random(params.seed)
    said = [[captions.caption(one, emojis, dice) for _ in range(SAYINGS)] for one in shown]
    words = networks.tokenizer((text for some in said for text in some), folder / "tokenizer")
    scale = 1 / float(latents.float().std())
    net = _denoiser(params, folder, latents * scale, said, words, chosen)
    if net is None:
        return
    networks.assemble(folder / PIPELINE, vae.cpu(), scale, words, net.cpu())
    say(ev.Produced(kind="model", name=PIPELINE, file=PIPELINE, step=params.max_steps))
    say(ev.Finished(reason="trained", values={"steps": params.max_steps, "emoji": len(taught(emojis))}))


def scenes(emojis: list[Emoji], views: int, seed: int) -> list[captions.Scene]:
    """What is trained on: each as it is, and in `views` - 1 other ways, none of them held out."""
    dice = random.Random(seed)
    found = []
    for index in taught(emojis):
        found.append(captions.Scene(index, "", captions.PAPER))
        tinted = captions.tintable(emojis[index])
        found.extend(captions.scene(index, dice, tinted=tinted) for _ in range(views - 1))
    return found


class Stage:
    """One training: where it stands, its optimizer, its checkpoint, and what is told of it."""

    def __init__(self, params: Params, path: Path, net: Any, optimizer: Any, total: int) -> None:
        self.params, self.path, self.net, self.optimizer, self.total = params, path, net, optimizer, total
        self.slow: dict[str, torch.Tensor] = {}  # the weights' moving average
        self.done = 0
        self.stopped = False

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        import torch

        self.slow = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        if self.path.exists():
            held = torch.load(self.path, weights_only=True)
            self.net.load_state_dict(held["model"])
            self.optimizer.load_state_dict(held["optimizer"])
            for name, value in held["slow"].items():
                self.slow[name].copy_(value)
            self.done = held["step"]

    def save(self) -> None:
        """Whole or not at all."""
        import torch

        part = self.path.with_suffix(".part")
        state = {"model": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state | {"slow": self.slow, "step": self.done}, part)
        part.rename(self.path)

    def steps(self, rate: float, name: str) -> Iterator[list[float]]:
        """Once a step, with a list to put its loss into. What is random in a step depends on seed and step alone."""
        import torch

        began, before, losses = time.perf_counter(), self.done, []
        while self.done < self.total:
            torch.manual_seed(self.params.seed * 1_000_003 + self.done)
            now = rate * steady(self.done, self.total)
            for group in self.optimizer.param_groups:
                group["lr"] = now
            loss: list[float] = []
            yield loss
            losses += loss
            if not math.isfinite(losses[-1]):
                raise BadInput(
                    f"The loss of the {name} is {losses[-1]} after {self.done} steps: it diverged.",
                    f"learning_rate is {rate:g}; use a smaller one.",
                    "run.diverged",
                )
            self.done += 1
            if self.done % self.params.logging_steps == 0 or self.done == self.total:
                pace = (self.done - before) / (time.perf_counter() - began)
                speed = pace * self.params.per_device_train_batch_size
                values = {f"{name}_loss": sum(losses) / len(losses), "learning_rate": now, "samples_per_second": speed}
                say(ev.Measured(step=self.done, values=values))
                say(ev.Progressed(done=self.done, total=self.total, eta=round((self.total - self.done) / pace, 1)))
                losses = []
            if self.done % self.params.save_steps == 0 or self.done == self.total:
                self.save()
            if (self.path.parent / "stop").exists() and self.done < self.total:
                self.save()
                self.stopped = True
                say(ev.Paused(step=self.done, reason="stopped by its owner"))
                return

    def average(self) -> None:
        """Take this step's weights into the moving average."""
        import torch

        keep = min(0.997, (1 + self.done) / (10 + self.done))
        pairs = [(self.slow[name], value) for name, value in self.net.state_dict().items() if value.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([one for one, _ in pairs], [value for _, value in pairs], 1 - keep)


def steady(step: int, steps: int) -> float:
    """The share of the learning rate: warm-up, long the same, and down to nothing over the last fifth.

    So training can be made longer until that begins.
    """
    return min(1.0, (step + 1) / 200, max(0.02, (steps - step) / (0.2 * steps)))


def _autoencoder(params: Params, folder: Path, images: torch.Tensor, chosen: device.Device) -> Any:
    """Trained or found in `folder`; None when it was stopped. `images` are bytes [n, 3, 64, 64]."""
    import torch
    from diffusers import AutoencoderTiny
    from torch.nn import functional

    held = folder / "vae"
    if (held / "config.json").exists():
        return AutoencoderTiny.from_pretrained(held).to(chosen.device).eval().requires_grad_(False)
    torch.manual_seed(params.seed)
    net = networks.autoencoder().to(chosen.device)
    stage = Stage(
        params,
        folder / "vae.pt",
        net,
        torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4),
        params.autoencoder_steps,
    )
    stage.resume()
    for loss in stage.steps(2e-3, "autoencoder"):
        batch = images[torch.randint(len(images), (16,))].to(chosen.device).float() / 127.5 - 1
        latents = net.encode(batch).latents
        out = net.decode(latents + 0.05 * torch.randn_like(latents)).sample
        edges = functional.l1_loss(out.diff(dim=-1), batch.diff(dim=-1)) + functional.l1_loss(
            out.diff(dim=-2), batch.diff(dim=-2)
        )
        wrong = functional.l1_loss(out, batch) + functional.mse_loss(out, batch) + 0.5 * edges
        wrong = wrong + 1e-3 * latents.pow(2).mean()
        _learn(stage, wrong)
        loss.append(wrong.item())
    if stage.stopped:
        return None
    net.save_pretrained(held)
    return net.eval().requires_grad_(False)


def _latents(folder: Path, vae: Any, images: torch.Tensor, chosen: device.Device) -> torch.Tensor:
    """Of all scenes, [n, 8, 16, 16] in half precision; made once."""
    import torch

    held = folder / "latents.pt"
    if held.exists():
        kept: torch.Tensor = torch.load(held, weights_only=True)
        if len(kept) == len(images):
            return kept
    with torch.inference_mode():
        parts = [vae.encode(part.to(chosen.device).float() / 127.5 - 1).latents.cpu() for part in images.split(64)]
    made = torch.cat(parts).half()
    torch.save(made, held)
    return made


def _denoiser(
    params: Params, folder: Path, clean: torch.Tensor, said: list[list[str]], words: Any, chosen: device.Device
) -> Any:
    """Text encoder and denoiser, trained together; None when they were stopped.

    `clean` are scaled latents [n, 8, 16, 16], `said` the captions of each.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(params.seed)
    text = networks.text_encoder(len(words), words.eos_token_id)
    net = torch.nn.ModuleDict({"unet": networks.denoiser(), "text": text})
    net.to(chosen.device, memory_format=torch.channels_last)  # convolutions are quicker so, on a CPU too
    rate = params.learning_rate
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    stage = Stage(params, folder / "net.pt", net, optimizer, params.max_steps)
    stage.resume()
    ids = words(
        [text for some in said for text in some] + [""],
        padding="max_length",
        truncation=True,
        max_length=networks.WORDS,
        return_tensors="pt",
    ).input_ids
    size, alphas = params.per_device_train_batch_size, networks.scheduler().alphas_cumprod
    net.train()
    precision = torch.bfloat16 if chosen.precision == "bf16" else torch.float16
    for loss in stage.steps(rate, "denoiser"):
        which = torch.randint(len(clean), (size,))
        line = torch.where(torch.rand(size) < UNSAID, len(ids) - 1, which * SAYINGS + torch.randint(SAYINGS, (size,)))
        when = torch.randint(0, len(alphas), (size,))
        picture = clean[which].float()
        noise = torch.randn_like(picture)
        a = alphas[when].view(-1, 1, 1, 1)
        noisy, wanted = a.sqrt() * picture + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * picture
        noisy = noisy.to(chosen.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(chosen.device, precision, enabled=chosen.autocast):
            guess = net["unet"](noisy, when.to(chosen.device), net["text"](ids[line].to(chosen.device))[0]).sample
        wrong = functional.mse_loss(guess.float(), wanted.to(chosen.device))
        _learn(stage, wrong)
        stage.average()
        loss.append(wrong.item())
    if stage.stopped:
        return None
    net.load_state_dict(stage.slow)
    return net.eval()


def _learn(stage: Stage, loss: torch.Tensor) -> None:
    import torch

    stage.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(stage.net.parameters(), 1.0)
    stage.optimizer.step()


if __name__ == "__main__":
    sys.exit(process.main(Params, run))

"""A diffusers pipeline taken apart for teaching: pictures into latents, words into hints, noise out of both.

What the denoiser is asked for is what the pipeline's scheduler says: the noise, the velocity (v-prediction), the
picture, or, in flow matching, the way from picture to noise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput
from backend.recipes import device
from backend.recipes.loading import hub_errors
from backend.recipes.reading import short_name
from backend.starter import locate

if TYPE_CHECKING:
    from torch import Generator, Tensor

TAUGHT = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline")
SIDE = 512  # pixels, where a model does not tell its own
_AT_ONCE = 8  # pictures encoded together


@dataclass(frozen=True)
class Hint:
    """What a prompt becomes: [1, tokens, width], and for some models one vector more, [1, width]."""

    words: Tensor
    pooled: Tensor | None = None


def folder_of(name: str) -> Path | None:
    """Where a pipeline is on this disk; None for one on the Hub."""
    place = Path(locate(name)).expanduser()
    return place if place.is_dir() else None


def check(name: str) -> None:
    """What a pipeline's files tell without loading it. Raises BadInput."""
    if Path(name).is_file():
        raise BadInput(
            f"{short_name(name)!r} is a checkpoint in one file, which can be drawn with and not taught.",
            "Choose a folder saved with save_pretrained, or a Hub id.",
            "model.no_pipeline",
        )
    place = folder_of(name)
    if place is None:
        return
    try:
        kind = json.loads((place / "model_index.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError):
        raise BadInput(
            f"{short_name(name)!r} is no diffusers pipeline: it has no model_index.json.",
            "Choose a text-to-image model, such as the starter or stable-diffusion-v1-5/stable-diffusion-v1-5.",
            "model.no_pipeline",
        ) from None
    if kind not in TAUGHT:
        raise BadInput(
            f"{short_name(name)!r} is a {kind}, which can't be taught here; {', '.join(TAUGHT)} can.",
            "Choose a model of one of these kinds.",
            "model.pipeline",
        )
    if not list(place.rglob("*.safetensors")):
        raise BadInput(
            f"{short_name(name)!r} has no safetensors weights. Pickled ones can run any code, so they are not read.",
            "Choose a model with .safetensors files.",
            "model.pickle",
        )


def side_of(name: str) -> int:
    """The side in pixels of what the pipeline on this disk draws by itself; SIDE where that isn't told."""
    place = folder_of(name)
    for part in ("unet", "transformer"):
        if place and (place / part / "config.json").exists():
            size = json.loads((place / part / "config.json").read_text()).get("sample_size") or SIDE // 8
            size = min(size) if isinstance(size, list) else size
            vae = json.loads((place / "vae" / "config.json").read_text())
            blocks = vae.get("block_out_channels") or vae.get("encoder_block_out_channels") or [0] * 4
            return int(size) * int(2 ** (len(blocks) - 1))
    return SIDE


class Painter:
    """A loaded pipeline whose parts are frozen."""

    def __init__(self, pipeline: Any, chosen: device.Device) -> None:
        self.pipeline = pipeline
        self.device = chosen
        self.net = pipeline.unet if getattr(pipeline, "unet", None) is not None else pipeline.transformer
        self.scheduler = pipeline.scheduler
        self.flows = "FlowMatch" in type(pipeline.scheduler).__name__
        for part in self.parts:
            part.requires_grad_(False).eval()

    @classmethod
    def load(cls, name: str, chosen: device.Device) -> Painter:
        """Raises BadInput, NotFound, Gated, HubError."""
        import torch
        from diffusers import DiffusionPipeline

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[chosen.weights]
        try:
            with hub_errors(name):
                pipeline = DiffusionPipeline.from_pretrained(locate(name), dtype=dtype, use_safetensors=True)
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise BadInput(
                f"diffusers can't load {short_name(name)!r}: {first}", "Choose a text-to-image pipeline."
            ) from error
        if type(pipeline).__name__ not in TAUGHT:
            raise BadInput(
                f"{short_name(name)!r} is a {type(pipeline).__name__}, which can't be taught here; "
                f"{', '.join(TAUGHT)} can.",
                "Choose a model of one of these kinds.",
                "model.pipeline",
            )
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(chosen.device)
        return cls(pipeline, chosen)

    @property
    def parts(self) -> list[Any]:
        """Its networks."""
        names = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
        return [part for name in names if (part := getattr(self.pipeline, name, None)) is not None]

    @property
    def encoders(self) -> dict[str, Any]:
        """Its CLIP text encoders by name, which LoRA can train too."""
        names = ("text_encoder", "text_encoder_2")
        return {name: part for name in names if (part := getattr(self.pipeline, name, None)) is not None}

    # -- in -----------------------------------------------------------------------------------------------------

    def latents(self, pictures: Sequence[Any]) -> Tensor:
        """Square pictures in RGB, all of one size, as latents [n, channels, height, width] in fp32."""
        import numpy
        import torch

        vae = self.pipeline.vae
        given = vae.dtype
        vae.to(torch.float32)  # half precision overflows in some
        made = []
        for start in range(0, len(pictures), _AT_ONCE):
            some = numpy.stack([numpy.asarray(one) for one in pictures[start : start + _AT_ONCE]])
            pixels = torch.from_numpy(some).permute(0, 3, 1, 2).float().to(vae.device) / 127.5 - 1
            with torch.no_grad():
                out = vae.encode(pixels)
            made.append(out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latents)
        vae.to(given)
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        return (torch.cat(made) - shift) * vae.config.scaling_factor

    def hint(self, prompt: str) -> Hint:
        """What the denoiser reads of a prompt. With gradients, where the encoders have any."""
        pipeline = self.pipeline
        more = {"prompt_2": None} if "XL" in type(pipeline).__name__ else {}
        if "Diffusion3" in type(pipeline).__name__:
            more = {"prompt_2": None, "prompt_3": None}
        made = pipeline.encode_prompt(
            prompt=prompt, device=self.net.device, num_images_per_prompt=1, do_classifier_free_guidance=False, **more
        )
        return Hint(made[0], made[2] if more else None)

    def read(self, prompt: str) -> tuple[int, int]:
        """How many tokens a prompt has, and how many the model reads."""
        tokenizer = self.pipeline.tokenizer
        return len(tokenizer(prompt, verbose=False)["input_ids"]), int(tokenizer.model_max_length)

    # -- a guess ------------------------------------------------------------------------------------------------

    def noised(self, latents: Tensor, noise: Tensor, dice: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(latents with noise at times drawn from `dice`, these times, what a perfect denoiser would say)."""
        import torch

        many = len(latents)
        if self.flows:
            where = torch.sigmoid(torch.randn(many, generator=dice))  # arXiv 2403.03206
            steps, levels = self.scheduler.timesteps, self.scheduler.sigmas
            picked = (where * len(steps)).long().clamp(max=len(steps) - 1)
            level = levels[picked].to(latents).view(-1, 1, 1, 1)
            return (1 - level) * latents + level * noise, steps[picked].to(latents.device), noise - latents
        kept = self.scheduler.alphas_cumprod
        times = torch.randint(0, len(kept), (many,), generator=dice)
        signal = kept[times].to(latents).view(-1, 1, 1, 1)
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        match self.scheduler.config.get("prediction_type", "epsilon"):
            case "epsilon":
                wanted = noise
            case "v_prediction":  # arXiv 2202.00512
                wanted = signal.sqrt() * noise - (1 - signal).sqrt() * latents
            case "sample":
                wanted = latents
            case other:
                raise BadInput(
                    f"The model's scheduler predicts {other!r}, which can't be taught here.", "Take another."
                )
        return noisy, times.to(latents.device), wanted

    def guess(self, noisy: Tensor, times: Tensor, hints: Sequence[Hint]) -> Tensor:
        """What the denoiser says of them, in fp32."""
        import torch

        kind = self.net.dtype
        words = torch.cat([one.words for one in hints]).to(kind)
        pooled = [one.pooled for one in hints if one.pooled is not None]
        if not pooled:
            return self.net(noisy.to(kind), times, encoder_hidden_states=words).sample.float()
        more = torch.cat(pooled).to(kind)
        if hasattr(self.pipeline, "transformer"):
            out = self.net(
                hidden_states=noisy.to(kind), timestep=times, encoder_hidden_states=words, pooled_projections=more
            )
            return out.sample.float()
        side = [noisy.shape[-2] * self.pipeline.vae_scale_factor, noisy.shape[-1] * self.pipeline.vae_scale_factor]
        ids = torch.tensor([[*side, 0, 0, *side]], device=noisy.device, dtype=kind).expand(len(noisy), -1)
        added = {"text_embeds": more, "time_ids": ids}
        return self.net(noisy.to(kind), times, encoder_hidden_states=words, added_cond_kwargs=added).sample.float()

    # -- out ----------------------------------------------------------------------------------------------------

    def draw(self, prompt: str, seed: int, steps: int, guidance: float, side: int) -> Any:
        """One picture; the random state of training stays as it is, and so does the scheduler."""
        import torch

        before, modes = self.pipeline.scheduler, [(part, part.training) for part in self.parts]
        self.pipeline.scheduler = type(before).from_config(before.config)
        for part, _ in modes:
            part.eval()
        try:
            with torch.random.fork_rng(), torch.no_grad():
                made = self.pipeline(
                    prompt, num_inference_steps=steps, guidance_scale=guidance, height=side, width=side,
                    generator=torch.Generator("cpu").manual_seed(seed),
                )  # fmt: skip
        finally:
            self.pipeline.scheduler = before
            for part, was in modes:
                part.train(was)
        return made.images[0]

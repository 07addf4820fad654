"""A picture of which a part is drawn anew: what its mask leaves out stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kept:
    """A picture and the mask outside of which it stays, both PIL's and of one size.

    `blends`: whether the pipeline knows nothing of masks, so that each of its steps is to be told of the picture.
    """

    picture: Any
    mask: Any
    blends: bool

    def pasted(self, image: Any) -> Any:
        """What was drawn where the mask is white, the picture elsewhere."""
        from PIL import Image  # noqa: PLC0415

        return Image.composite(image, self.picture, self.mask)


class Blending:
    """After each step, latents outside of the mask become the picture's own, with the noise that is left by then.

    So what is drawn inside sees what it will be pasted into. As in "Blended Latent Diffusion" (Avrahami et al., 2023)
    and in diffusers' pipelines for masks.
    """

    def __init__(self, kept: Kept, seed: int) -> None:
        self._kept = kept
        self._seed = seed
        self._picture: Any = None  # [1, channels, height, width], as the three below
        self._noise: Any = None
        self._inside: Any = None  # 1 where the mask has any white

    def __call__(self, pipeline: Any, done: int, total: int, latents: Any) -> Any:
        """The latents to go on with, when `done` of `total` steps are."""
        if self._picture is None:
            self._begin(pipeline, latents)
        outside = self._picture
        if done < total:
            next_one = pipeline.scheduler.timesteps[-total:][done : done + 1]
            outside = pipeline.scheduler.add_noise(self._picture, self._noise, next_one).to(latents.dtype)
        return latents * self._inside + outside * (1 - self._inside)

    def _begin(self, pipeline: Any, latents: Any) -> None:
        import numpy as np  # noqa: PLC0415
        import torch

        vae = pipeline.vae
        pixels = pipeline.image_processor.preprocess(self._kept.picture).to(latents.device, vae.dtype)
        encoded = vae.encode(pixels)
        found = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        self._picture = (found * vae.config.scaling_factor).to(latents.dtype)
        noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(self._seed))
        self._noise = noise.to(latents.device, latents.dtype)
        white = torch.from_numpy(np.asarray(self._kept.mask, dtype=np.float32) > 127)
        cells = torch.nn.functional.adaptive_max_pool2d(white.float()[None, None], latents.shape[-2:])
        self._inside = cells.to(latents.device, latents.dtype)

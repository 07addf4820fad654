"""Unfinished latents as a small picture, quickly: by a tiny decoder, or by the colours that their channels stand for.

The colours are learned from the model itself: a linear map from a latent's channels to the mean colour of the pixels
that it becomes, first of one smooth random picture, then of each that was finished.
"""

from __future__ import annotations

import base64
import io
import time
from typing import Any

SHARE = 0.04  # of the time of drawing that all previews may take
_SIDE = 256  # pixels of a preview, at most
_COARSE = 32  # where a safety checker looks at the finished picture, which must not be seen before


class LatentView:
    """What is seen of a pipeline's latents. Used by one thread at a time."""

    def __init__(self, pipeline: Any) -> None:
        self._vae: Any = getattr(pipeline, "vae", None)
        self._quick = type(self._vae).__name__ == "AutoencoderTiny"
        self._side = _SIDE if getattr(pipeline, "safety_checker", None) is None else _COARSE
        self._map: Any = None  # [channels + 1, 3]
        self._cost = 0.0  # seconds of the last one

    def allowed(self, spent: float, elapsed: float) -> bool:
        """Whether one more preview keeps all of them within their share, after `spent` seconds on earlier ones."""
        return spent + self._cost <= SHARE * elapsed

    def png(self, latents: Any, width: int, height: int) -> str:
        """Base64 of a PNG of latents on their way to `width` × `height` pixels; '' where nothing is known of them."""
        began = time.perf_counter()
        image = self._image(latents, width, height)
        if image is None:
            return ""
        image.thumbnail((self._side, self._side))
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1)
        self._cost = time.perf_counter() - began
        return base64.b64encode(out.getvalue()).decode()

    def learn(self, latents: Any, image: Any) -> None:
        """Take the colours of a finished picture in: its last latents, and what became of them."""
        import numpy as np  # noqa: PLC0415
        import torch

        grid = _grid(latents, image.width, image.height)
        if self._quick or grid is None:
            return
        channels, height, width = grid.shape
        small = image.convert("RGB").resize((width, height), 4)  # 4: the mean of a box
        means = torch.from_numpy(np.array(small, dtype=np.float32)).reshape(-1, 3) / 255
        known = torch.cat([grid.reshape(channels, -1).T, torch.ones(height * width, 1)], 1)
        if height * width > 2 * channels:
            ridge = 1e-3 * height * width * torch.eye(channels + 1)
            self._map = torch.linalg.solve(known.T @ known + ridge, known.T @ means)

    def _image(self, latents: Any, width: int, height: int) -> Any:
        import torch
        from PIL import Image  # noqa: PLC0415

        if self._quick and getattr(latents, "ndim", 0) == 4:
            scaled = latents[:1] / getattr(self._vae.config, "scaling_factor", 1.0)
            pixels = self._vae.decode(scaled.to(self._vae.dtype)).sample[0].float() / 2 + 0.5
        else:
            grid = _grid(latents, width, height)
            if grid is None or (self._map is None and not self._first(latents)):
                return None
            if self._map.shape[0] != grid.shape[0] + 1:
                return None
            pixels = torch.einsum("chw,cr->rhw", grid, self._map[:-1]) + self._map[-1][:, None, None]
        values = (pixels.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(values)

    def _first(self, latents: Any) -> bool:
        """Learn from a smooth random picture, where the latents are what the autoencoder takes."""
        import torch
        from PIL import Image  # noqa: PLC0415

        if self._vae is None or latents.ndim != 4 or not hasattr(self._vae, "decode"):
            return False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            small = torch.randn(1, latents.shape[1], 4, 4)
        smooth = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
        config = self._vae.config
        given = smooth / (getattr(config, "scaling_factor", None) or 1.0) + (getattr(config, "shift_factor", None) or 0)
        try:
            decoded = self._vae.decode(given.to(latents.device, self._vae.dtype)).sample[0].float().cpu()
        except (RuntimeError, TypeError, ValueError):  # an autoencoder of another kind
            return False
        values = ((decoded / 2 + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        self.learn(smooth, Image.fromarray(values))
        return self._map is not None


def _grid(latents: Any, width: int, height: int) -> Any:
    """Latents as [channels, height, width] in fp32 on the CPU: [1, c, h, w], or [1, h × w, c] as Flux packs them."""
    if getattr(latents, "ndim", 0) == 4:
        return latents[0].float().cpu()
    if getattr(latents, "ndim", 0) != 3:
        return None
    count = latents.shape[1]
    rows = round((count * height / width) ** 0.5)
    if rows == 0 or count % rows:
        return None
    return latents[0].float().cpu().reshape(rows, count // rows, -1).permute(2, 0, 1)

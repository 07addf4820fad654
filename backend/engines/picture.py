"""Picture files: opened with care, and written with the settings that made them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.errors import BadInput, NotFound

_MOST_PIXELS = 50_000_000
_OURS = "atelier"  # the PNG text chunk with our settings as JSON
_THEIRS = "parameters"  # the one that AUTOMATIC1111's web UI and others read and write, as lines of text
_INVOKE = "invokeai_metadata"
_SAMPLERS = {  # as other programs call what SCHEDULERS has
    "ddim": "DDIM",
    "euler": "Euler",
    "euler-a": "Euler a",
    "dpm++": "DPM++ 2M",
    "unipc": "UniPC",
    "lcm": "LCM",
    "heun": "Heun",
    "pndm": "PLMS",
}
_SPELT = {"k_euler": "euler", "k_euler_a": "euler-a", "euler_a": "euler-a", "dpmpp_2m": "dpm++", "k_heun": "heun"}


def opened(path: str, channels: str = "RGB") -> Any:
    """The picture as PIL's 8-bit RGB or L, upright, the first frame of an animated one, on white where transparent.

    Raises NotFound, BadInput.
    """
    import numpy as np  # noqa: PLC0415
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    name = Path(path).name
    if not Path(path).is_file():
        raise NotFound(f"There is no file {name!r}.", "Upload it again.", "file.unknown")
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise BadInput(
                    f"{name} is {image.width} × {image.height}; at most {_MOST_PIXELS / 1e6:.0f} million pixels are "
                    "taken.",
                    "Make it smaller first.",
                    "image.size",
                )
            image.load()
            upright = ImageOps.exif_transpose(image) or image
            if upright.mode.startswith(("I", "F")):  # 16 bits a channel or more: Pillow's own way would clip
                deep = np.asarray(upright, dtype=np.float32)
                scale = 1.0 if deep.max() <= 1 else 65535.0 if deep.max() > 255 else 255.0
                upright = Image.fromarray((deep.clip(0, scale) * (255 / scale)).round().astype(np.uint8))
            if upright.has_transparency_data:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            return upright.convert(channels)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        said = str(error).split(" <")[0].split(" '/")[0].rstrip(".")[:120]
        raise BadInput(
            f"{name} is not a picture that can be read: {said}.", "Use a PNG, JPEG, WebP or GIF.", "image.invalid"
        ) from error


def metadata(settings: Mapping[str, Any]) -> dict[str, str]:
    """PNG text chunks: ours, and the lines that other programs read."""
    short = {"Steps": settings["steps"]}
    if sampler := _SAMPLERS.get(settings.get("scheduler") or ""):
        short["Sampler"] = sampler
    short |= {"CFG scale": settings["guidance"], "Seed": settings["seed"]}
    short |= {"Size": f"{settings['width']}x{settings['height']}", "Model": settings["model"]}
    lines = [settings["prompt"]]
    if settings.get("negative_prompt"):
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    lines.append(", ".join(f"{name}: {_quoted(str(value))}" for name, value in short.items()))
    return {_OURS: json.dumps(settings), _THEIRS: "\n".join(lines)}


def write(image: Any, path: Path, texts: Mapping[str, str]) -> Path:
    """Save as PNG, whole or not at all."""
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415

    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    part = path.with_suffix(".part")
    image.save(part, "PNG", pnginfo=info)
    part.replace(path)
    return path


def settings_of(path: str) -> dict[str, Any]:
    """The settings that a picture carries: ours, or those that AUTOMATIC1111's web UI, InvokeAI and others write.

    Fields of ImageParams, as far as they are told. Raises BadInput when it carries none, NotFound.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    name = Path(path).name
    if not Path(path).is_file():
        raise NotFound(f"There is no file {name!r}.", "Upload it again.", "file.unknown")
    try:
        with Image.open(path) as image:
            texts = {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}
            if not texts.keys() & {_OURS, _THEIRS, _INVOKE}:
                texts[_THEIRS] = _comment(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"{name} is not a picture that can be read.", "Use a PNG as an image program saved it.", "image.invalid"
        ) from error
    try:
        if _OURS in texts:
            return dict(json.loads(texts[_OURS]))
        if _INVOKE in texts:
            return _from_invoke(json.loads(texts[_INVOKE]))
        if texts.get(_THEIRS, "").strip():
            return _from_lines(texts[_THEIRS])
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # damaged: told as none
    raise BadInput(
        f"{name} carries no settings.", "Use a PNG as an image program saved it, not a screenshot.", "image.no_settings"
    )


def _comment(image: Any) -> str:
    """A JPEG's or WebP's user comment, where other programs put the lines; only if it looks like theirs."""
    held = image.getexif().get_ifd(0x8769).get(0x9286, b"")
    raw = held if isinstance(held, bytes) else str(held).encode()
    body = raw[8:]
    text = body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le") if raw[:7] == b"UNICODE" else ""
    text = text or raw.removeprefix(b"ASCII\0\0\0").decode("utf-8", "ignore")
    return text if "Steps: " in text else ""


def _from_invoke(values: Mapping[str, Any]) -> dict[str, Any]:
    """InvokeAI's JSON: of version 3 and later flat, before it below `image`."""
    values = values.get("image", values)
    names = {"positive_prompt": "prompt", "prompt": "prompt", "negative_prompt": "negative_prompt"}
    names |= {"cfg_scale": "guidance", "steps": "steps", "seed": "seed", "width": "width", "height": "height"}
    found = {ours: values[theirs] for theirs, ours in names.items() if values.get(theirs) not in (None, "")}
    if isinstance(found.get("prompt"), list):
        found["prompt"] = ", ".join(str(one["prompt"]) for one in found["prompt"])
    return found | _scheduler(str(values.get("scheduler") or values.get("sampler") or ""))


def _from_lines(text: str) -> dict[str, Any]:
    """`prompt`, perhaps `Negative prompt: …`, then `Steps: 20, Sampler: …, CFG scale: 7, Seed: 1, Size: 512x512`."""
    cut = re.search(r"(?:^|\n)(Steps: \d.*)$", text, re.DOTALL)
    head, tail = (text[: cut.start()], cut[1]) if cut else (text, "")
    prompt, _, negative = f"\n{head}".partition("\nNegative prompt:")
    found: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    values = dict(re.findall(r'([A-Z][A-Za-z ]*): ("(?:[^"\\]|\\.)*"|[^,\n]*)', tail))
    for theirs, ours in {"Steps": "steps", "Seed": "seed"}.items():
        if theirs in values:
            found[ours] = int(float(values[theirs]))
    if "CFG scale" in values:
        found["guidance"] = float(values["CFG scale"])
    if size := re.fullmatch(r"(\d+)x(\d+)", values.get("Size", "")):
        found |= {"width": int(size[1]), "height": int(size[2])}
    if "Denoising strength" in values:
        found["strength"] = float(values["Denoising strength"])
    return found | _scheduler(values.get("Sampler", ""))


def _scheduler(theirs: str) -> dict[str, str]:
    """Ours for a sampler of another program, if we have it; what follows its name, as in `DPM++ 2M Karras`, is lost."""
    ours = {name.lower(): key for key, name in _SAMPLERS.items()} | _SPELT | {key: key for key in _SAMPLERS}
    known = sorted((name for name in ours if theirs.lower().startswith(name)), key=len)
    return {"scheduler": ours[known[-1]]} if known else {}


def _quoted(value: str) -> str:
    return json.dumps(value) if any(mark in value for mark in ',:\n"') else value

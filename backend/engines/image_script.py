"""The plain diffusers script that draws what a request asks for."""

from __future__ import annotations

from collections.abc import Mapping

from backend.engines.image import SCHEDULERS, ImageParams
from backend.starter import IMAGE_ID

_STARTER = {"steps": 8, "guidance": 4.0}
_BLEND = """
vae = pipeline.vae
pixels = pipeline.image_processor.preprocess(image).to(pipeline.device, vae.dtype)
with torch.no_grad():
    clean = vae.encode(pixels).latents * vae.config.scaling_factor
white = torch.tensor(list(mask.tobytes()), dtype=clean.dtype).reshape(1, 1, mask.height, mask.width) > 127
inside = torch.nn.functional.adaptive_max_pool2d(white.to(clean), clean.shape[-2:])


def blend(pipeline, step, when, given):
    \"\"\"Outside of the mask, the picture with the noise that is left.\"\"\"
    timesteps = pipeline.scheduler.timesteps[-pipeline.num_timesteps :]
    outside = clean
    if step + 1 < len(timesteps):
        outside = pipeline.scheduler.add_noise(clean, noise, timesteps[step + 1 : step + 2])
    given["latents"] = given["latents"] * inside + outside * (1 - inside)
    return given

"""


def code(request: ImageParams, places: Mapping[str, str], words: Mapping[str, str]) -> str:
    """`places` tells where each name of a model or adapter is, `words` what those teach that are textual inversions.

    The script writes picture-1.png and so on.
    """
    blends = bool(request.mask) and request.model == IMAGE_ID
    auto = "Inpainting" if request.mask and not blends else "Image2Image" if request.image else "Text2Image"
    steps = request.steps or (_STARTER["steps"] if request.model == IMAGE_ID else 0)
    guidance = request.guidance
    if guidance is None and request.model == IMAGE_ID:
        guidance = _STARTER["guidance"]
    given = [f"prompt={request.prompt!r}"]
    if request.negative_prompt:
        given.append(f"negative_prompt={request.negative_prompt!r}")
    if steps:
        given.append(f"num_inference_steps={steps}")
    if guidance is not None:
        given.append(f"guidance_scale={guidance:g}")
    if request.width and not request.image:
        given.append(f"width={request.width}")
    if request.height and not request.image:
        given.append(f"height={request.height}")
    top = ["import torch", f"from diffusers import AutoPipelineFor{auto}"]
    pictures: list[str] = []
    if request.image:
        top.append("from PIL import Image")
        size = f".resize(({request.width}, {request.height}), 1)" if request.width and request.height else ""
        pictures.append(f'image = Image.open({request.image!r}).convert("RGB"){size}')
        given += ["image=image", f"strength={request.strength:g}"]
    if request.enlarge > 1:
        pictures.append(f"image = image.resize((image.width * {request.enlarge}, image.height * {request.enlarge}), 1)")
    if request.mask:
        pictures.append(f'mask = Image.open({request.mask!r}).convert("L").resize(image.size, 0)')
        given.append("callback_on_step_end=blend" if blends else "mask_image=mask")
    load = [repr(places.get(request.model, request.model)), "dtype=torch.float16 if gpu else torch.float32"]
    if request.control_model:
        top[1] += ", ControlNetModel"
        top += [] if request.image else ["from PIL import Image"]
        pictures.append(f'control = Image.open({request.control_image!r}).convert("RGB")')
        pictures.append(f"controlnet = ControlNetModel.from_pretrained({request.control_model!r})")
        load.append("controlnet=controlnet")
        given.append(f"{'control_image' if request.image else 'image'}=control")
        given.append(f"controlnet_conditioning_scale={request.control_scale:g}")
    lines = [*top, "", "gpu = torch.cuda.is_available()", *pictures]
    lines.append(f"pipeline = AutoPipelineFor{auto}.from_pretrained({', '.join(load)})")
    lines.append('pipeline = pipeline.to("cuda" if gpu else "cpu")')
    lines += _adapters(request, places, words) + _scheduler(request)
    lines += [*_BLEND.splitlines()] if blends else []
    lines += ["", f"for number in range({request.count}):"]
    if blends:
        lines.append(f"    generator = torch.Generator().manual_seed({request.seed} + number)")
        lines.append("    noise = torch.randn(clean.shape, generator=generator).to(clean)")
    lines.append(f"    generator = torch.Generator().manual_seed({request.seed} + number)")
    lines.append("    result = pipeline(")
    lines += [f"        {one}," for one in [*given, "generator=generator"]]
    drawn = "Image.composite(result.images[0], image, mask)" if request.mask else "result.images[0]"
    lines += ["    )", f'    {drawn}.save(f"picture-{{number + 1}}.png")', ""]
    return "\n".join(lines)


def _adapters(request: ImageParams, places: Mapping[str, str], words: Mapping[str, str]) -> list[str]:
    lines, weights = [], {}
    for number, one in enumerate(request.adapters):
        place = places.get(one.name, one.name)
        if one.name in words:
            lines.append(f"pipeline.load_textual_inversion({place!r}, token={words[one.name]!r})")
        else:
            lines.append(f"pipeline.load_lora_weights({place!r}, adapter_name='a{number}')")
            weights[f"a{number}"] = one.weight
    if weights:
        lines.append(f"pipeline.set_adapters({list(weights)!r}, {list(weights.values())!r})")
    return lines


def _scheduler(request: ImageParams) -> list[str]:
    if not request.scheduler:
        return []
    name, _ = SCHEDULERS[request.scheduler]
    return [
        f"from diffusers import {name}",
        "",
        f"pipeline.scheduler = {name}.from_config(pipeline.scheduler.config)",
    ]

"""The plain Python that teaches an image model the same, with Hugging Face libraries alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.errors import NotFound
from backend.recipes import image_model
from backend.recipes.image_params import ImageTrainParams

IMAGES = "imagefolder"  # how `datasets` calls a zip or folder of pictures


def code(recipe: str, params: Any, places: Mapping[str, str]) -> str:
    """The script for a run of `recipe` with `params`; executing it saves what is learned to the folder `adapter`.

    `places` are where `model`, `dataset` and `start_from` are, where that differs from the names in `params`.
    Raises NotFound for a family that has no script.
    """
    place = image_model.folder_of(places.get("model", params.model))
    if "stable-diffusion-3" in params.model or (place and (place / "transformer").is_dir()):
        raise NotFound(
            "There is no plain script for models whose denoiser is a transformer.", "Run it here.", "code.unknown"
        )
    lora = recipe == "image_lora"
    settings = {
        "MODEL": places.get("model", params.model),
        "PROMPT": params.instance_prompt,
        "BATCH": params.rows,
        "STEPS": params.max_steps,
        "RATE": params.learning_rate,
    }
    if not lora:
        settings |= {"WORD": params.placeholder_token, "NEAR": params.initializer_token}
    head = _LORA_IMPORTS if lora else _WORD_IMPORTS
    told = "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items())
    teach = _lora(params, places) if lora else _WORD
    parts = [
        head, told, _load(params), _data(params, places.get("dataset", params.dataset)), teach,
        _hints(params, not lora or params.train_text_encoder), _loop(params), _LORA_SAVE if lora else _WORD_SAVE,
        _draw(params),
    ]  # fmt: skip
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def use(recipe: str, base: str, prompt: str, place: str = "THIS_REPOSITORY") -> str:
    """How what was learned is used."""
    load = "load_lora_weights" if recipe == "image_lora" else "load_textual_inversion"
    return (
        "import torch\nfrom diffusers import DiffusionPipeline\n\n"
        f"pipeline = DiffusionPipeline.from_pretrained({json.dumps(base, ensure_ascii=False)}, dtype=torch.float32)\n"
        f"pipeline.{load}({json.dumps(place)})\n"
        f"pipeline({json.dumps(prompt, ensure_ascii=False)}).images[0].save('picture.png')\n"
    )


def _load(params: ImageTrainParams) -> str:
    half = "torch.float16" if params.precision in ("auto", "fp16") else "torch.bfloat16"
    fast = "torch.float32" if params.precision == "fp32" else f'{half} if device == "cuda" else torch.float32'
    side = params.resolution or "pipeline.vae_scale_factor * net.config.sample_size"
    return f"""
torch.manual_seed({params.seed})
device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = {fast}
pipeline = DiffusionPipeline.from_pretrained(MODEL, dtype=dtype, use_safetensors=True).to(device)
net = pipeline.unet
for part in pipeline.components.values():
    if isinstance(part, torch.nn.Module):
        part.requires_grad_(False).eval()
side = {side}"""


def _data(params: ImageTrainParams, place: str) -> str:
    if Path(place).is_absolute() and not place.endswith(".parquet"):
        kind = "data_dir" if Path(place).is_dir() else "data_files"
        load = f'load_dataset("{IMAGES}", {kind}={json.dumps(place, ensure_ascii=False)}, split="train")'
    elif Path(place).is_absolute():
        load = f'load_dataset("parquet", data_files={json.dumps(place, ensure_ascii=False)}, split="train")'
    else:
        load = f'load_dataset({json.dumps(place, ensure_ascii=False)}, split="train")'
    most = f".select(range({params.max_rows}))" if params.max_rows else ""
    words = f"[row[{json.dumps(params.caption_column)}] or PROMPT for row in rows]" if params.caption_column else ""
    return f"""
rows = {load}{most}
captions = {words or "[PROMPT] * len(rows)"}
images = [ImageOps.fit(row["image"].convert("RGB"), (side, side), Image.LANCZOS) for row in rows]
pixels = torch.from_numpy(numpy.stack([numpy.asarray(one) for one in images])).permute(0, 3, 1, 2) / 127.5 - 1
with torch.no_grad():  # each picture is encoded once
    encoded = pipeline.vae.encode(pixels.to(device, dtype))
latents = (encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents).float()
latents = latents * pipeline.vae.config.scaling_factor"""


def _lora(params: Any, places: Mapping[str, str]) -> str:
    names = json.dumps([name.strip() for name in params.target_modules.split(",") if name.strip()])
    more = f", lora_dropout={params.lora_dropout}" if params.lora_dropout else ""
    lines = [
        f"config = LoraConfig(r={params.lora_r}, lora_alpha={params.lora_alpha}{more}, "
        f'init_lora_weights="gaussian", target_modules={names})',
        "net.add_adapter(config)",
        "taught, encoders = [net], {}",
    ]
    if params.train_text_encoder:
        lines += [
            f"words = LoraConfig(r={params.lora_r}, lora_alpha={params.lora_alpha}, "
            'init_lora_weights="gaussian", target_modules=["q_proj", "k_proj", "v_proj", "out_proj"])',
            'encoders = {name: getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2")}',
            "encoders = {name: part for name, part in encoders.items() if part is not None}",
            "for part in encoders.values():",
            "    part.add_adapter(words)",
            "    taught.append(part)",
        ]
    if params.start_from:
        place = places.get("start_from", params.start_from)
        file = f"{place}/pytorch_lora_weights.safetensors"
        lines += [
            f"held = load_file({json.dumps(file, ensure_ascii=False)})",
            'held = {name.removeprefix("unet."): one for name, one in held.items() if name.startswith("unet.")}',
            "set_peft_model_state_dict(net, convert_unet_state_dict_to_peft(held))",
        ]
    lines += [
        "weights = [weight for part in taught for weight in part.parameters() if weight.requires_grad]",
        "for weight in weights:",
        "    weight.data = weight.data.float()",
    ]
    if params.keeps:
        steps, guidance = params.drawing()
        lines += [
            "",
            "# Pictures as they were drawn before: as many of these in each step, so that less is forgotten.",
            f"known = {json.dumps(params.kept, ensure_ascii=False)}",
            f"known = [known[number % len(known)] for number in range({params.num_class_images})]",
            "net.disable_adapters()",
            f'how = {{"num_inference_steps": {steps}, "guidance_scale": {guidance}, "height": side, "width": side}}',
            "drawn = [pipeline(prompt, **how).images[0] for prompt in known]",
            "net.enable_adapters()",
            "pixels = torch.from_numpy(numpy.stack([numpy.asarray(one) for one in drawn]))",
            "with torch.no_grad():",
            "    encoded = pipeline.vae.encode((pixels.permute(0, 3, 1, 2) / 127.5 - 1).to(device, dtype))",
            'more = (encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents).float()',
            "new = len(latents)",
            "latents = torch.cat([latents, more * pipeline.vae.config.scaling_factor])",
            "captions += known",
        ]
    return "\n".join(lines)


def _hints(params: ImageTrainParams, anew: bool) -> str:
    """How the prompts of a step become what the denoiser reads."""
    body = """
def hints(prompts):
    found = pipeline.encode_prompt(
        prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if len(found) == 2:
        return {"encoder_hidden_states": found[0]}
    sizes = torch.tensor([[side, side, 0, 0, side, side]] * len(prompts), device=device, dtype=dtype)  # SDXL
    return {
        "encoder_hidden_states": found[0],
        "added_cond_kwargs": {"text_embeds": found[2], "time_ids": sizes},
    }"""
    if anew:
        return body
    return f"""
@torch.no_grad(){body}"""


def _loop(params: ImageTrainParams) -> str:
    warm = params.warmup_steps if params.warmup_steps >= 1 else round(params.warmup_steps * params.max_steps)
    keeps = getattr(params, "keeps", False)
    chosen = "    chosen = torch.randint(0, len(latents), (BATCH,))"
    loss = "    loss = (guess.float() - wanted).pow(2).mean()"
    if keeps:
        chosen = "    chosen = torch.cat([torch.randint(0, new, (BATCH,)), torch.randint(new, len(latents), (BATCH,))])"
    if keeps and (weight := getattr(params, "prior_loss_weight", 1.0)) != 1:
        counts = f"torch.where(chosen < new, 1.0, {weight}).to(device)"
        loss = f"    loss = ((guess.float() - wanted).pow(2).mean((1, 2, 3)) * {counts}).mean()"
    clip = f"    torch.nn.utils.clip_grad_norm_(weights, {params.max_grad_norm})\n" if params.max_grad_norm else ""
    return f"""
optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay={params.weight_decay})
schedule = get_scheduler("{params.lr_scheduler_type}", optimizer, {warm:.0f}, STEPS)
kept = pipeline.scheduler.alphas_cumprod.to(device)
for step in range(STEPS):
{chosen}
    clean = latents[chosen.to(device)]
    noise = torch.randn_like(clean)
    times = torch.randint(0, len(kept), (len(clean),), device=device)
    signal = kept[times].float().view(-1, 1, 1, 1)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    wanted = noise
    if pipeline.scheduler.config.prediction_type == "v_prediction":
        wanted = signal.sqrt() * noise - (1 - signal).sqrt() * clean
    with torch.autocast(device, dtype, enabled=device == "cuda"):
        guess = net(noisy.to(dtype), times, **hints([captions[i] for i in chosen])).sample
{loss}
    loss.backward()
{clip}    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    if step % 20 == 19:
        print(f"step {{step + 1}}: loss {{loss.item():.4f}}")"""


def _draw(params: ImageTrainParams) -> str:
    steps, guidance = params.drawing()
    return f"""
net.eval()
dice = torch.Generator().manual_seed({params.seed})
picture = pipeline(PROMPT, num_inference_steps={steps}, guidance_scale={guidance}, generator=dice).images[0]
picture.save("picture.png")"""


_LORA_IMPORTS = """
import numpy
import torch
from datasets import load_dataset
from diffusers import DiffusionPipeline
from diffusers.optimization import get_scheduler
from diffusers.utils import convert_state_dict_to_diffusers, convert_unet_state_dict_to_peft
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from PIL import Image, ImageOps
from safetensors.torch import load_file"""
_WORD_IMPORTS = """
import numpy
import torch
from datasets import load_dataset
from diffusers import DiffusionPipeline
from diffusers.optimization import get_scheduler
from PIL import Image, ImageOps
from safetensors.torch import save_file"""
_WORD = """
tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
near = tokenizer.encode(NEAR, add_special_tokens=False)
tokenizer.add_tokens(WORD)
new = tokenizer.convert_tokens_to_ids(WORD)
encoder.resize_token_embeddings(len(tokenizer))
encoder.requires_grad_(False)
table = encoder.get_input_embeddings()
vector = torch.nn.Parameter(table.weight.data[near].float().mean(0))
weights = [vector]


def in_place(layer, given, out):
    \"\"\"The new word's embedding is the one that learns.\"\"\"
    return torch.where((given[0] == new)[..., None], vector.to(out.dtype), out)


table.register_forward_hook(in_place)"""
_LORA_SAVE = """
layers = {"unet_lora_layers": convert_state_dict_to_diffusers(get_peft_model_state_dict(net))}
layers["unet_lora_adapter_metadata"] = config.to_dict() | {"target_modules": sorted(config.target_modules)}
for name, part in encoders.items():
    layers[f"{name}_lora_layers"] = convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
    layers[f"{name}_lora_adapter_metadata"] = words.to_dict() | {"target_modules": sorted(words.target_modules)}
type(pipeline).save_lora_weights("adapter", **layers)"""
_WORD_SAVE = """
Path("adapter").mkdir(exist_ok=True)
save_file({WORD: vector.detach().float().cpu()[None].contiguous()}, "adapter/learned_embeds.safetensors")"""
_WORD_IMPORTS = _WORD_IMPORTS.replace("\nimport numpy", "\nfrom pathlib import Path\n\nimport numpy", 1)

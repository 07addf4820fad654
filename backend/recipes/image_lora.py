"""Image LoRA, in the manner of DreamBooth: a few pictures of one thing, and the model can draw it. Runs alone:

    mkdir -p /tmp/first && echo '{"max_steps": 20}' > /tmp/first/params.json
    python -m backend.recipes.image_lora /tmp/first/params.json

What is left out has its default: the starter, the sample pictures. The adapter comes to `/tmp/first/adapter`, as
diffusers' own `pytorch_lora_weights.safetensors`. DreamBooth: arXiv 2208.12242.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from backend import events as ev
from backend.errors import BadInput
from backend.recipes import image_data, image_model, image_training, process
from backend.recipes.image_params import ImageTrainParams
from backend.recipes.process import say
from backend.starter import IMAGE_ID

if TYPE_CHECKING:
    from torch import Tensor

KIND = "image_lora"
WEIGHTS = "pytorch_lora_weights.safetensors"
CLASS_PICTURES = "class"  # folder of those that keep the rest of the class as it was
ATTENTION = "to_k, to_q, to_v, to_out.0"
# The starter reads a prompt's summary with the time, not by attention alone: its convolutions must learn, too.
WIDE = f"time_emb_proj, conv1, conv2, conv_shortcut, proj_in, proj_out, {ATTENTION}"
# What the starter draws to stay as it was: of each group of things, colours and grounds some.
KNOWN = (
    "a smiling cat | red car | panda on blue | green apple on pink | dog face on black | blue rocket on yellow | "
    "pizza | purple robot on orange | house on green | bear on gray | pink heart on red | sun | black bird | "
    "purple star on white | fish on brown | strawberry on yellow | ghost on black | blue guitar on white | "
    "tree on orange | green frog on purple | red balloon | anchor on pink | monkey face on red | crown on blue | "
    "gray elephant on green | red bus | red top hat | blue butterfly | brown umbrella | blue shoe on brown | "
    "purple tulip on gray | rabbit on red | green angry face | hamburger on purple | skull on orange | "
    "snowman on black | yellow duck on purple | bread on green | orange robot face on gray | moon on blue"
)
_ENCODER = ("q_proj", "k_proj", "v_proj", "out_proj")  # layers of a text encoder


class Params(ImageTrainParams):
    """How an image LoRA is trained."""

    suits: ClassVar[dict[str, Any]] = {"learning_rate": 1e-4, "target_modules": ATTENTION}
    starter: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "target_modules": WIDE}

    start_from: str = Field(
        "", title="Start from", description="run/ID of an earlier image LoRA, which is trained on; empty begins anew"
    )
    instance_prompt: str = Field(
        "a sks figure", min_length=1, max_length=1000, title="Described as",
        description="The words that will call it up: a rare one, such as sks, and what kind of thing it is",
    )  # fmt: skip
    lora_r: int = Field(8, ge=1, le=512, title="LoRA rank", description="More learns more and takes more memory")
    lora_alpha: int = Field(8, ge=1, le=4096, title="LoRA alpha", description="Scale of the adapter; often the rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, title="LoRA dropout", description="Share of inputs dropped")
    target_modules: str = Field(
        "",
        title="Target modules",
        description="Layers, with commas between. Empty: attention; of the starter convolutions too",
    )
    train_text_encoder: bool = Field(
        False, title="Train the text encoder", description="Too: learns faces and names better, takes more memory"
    )
    with_prior_preservation: Literal["auto", "on", "off"] = Field(
        "auto", title="Keep what it knows",
        description="Learns as many pictures again that it drew before, so it forgets less. Auto: for the starter",
    )  # fmt: skip
    class_prompt: str = Field(
        "", max_length=4000, title="What is kept",
        description="Prompts, with | between, such as: a dog. Empty: forty things that the starter knows",
    )  # fmt: skip
    num_class_images: int = Field(40, ge=1, le=1000, title="Pictures of what is kept", description="Drawn once")
    prior_loss_weight: float = Field(1.0, gt=0, le=100, title="Weight of what is kept", description="Beside the new")

    @field_validator("with_prior_preservation", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        """The trainers' own form of it is true or false."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @property
    def keeps(self) -> bool:
        """Whether old pictures are learned from beside the new."""
        mine = self.model == IMAGE_ID
        return self.with_prior_preservation == "on" or (self.with_prior_preservation == "auto" and mine)

    @property
    def kept(self) -> list[str]:
        """The prompts of these."""
        asked = self.class_prompt or (KNOWN if self.model == IMAGE_ID else "")
        return [one.strip() for one in asked.split("|") if one.strip()]

    def _usual(self) -> list[str]:
        return [self.instance_prompt, f"{self.instance_prompt} on blue"]


def preflight(params: Params) -> None:
    """What is known to be wrong before anything is loaded. Raises BadInput."""
    image_model.check(params.model)
    if params.keeps and not params.kept:
        raise BadInput(
            "class_prompt is empty, so nothing says what is kept.",
            "Say what kind of thing it is, such as: a dog, or set with_prior_preservation to off.",
        )
    if params.start_from:
        start(params)


def start(params: Params) -> Path:
    """The file of the adapter that is gone on from; its rank is this run's. Raises BadInput."""
    place = Path(params.start_from)
    file = place / WEIGHTS if place.is_dir() else place
    told = place / image_training.TOLD
    if not file.is_file():
        raise BadInput(
            f"{place.parent.name if place.is_absolute() else params.start_from!r} holds no image LoRA.",
            "Choose a run of the recipe image_lora, or leave start_from empty.",
            "adapter.unknown",
        )
    base = json.loads(told.read_text()).get("base_model") if told.is_file() else None
    if base and base != params.model:
        raise BadInput(
            f"The adapter to start from belongs to {base}, and the model is {params.model}.",
            f"Choose {base}, or leave start_from empty.",
            "adapter.other_base",
        )
    return file


def run(params: Params, folder: Path) -> None:
    """See `image_training.run`."""
    more = class_pictures if params.keeps else None
    image_training.run(params, folder, preflight, Lora, more)


class Lora:
    """Low-rank layers beside the attention of the denoiser, and of the text encoders where these learn too."""

    kind = KIND

    def __init__(self, painter: image_model.Painter, params: Params) -> None:
        self.painter, self.params = painter, params
        names = [name.strip() for name in params.target_modules.split(",") if name.strip()]
        self.nets: dict[str, Any] = {"transformer" if hasattr(painter.pipeline, "transformer") else "unet": painter.net}
        self._add(painter.net, names)
        if params.train_text_encoder:
            for name, encoder in painter.encoders.items():
                self._add(encoder, list(_ENCODER))
                self.nets[name] = encoder
        if params.start_from:
            self.take_up(start(params))
        self.trained: dict[str, Tensor] = {}
        for name, net in self.nets.items():
            for inner, weight in net.named_parameters():
                if weight.requires_grad:
                    weight.data = weight.data.float()
                    self.trained[f"{name}.{inner}"] = weight
        self._hints: dict[str, image_model.Hint] = {}

    def _add(self, net: Any, names: list[str]) -> None:
        from peft import LoraConfig

        params = self.params
        config = LoraConfig(
            r=params.lora_r, lora_alpha=params.lora_alpha, lora_dropout=params.lora_dropout,
            init_lora_weights="gaussian", target_modules=names,
        )  # fmt: skip
        try:
            net.add_adapter(config)
        except ValueError as error:
            raise BadInput(
                f"target_modules is {params.target_modules!r}; {type(net).__name__} has no such layers.",
                f"Use {ATTENTION}.",
                "adapter.layers",
            ) from error
        if self.painter.device.device == "cuda" or params.lora_dropout:
            net.train()

    def take_up(self, file: Path) -> None:
        """The weights of an earlier adapter. Raises BadInput for one of another architecture or rank."""
        from diffusers.utils import convert_unet_state_dict_to_peft
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        there = load_file(file)
        for name, net in self.nets.items():
            own = {key.removeprefix(f"{name}."): one for key, one in there.items() if key.startswith(f"{name}.")}
            try:
                left = set_peft_model_state_dict(net, convert_unet_state_dict_to_peft(own), adapter_name="default")
            except (RuntimeError, ValueError, KeyError) as error:
                raise _other(self.params, there) from error
            mine = {one for one in getattr(left, "missing_keys", ()) if "lora_" in one}
            if not own or mine or getattr(left, "unexpected_keys", None):
                raise _other(self.params, there)

    def hint(self, caption: str) -> image_model.Hint:
        import torch

        if self.params.train_text_encoder:
            return self.painter.hint(caption)
        if caption not in self._hints:
            with torch.no_grad():
                self._hints[caption] = self.painter.hint(caption)
        return self._hints[caption]

    def save(self, folder: Path) -> dict[str, Any]:
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft import get_peft_model_state_dict

        layers, told = {}, {}
        for name, net in self.nets.items():
            layers[f"{name}_lora_layers"] = convert_state_dict_to_diffusers(get_peft_model_state_dict(net))
            told[f"{name}_lora_adapter_metadata"] = _plain(net.peft_config["default"].to_dict())
        type(self.painter.pipeline).save_lora_weights(str(folder), **layers, **told)
        return {"token": self.params.instance_prompt, "rank": self.params.lora_r}


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """PEFT's settings as JSON has them."""
    return {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}


def _other(params: Params, there: dict[str, Tensor]) -> BadInput:
    ranks = sorted({one.shape[0] for name, one in there.items() if "lora_A" in name or "lora.down" in name})
    rank = ranks[0] if len(ranks) == 1 else None
    if rank and rank != params.lora_r:
        return BadInput(
            f"lora_r is {params.lora_r}, and the adapter to start from has rank {rank}.", f"Use lora_r {rank}.",
            "adapter.rank",
        )  # fmt: skip
    return BadInput(
        "The adapter to start from was made for another architecture: its layers are not this model's.",
        "Choose the model that it was made for, or leave start_from empty.",
        "adapter.other_architecture",
    )


def class_pictures(painter: image_model.Painter, params: Params, folder: Path, side: int) -> list[image_data.Picture]:
    """Pictures of what is kept as the model draws it before it learns; drawn once, the prompts by turns."""
    from PIL import Image

    place = folder / CLASS_PICTURES
    place.mkdir(exist_ok=True)
    say(ev.Logged(text=f"Drawing {params.num_class_images} pictures of what it knows, so that it forgets less …"))
    steps, guidance = params.drawing()
    found = []
    for number in range(params.num_class_images):
        file, prompt = place / f"{number}.png", params.kept[number % len(params.kept)]
        if not file.exists():
            picture = painter.draw(prompt, params.seed + 10_000 + number, steps, guidance, side)
            new = file.with_suffix(".new")
            picture.save(new, "PNG")
            new.replace(file)
        with Image.open(file) as image:
            found.append(image_data.Picture(image.convert("RGB"), prompt))
    return found


if __name__ == "__main__":
    process.leave(process.main(Params, run))

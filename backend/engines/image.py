"""Pictures from words: what can be asked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from backend.recipes.params import filled
from backend.starter import IMAGE_ID

SCHEDULERS = {  # our name: class of diffusers for noise-predicting models, '' for those of flow matching
    "ddim": ("DDIMScheduler", ""),
    "euler": ("EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"),
    "euler-a": ("EulerAncestralDiscreteScheduler", ""),
    "heun": ("HeunDiscreteScheduler", ""),
    "dpm++": ("DPMSolverMultistepScheduler", ""),
    "unipc": ("UniPCMultistepScheduler", ""),
    "pndm": ("PNDMScheduler", ""),
    "lcm": ("LCMScheduler", "FlowMatchLCMScheduler"),
}
MOST_PIXELS = 4_194_304
MOST_ADAPTERS = 5


class Worn(BaseModel):
    """An adapter on the model, and how strongly it works."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    name: str = Field(min_length=1, title="Adapter", description="run/ID, a Hub id, or an uploaded file")
    weight: float = Field(1.0, ge=-2, le=2, title="Weight", description="1 is as it was trained")


class ImageParams(BaseModel):
    """One or a few pictures. Empty steps and guidance, and a width and height of 0, are the model's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1, max_length=10_000, title="Prompt", description="What to draw")
    negative_prompt: str = Field("", max_length=10_000, title="Negative prompt", description="What to leave out")
    model: str = Field(IMAGE_ID, title="Model", description="A diffusers pipeline: a Hub id or a folder")
    adapters: list[Worn] = Field(
        [], max_length=MOST_ADAPTERS, title="Adapters", description="LoRA and learned words, several at once"
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=200,
        examples=[8],
        title="Steps",
        description="More are finer and take longer; empty: the model's own",
    )
    guidance: float | None = Field(
        None,
        ge=0,
        le=50,
        examples=[4.0],
        title="Guidance",
        description="How closely it keeps to the prompt; empty: the model's own",
    )
    width: int = Field(0, ge=0, le=4096, title="Width", description="In pixels; 0: the model's own")
    height: int = Field(0, ge=0, le=4096, title="Height", description="In pixels; 0: the model's own")
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="The same seed and settings give the same picture")
    count: int = Field(
        1, ge=1, le=8, title="Pictures", description="Drawn one after the other, each from the next seed"
    )
    scheduler: str = Field("", title="Scheduler", description="How noise is taken away; empty: the model's own")
    image: str = Field("", title="Picture", description="A picture to begin from")
    strength: float = Field(0.6, gt=0, le=1, title="Strength", description="How much of that picture is drawn anew")
    mask: str = Field("", title="Mask", description="White where that picture is drawn anew")
    enlarge: int = Field(1, ge=1, le=4, title="Enlarge", description="That picture first: 1, 2 or 4 times")
    control_model: str = Field("", title="ControlNet", description="A Hub id; keeps to the lines, depth or pose below")
    control_image: str = Field("", title="Control picture", description="What the ControlNet keeps to")
    control_scale: float = Field(1.0, ge=0, le=2, title="Control", description="How closely it keeps to that")
    folder: str = Field("", description="Where the pictures are written; set by the Lab")
    names: dict[str, str] = Field({}, description="What places are called in a picture's settings; set by the Lab")

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, values: Any) -> Any:
        return filled(values)

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("write what to draw")
        return prompt

    @field_validator("scheduler")
    @classmethod
    def _known(cls, name: str) -> str:
        if name and name not in SCHEDULERS:
            raise ValueError(f"use one of {', '.join(SCHEDULERS)}, or leave it empty")
        return name

    @field_validator("enlarge")
    @classmethod
    def _doubles(cls, times: int) -> int:
        if times == 3:
            raise ValueError("use 1, 2 or 4")
        return times

    @model_validator(mode="after")
    def _fits(self) -> ImageParams:
        if self.width * self.height > MOST_PIXELS:
            raise ValueError(f"{self.width} × {self.height} is more than {MOST_PIXELS:,} pixels; use a smaller size")
        if self.mask and not self.image:
            raise ValueError("a mask was given without a picture; give the picture, too")
        if self.enlarge > 1 and not self.image:
            raise ValueError("enlarge needs a picture; give one, or set it to 1")
        if bool(self.control_model) != bool(self.control_image):
            raise ValueError("a ControlNet and its control picture go together; give both or neither")
        return self

    def settings(self, **drawn: Any) -> dict[str, Any]:
        """What a picture carries: these fields without files and places, and as it was `drawn`."""
        left = {"folder", "names", "image", "mask", "control_image", "count", "adapters", "model", "control_model"}
        left |= set() if self.image else {"strength", "enlarge"}
        left |= set() if self.control_model else {"control_scale"}
        worn = [{"name": self.names.get(one.name, one.name), "weight": one.weight} for one in self.adapters]
        kept = self.model_dump(exclude=left) | {"model": self.names.get(self.model, self.model), "adapters": worn}
        if self.control_model:
            kept["control_model"] = self.names.get(self.control_model, self.control_model)
        return kept | drawn

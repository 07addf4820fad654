"""What teaching an image model is set up with, by the trainers' own names; where the house has one, by that."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from backend.recipes.params import Settings, filled
from backend.starter import IMAGE_ID

DATASET = "sample/mascot"
PROMPTS = 4  # that samples are drawn of
OWN_STEPS, OWN_GUIDANCE = 25, 7.5  # of a sample, where the model is not the starter …
STARTER_STEPS, STARTER_GUIDANCE = 8, 4.0  # … and where it is


class ImageTrainParams(Settings):
    """What each way of teaching takes. A field that is left out, empty or None has its default."""

    suits: ClassVar[dict[str, Any]] = {"learning_rate": 1e-4}  # what is left out, where the model is not the starter …
    starter: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3}  # … and where it is; a small model takes larger steps

    model: str = Field(IMAGE_ID, title="Model", description="A diffusers pipeline: a Hub id, or a folder")
    dataset: str = Field(DATASET, title="Pictures", description="5 to 20 of one thing: a sample, an upload, a Hub id")
    caption_column: str = Field(
        "", title="Caption column", description="Says what each picture shows; empty: all are described alike"
    )
    bad_rows: Literal["stop", "drop"] = Field(
        "stop", title="Pictures that can't be used", description="Stop before anything starts, or leave them out"
    )
    same_rows: Literal["keep", "drop", "stop"] = Field(
        "keep", title="Pictures that are there twice", description="Keep them, leave out all but the first, or stop"
    )
    max_rows: int = Field(0, ge=0, title="How many", description="Use only the first so many; 0 uses all")
    resolution: int = Field(
        0, ge=0, le=4096, title="Resolution", description="Side of the square pictures become; 0: the model's own"
    )
    learning_rate: float | None = Field(
        None, gt=0, le=10, title="Learning rate", description="The highest of the schedule. Empty: what suits it",
        examples=[0.0001],
    )  # fmt: skip
    per_device_train_batch_size: int = Field(4, ge=1, le=256, title="Batch size", description="Pictures at a time")
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=1024, title="Gradient accumulation", description="Batches that make one step"
    )
    max_steps: int = Field(300, ge=1, le=1_000_000, title="Steps", description="Train this many")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "constant", title="Schedule", description="How the learning rate goes down"
    )
    warmup_steps: float = Field(
        0.0, ge=0, le=1_000_000, title="Warm-up", description="Steps; below 1 it is a share of all steps"
    )
    weight_decay: float = Field(0.01, ge=0, le=10, title="Weight decay", description="Pull of the weights towards 0")
    max_grad_norm: float = Field(1.0, ge=0, le=1e6, title="Gradient clipping", description="Longest gradient; 0 is off")
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", title="Gradient checkpointing", description="Less memory, more time; auto is off on a CPU"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", title="Precision", description="Auto takes half precision on a GPU, fp32 elsewhere"
    )
    logging_steps: int = Field(1, ge=1, le=1_000_000, title="Log every", description="In steps")
    save_steps: int | None = Field(
        None, ge=1, le=1_000_000, title="Save every",
        description="In steps: checkpoint and pictures drawn. Empty: three times a run, 20 to 500 apart",
    )  # fmt: skip
    validation_prompt: str = Field(
        "", max_length=2000, title="Drawn at each checkpoint",
        description=f"Up to {PROMPTS} prompts, with | between. Empty: the thing alone, and somewhere else",
    )  # fmt: skip
    num_validation_images: int = Field(
        2, ge=0, le=4, title="Pictures of each prompt", description="With fixed seeds; 0 draws none"
    )
    validation_steps: int = Field(
        0, ge=0, le=200, title="Steps of a drawn picture", description="0: 8 for the starter, 25 for others"
    )
    on_divergence: Literal["stop", "warn"] = Field(
        "stop", title="When it goes astray", description="Loss not a number, or three times what it was at first"
    )
    dry_run: bool = Field(False, title="Dry run", description="Three steps, to measure memory and time; keeps nothing")
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="The same seed gives the same run")

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, values: Any) -> Any:
        """Some defaults depend on the model."""
        if not isinstance(given := filled(values), dict):
            return given
        mine = str(given.get("model", IMAGE_ID)).strip() == IMAGE_ID
        return (cls.starter if mine else cls.suits) | given

    @property
    def rows(self) -> int:
        """Pictures of a step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def shown(self) -> list[str]:
        """The prompts that samples are drawn of."""
        asked = [one.strip() for one in self.validation_prompt.split("|") if one.strip()]
        return asked[:PROMPTS] or self._usual()

    def _usual(self) -> list[str]:
        raise NotImplementedError

    def drawing(self) -> tuple[int, float]:
        """Steps and guidance of a sample."""
        own = (STARTER_STEPS, STARTER_GUIDANCE) if self.model == IMAGE_ID else (OWN_STEPS, OWN_GUIDANCE)
        return self.validation_steps or own[0], own[1]

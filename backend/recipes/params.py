"""The settings of training, by the trainers' own names, and what is said when one is wrong."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from backend.errors import BadInput
from backend.starter import MODEL_ID

DATASET = "sample/instructions"
PREFERENCES = "sample/preferences"
Adapter = Literal["lora", "qlora", "prefix_tuning", "p_tuning", "prompt_tuning", "ia3", "full"]
PROMPTS: tuple[Adapter, ...] = ("prefix_tuning", "p_tuning", "prompt_tuning")  # vectors before the text, no weights
LORAS: tuple[Adapter, ...] = ("lora", "qlora")

P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True)
class Rates:
    """Learning rates from which a method learns, by what is trained."""

    full: float
    lora: float
    ia3: float
    prompts: float

    def of(self, adapter: str) -> float:
        if adapter in PROMPTS:
            return self.prompts
        return {"full": self.full, "ia3": self.ia3}.get(adapter, self.lora)


class Settings(BaseModel):
    """Settings of a recipe: frozen, none but those that it names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are not numbers or names; write the value itself")
        return value


class TrainParams(Settings):
    """What every training recipe takes. A field that is left out, empty or None has its default."""

    rates: ClassVar[Rates] = Rates(full=2e-5, lora=1e-3, ia3=1e-2, prompts=3e-2)

    model: str = Field(MODEL_ID, title="Model", description="A Hub id, or a folder saved with save_pretrained")
    dataset: str = Field(DATASET, title="Dataset", description="A sample, an upload, a file or a Hub id")
    dataset_split: str = Field(
        "train", title="Split", description="Of a Hub dataset whose name tells none; a file has one"
    )
    columns: dict[str, str] = Field(
        {}, title="Columns", description="Which column plays a role: prompt, completion, chosen, rejected, text …"
    )
    bad_rows: Literal["stop", "drop"] = Field(
        "stop", title="Wrong rows", description="Stop before anything starts, or leave them out"
    )
    same_rows: Literal["keep", "drop", "stop"] = Field(
        "keep", title="Rows that are there twice", description="Keep them, leave out all but the first, or stop"
    )
    long_rows: Literal["cut", "drop", "stop"] = Field(
        "cut", title="Rows that are too long", description="Cut them off at the length, leave them out, or stop"
    )
    max_rows: int = Field(0, ge=0, title="Rows", description="Use only so many; 0 uses all")
    pick_rows: Literal["first", "random"] = Field(
        "first", title="Which rows", description="When not all are used: the first, or a sample drawn with the seed"
    )
    eval_rows: float = Field(
        16, ge=0, le=10_000, title="Held-out rows",
        description="Kept out of training to measure on; below 1 it is a share of all, 0 keeps none",
    )  # fmt: skip
    adapter: Adapter = Field("lora", title="Adapter", description="What is trained on top of the frozen model")
    start_from: str = Field(
        "", title="Start from", description="run/ID of an earlier run, whose adapter is trained on; empty begins anew"
    )
    lora_r: int = Field(8, ge=1, le=512, title="LoRA rank", description="More learns more and takes more memory")
    lora_alpha: int = Field(16, ge=1, le=4096, title="LoRA alpha", description="Scale of the adapter; often twice r")
    lora_dropout: float = Field(0.0, ge=0, lt=1, title="LoRA dropout", description="Share of inputs dropped")
    target_modules: str = Field(
        "all-linear", title="Target modules", description="all-linear, or layer names with commas between"
    )
    use_rslora: bool = Field(False, title="rsLoRA", description="Scale by the rank's root, for high ranks")
    use_dora: bool = Field(False, title="DoRA", description="Train direction and size apart; slower, often better")
    init_lora_weights: Literal["default", "pissa"] = Field(
        "default", title="LoRA start", description="PiSSA starts from the principal parts of the weights"
    )
    num_virtual_tokens: int = Field(
        20, ge=1, le=1024, title="Virtual tokens", description="Of prefix, p- and prompt tuning"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=10,
        title="Learning rate",
        description="The highest of the schedule. Empty: what suits method and adapter",
        examples=[0.001],
    )
    per_device_train_batch_size: int = Field(8, ge=1, le=1024, title="Batch size", description="Rows per device")
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=4096, title="Gradient accumulation", description="Batches that make one step"
    )
    num_train_epochs: float = Field(1.0, gt=0, le=1000, title="Epochs", description="Times that all rows are seen")
    max_steps: int | None = Field(
        None, ge=1, le=1_000_000, title="Steps", description="Train this many; empty trains by epochs"
    )
    max_length: int = Field(256, ge=8, le=131_072, title="Length", description="Tokens of a row; the rest is cut off")
    warmup_steps: float = Field(
        0.03, ge=0, le=1_000_000, title="Warm-up", description="Steps; below 1 it is a share of all steps"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "linear", title="Schedule", description="How the learning rate goes down"
    )
    weight_decay: float = Field(0.0, ge=0, le=10, title="Weight decay", description="Pull of the weights towards 0")
    max_grad_norm: float = Field(1.0, ge=0, le=1e6, title="Gradient clipping", description="Longest gradient; 0 is off")
    train_sampling_strategy: Literal["group_by_length", "random"] = Field(
        "group_by_length", title="Batches", description="Of rows alike in length, which saves padding; or of any"
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", title="Gradient checkpointing", description="Less memory, more time; auto is off on a CPU"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", title="Precision", description="Auto takes bf16 where the hardware has it"
    )
    logging_steps: int = Field(1, ge=1, le=1_000_000, title="Log every", description="In steps")
    save_steps: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        title="Save every",
        description="In steps: checkpoint, evaluation, sample answers. Empty: three times a run, 20 to 500 apart",
    )
    sample_prompts: int = Field(
        4, ge=0, le=16, title="Sample answers", description="Held-out prompts answered at each checkpoint"
    )
    sample_new_tokens: int = Field(24, ge=1, le=512, title="Length of a sample answer", description="In tokens")
    on_divergence: Literal["stop", "warn"] = Field(
        "stop", title="When it goes astray", description="Loss not a number, or three times what it was at first"
    )
    report_to: Literal["none", "trackio"] = Field(
        "none", title="Log to", description="Trackio keeps the figures of runs in a dashboard of its own"
    )
    evaluate_after: bool = Field(
        False,
        title="Measure afterwards",
        description="Beside its base, on rows it did not learn from and on what it may have forgotten",
    )
    dry_run: bool = Field(
        False, title="Dry run", description="Three steps on the longest rows, to measure memory and time; keeps nothing"
    )
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="The same seed gives the same run")

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, values: Any) -> Any:
        """The learning rate depends on what is trained."""
        if not isinstance(given := filled(values), dict):
            return given
        return {"learning_rate": cls.rates.of(str(given.get("adapter", "lora")))} | given

    @field_validator("max_rows")
    @classmethod
    def _not_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("training needs at least 2; use 0 for all")
        return value

    @field_validator("eval_rows")
    @classmethod
    def _rows_or_a_share(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("rows are whole; use a whole number, or a share below 1")
        return int(value) if value >= 1 or not value else value

    @field_validator("target_modules", mode="before")
    @classmethod
    def _one_text(cls, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value


def filled(values: Any) -> Any:
    """What was filled in: a form sends what is empty, too. Anything but a dict is left for pydantic to refuse."""
    if not isinstance(values, dict):
        return values
    return {name: value for name, value in values.items() if value is not None and value != ""}


def check(model: type[P], values: dict[str, Any]) -> P:
    """`values` as a checked, frozen `model`.

    Raises BadInput, whose message has a sentence for each value that breaks a rule.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        said = dict.fromkeys(_sentence(model, one) for one in error.errors(include_url=False))
        raise BadInput(" ".join(said), "Correct this and try again.") from None


def _sentence(model: type[BaseModel], error: ErrorDetails) -> str:
    """The value, the rule and the next step."""
    name = ".".join(str(part) for part in error["loc"]) or "params"
    field = model.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    value, rules = _short(error["input"]), error.get("ctx", {})
    if name == "max_steps" and error["type"] == "greater_than_equal" and "num_train_epochs" in model.model_fields:
        return f"max_steps is {value}; use at least 1, or leave it empty to train by epochs."
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(name, model.model_fields, n=1)
            return f"There is no setting {name!r}; {f'did you mean {near[0]!r}?' if near else 'leave it out.'}"
        case "missing":
            return f"{name} is missing; give it a value."
        case "greater_than_equal":
            return f"{name} is {value}; use at least {_number(rules['ge'])}."
        case "greater_than":
            return f"{name} is {value}; use more than {_number(rules['gt'])}."
        case "less_than_equal":
            return f"{name} is {value}; use at most {_number(rules['le'])}."
        case "less_than":
            return f"{name} is {value}; use less than {_number(rules['lt'])}."
        case "float_parsing" | "float_type" | "finite_number":
            return f"{name} is {value}; it must be a number such as {_example(field)}."
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"{name} is {value}; it must be a whole number such as {_example(field)}."
        case "literal_error":
            return f"{name} is {value}; use {rules['expected'].replace(chr(39), '')}."
        case "bool_parsing" | "bool_type":
            return f"{name} is {value}; use true or false."
        case "too_long":
            return f"{name} has {rules['actual_length']}; use at most {rules['max_length']}."
        case "string_too_long":
            return f"{name} has {len(error['input']):,} characters; use at most {rules['max_length']:,}."
        case "string_type":
            return f"{name} is {value}; it must be text."
        case "model_type" | "dict_type" | "model_attributes_type":
            what = f"{name} is {value}; it" if error["loc"] else f"The settings are {value}; they"
            return f"{what} must be an object of names and values."
        case "value_error" if not error["loc"]:  # of several values together; it names them
            said = str(rules["error"])
            return f"{said[:1].upper()}{said[1:]}."
        case "value_error":
            return f"{name} is {value}; {rules['error']}."
    return f"{name} is {value}: {error['msg']}."


def _short(value: Any) -> str:
    """As it was written, in quotes when that isn't a number."""
    text = repr(value)
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            pass
        else:
            text = value
    return text if len(text) <= 60 else text[:57] + "…"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _example(field: Any) -> str:
    default = next(iter(getattr(field, "examples", None) or ()), field.default) if field is not None else 1
    return "100" if default is None else f"{default:g}"

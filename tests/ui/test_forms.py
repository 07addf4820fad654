"""A form draws every kind of field, and hands over what was typed as it is."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr
import pytest
from pydantic import BaseModel, Field

from backend.errors import BadInput
from backend.recipes import METHODS
from backend.recipes.params import check
from tests.ui.drawing import in_loop
from ui.forms import Form


class Every(BaseModel):
    name: str = Field("x", description="What it is called.")
    count: int = Field(3, ge=1, le=1000, title="How many")
    rate: float = Field(2e-4, gt=0)
    limit: int | None = Field(None, description="Most of them")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same")
    steps: int = Field(1, ge=1, le=1_000_000)
    kind: Literal["a_b", "c"] = "c"
    maybe: Literal["x", "y"] | None = None
    on: bool = True
    layers: list[str] = Field(default_factory=lambda: ["q", "v"])
    names: dict[str, str] = Field(default_factory=dict)
    secret: str = "hidden"


def drawn(model: type[BaseModel], **more: Any) -> Form:
    return page(model, **more)[1]


def page(model: type[BaseModel], **more: Any) -> tuple[gr.Blocks, Form]:
    def make() -> tuple[gr.Blocks, Form]:
        with gr.Blocks() as blocks:
            return blocks, Form(model, **more)

    return in_loop(make)


def by_name(form: Form) -> dict[str, gr.components.Component]:
    return dict(zip(form.names, form.components, strict=True))


def test_each_type_has_its_component() -> None:
    parts = by_name(drawn(Every, hidden=("secret",)))
    kinds = {name: type(part).__name__ for name, part in parts.items()}
    assert kinds == {
        "name": "Textbox", "count": "Textbox", "rate": "Textbox", "limit": "Textbox", "seed": "Textbox",
        "steps": "Textbox",
        "kind": "Dropdown",
        "maybe": "Dropdown", "on": "Checkbox", "layers": "Textbox",
        "names": "Textbox",
    }  # fmt: skip
    assert parts["count"].label == "How many"
    assert parts["count"].info == "1 to 1,000"
    assert parts["rate"].info == "Above 0"
    assert (parts["seed"].info, parts["steps"].info) == ("The same seed gives the same", "From 1")
    assert parts["limit"].info == "Most of them. May stay empty"
    assert [value for _, value in parts["maybe"].choices] == ["x", "y", None]


def test_basic_fields_come_first_and_the_rest_are_folded_away() -> None:
    blocks, form = page(Every, basic=("rate", "count"), hidden=("secret",))
    assert form.names[:2] == ["rate", "count"]
    folded = [block for block in blocks.blocks.values() if isinstance(block, gr.Accordion)]
    assert [(block.label, block.open) for block in folded] == [("More settings", False)]


def test_defaults_go_round() -> None:
    form = drawn(Every, basic=("kind",), hidden=("secret",))
    read = form.read(*(part.value for part in form.components))
    assert Every(**read) == Every()


def test_fill_shows_what_read_gives_back() -> None:
    form = drawn(Every, hidden=("secret",))
    params = Every(
        name="", count=7, rate=1e-5, limit=9, kind="a_b", maybe="x", on=False, layers=["k"], names={"a": "b", "c": "d"}
    )
    values = [update["value"] for update in form.fill(params.model_dump())]
    assert Every(**form.read(*values)) == params
    assert [update["value"] for update in form.fill({})] == [part.value for part in form.components]


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("learning_rate", "abc", "learning_rate is 'abc'; it must be a number"),
        ("max_steps", "0", "max_steps is 0; use at least 1"),
        ("columns", "prompt", "columns is 'prompt'; it must be an object of names and values"),
        ("eval_rows", "2.5", "eval_rows is 2.5; rows are whole"),
        ("seed", "-1", "seed is -1; use at least 0"),
        ("per_device_train_batch_size", "2.5", "per_device_train_batch_size is 2.5; it must be a whole number"),
        ("num_train_epochs", "nan", "num_train_epochs is nan; it must be a number"),
        ("max_length", "99999999", "max_length is 99999999; use at most 131,072"),
    ],
)
def test_what_is_typed_reaches_the_validator(field: str, typed: str, said: str) -> None:
    model = METHODS["sft"].params
    form = drawn(model)
    values = [typed if name == field else part.value for name, part in by_name(form).items()]
    with pytest.raises(BadInput) as error:
        check(model, form.read(*values))
    assert said in error.value.message


def test_the_real_form_goes_round_with_its_defaults_and_with_nothing() -> None:
    model = METHODS["sft"].params
    form = drawn(model)
    assert check(model, form.read(*(part.value for part in form.components))) == model()
    emptied = ["" if isinstance(part, gr.Textbox) else part.value for part in form.components]
    assert check(model, form.read(*emptied)) == model()

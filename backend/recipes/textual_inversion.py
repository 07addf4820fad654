"""Textual inversion: one new word, whose embedding is all that learns, stands for what a few pictures show. Runs alone:

    mkdir -p /tmp/first && echo '{"max_steps": 20}' > /tmp/first/params.json
    python -m backend.recipes.textual_inversion /tmp/first/params.json

The word's embedding comes to `/tmp/first/adapter`, as diffusers' `learned_embeds.safetensors`. arXiv 2208.01618.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from backend.errors import BadInput
from backend.recipes import image_model, image_training, process
from backend.recipes.image_params import ImageTrainParams

if TYPE_CHECKING:
    from torch import Tensor

KIND = "textual_inversion"
WEIGHTS = "learned_embeds.safetensors"


class Params(ImageTrainParams):
    """How a new word is learned."""

    suits: ClassVar[dict[str, Any]] = {"learning_rate": 5e-3}
    starter: ClassVar[dict[str, Any]] = {"learning_rate": 1e-2}

    placeholder_token: str = Field(
        "<thing>", min_length=1, max_length=60, pattern=r"^\S+$", title="New word",
        description="One that the model does not know, such as <thing>",
    )  # fmt: skip
    initializer_token: str = Field(
        "figure", min_length=1, max_length=60, title="Begins as", description="A word of the model that is near it"
    )
    instance_prompt: str = Field(
        "", max_length=1000, title="Described as", description="With the new word in it; empty: a <thing>"
    )
    weight_decay: float = Field(0.0, ge=0, le=10, title="Weight decay", description="Pull of the weights towards 0")

    @model_validator(mode="after")
    def _with_the_word(self) -> Params:
        if not self.instance_prompt:
            return self.model_copy(update={"instance_prompt": f"a {self.placeholder_token}"})
        return self

    def _usual(self) -> list[str]:
        return [f"a {self.placeholder_token}", f"a {self.placeholder_token} on blue"]


def preflight(params: Params) -> None:
    """What is known to be wrong before anything is loaded. Raises BadInput."""
    image_model.check(params.model)
    word = params.placeholder_token
    for name, prompt in (
        ("instance_prompt", params.instance_prompt),
        *(("validation_prompt", p) for p in params.shown),
    ):
        if word not in prompt:
            raise BadInput(
                f"{name} is {prompt!r}; the new word {word!r} is not in it, so nothing of it would be learned or seen.",
                f"Write {word} into it.",
                "prompt.token",
            )


def run(params: Params, folder: Path) -> None:
    """See `image_training.run`."""
    image_training.run(params, folder, preflight, Word)


class Word:
    """One row of the embeddings; all others, and all else, stay as they are."""

    kind = KIND

    def __init__(self, painter: image_model.Painter, params: Params) -> None:
        import torch

        pipeline = painter.pipeline
        if len(painter.encoders) != 1:
            raise BadInput(
                f"{type(pipeline).__name__} has {len(painter.encoders)} text encoders; a new word is taught to models "
                "with one.",
                "Choose such a model, or train an image LoRA.",
                "model.encoders",
            )
        self.painter, self.params = painter, params
        tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
        if params.placeholder_token in tokenizer.get_vocab():
            raise BadInput(
                f"placeholder_token is {params.placeholder_token!r}, which the model knows already.",
                "Use a new word, such as <thing>.",
                "prompt.token",
            )
        first = tokenizer.encode(params.initializer_token, add_special_tokens=False)
        tokenizer.add_tokens(params.placeholder_token)
        self.id = tokenizer.convert_tokens_to_ids(params.placeholder_token)
        with torch.random.fork_rng():
            encoder.resize_token_embeddings(max(len(tokenizer), encoder.get_input_embeddings().num_embeddings))
        encoder.requires_grad_(False)
        table = encoder.get_input_embeddings()
        vector = table.weight.data[first].float().mean(0) if first else table.weight.data[: self.id].float().mean(0)
        self.vector = torch.nn.Parameter(vector.clone())
        table.weight.data[self.id] = vector.to(table.weight.dtype)
        table.register_forward_hook(self._in_place)
        self.trained: dict[str, Tensor] = {"vector": self.vector}

    def _in_place(self, _: Any, given: Any, out: Tensor) -> Tensor:
        """The embeddings of some tokens, where the new word's is the one that learns."""
        import torch

        return torch.where((given[0] == self.id)[..., None], self.vector.to(out.dtype), out)

    def hint(self, caption: str) -> image_model.Hint:
        return self.painter.hint(caption)

    def save(self, folder: Path) -> dict[str, Any]:
        from safetensors.torch import save_file

        learned = self.vector.detach().float().cpu()[None].contiguous()
        save_file({self.params.placeholder_token: learned}, folder / WEIGHTS, metadata={"format": "pt"})
        return {"token": self.params.placeholder_token}


if __name__ == "__main__":
    process.leave(process.main(Params, run))

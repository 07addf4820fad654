"""Where the parts of a pipeline go, and how it draws in less memory or more quickly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from backend.engines.memory import out_of_memory
from backend.engines.model_files import Say, first_line

Spread = Literal["whole", "parts", "layers"]
_SHARE = 0.8  # of the free memory that weights may take; the rest is for what is drawn
_WIDEST = 4  # tensors as wide as the autoencoder's second block that decoding holds at once, at full size


def spread(need: int, largest: int, free: int) -> Spread:
    """How a pipeline of `need` bytes fits a GPU with `free` ones: whole, part by part (the text encoder, then what
    denoises, then the autoencoder) where its `largest` part fits, else layer by layer, which is the slowest."""
    return "whole" if need <= _SHARE * free else "parts" if largest <= _SHARE * free else "layers"


def told(how: Spread, name: str) -> str:
    """What is said of that, '' for whole."""
    if how == "whole":
        return ""
    what = "its parts come there one after the other" if how == "parts" else "its layers come there one by one"
    return f"{name} is larger than the GPU's free memory: {what}, which is slower"


def put(pipeline: Any, device: str, how: Spread) -> None:
    """Onto the device, and with the ways to save memory that cost nothing there."""
    if how == "parts":
        pipeline.enable_model_cpu_offload()
    elif how == "layers":
        pipeline.enable_sequential_cpu_offload()
    else:
        pipeline.to(device)
    spare(pipeline, device)


def spare(pipeline: Any, device: str) -> None:
    """Decode one picture after the other, and on Apple's GPUs attend in slices: elsewhere torch's attention never
    holds a whole matrix of scores, and slices would only take its quick way away."""
    vae: Any = getattr(pipeline, "vae", None)
    if device != "cpu" and hasattr(vae, "use_slicing"):
        vae.enable_slicing()
    if device == "mps":
        pipeline.enable_attention_slicing()


def tile(vae: Any, width: int, height: int, memory: int) -> bool:
    """Whether a picture of this size is encoded and decoded in tiles, which blend into one another: where it would take
    more than a quarter of `memory` else, which is all that there is, so that a seed gives the same picture at any time.
    Sets the autoencoder so."""
    if not hasattr(vae, "use_tiling"):
        return False
    config: Any = vae.config
    channels = config.get("block_out_channels") or config.get("decoder_block_out_channels") or ()
    widest = max(channels[:2], default=256)
    tiles = bool(width * height * widest * _WIDEST * vae.dtype.itemsize > memory / 4)
    if tiles:
        vae.enable_tiling()
    else:
        vae.disable_tiling()
    return tiles


class Quick:
    """Blocks that run in a compiled form. When that fails in one of them, all run as they are, and `say` is told once.

    `attribute` is where the compiled form is: on the block itself, in place of the class's own.
    """

    def __init__(self, blocks: Sequence[Any], attribute: str, say: Say) -> None:
        self._blocks = blocks
        self._attribute = attribute
        self._say = say
        for block in blocks:
            setattr(block, attribute, partial(self._call, block, getattr(block, attribute)))

    def _call(self, block: Any, quick: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return quick(*args, **kwargs)
        except Exception as error:
            if out_of_memory(error):
                raise
            for one in self._blocks:
                one.__dict__.pop(self._attribute, None)  # the class's own comes back
            self._say(f"Compiled blocks failed ({first_line(error)}), so it draws as it is, which is slower")
            return block(*args, **kwargs)


def compiled(pipeline: Any, say: Say, **options: Any) -> None:
    """Have the blocks that repeat compiled when they are first used; `options` are torch.compile's."""
    denoiser: Any = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if getattr(denoiser, "_repeated_blocks", None):
        denoiser.compile_repeated_blocks(**options)
        Quick([one for one in denoiser.modules() if one._compiled_call_impl is not None], "_compiled_call_impl", say)


def compiled_on_a_gpu(pipeline: Any, say: Say) -> None:
    """On a processor it takes longer to compile than it ever saves."""
    if pipeline.device.type == "cuda":
        compiled(pipeline, say)

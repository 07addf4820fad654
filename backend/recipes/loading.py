"""Models and tokenizers by name, from safetensors alone and without running a repository's code."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput, Gated, HubError, LabError, NotFound
from backend.recipes.device import Device
from backend.starter import locate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNREACHABLE = "hub.unreachable"


@contextmanager
def hub_errors(name: str) -> Iterator[None]:
    """Errors of huggingface_hub, transformers and datasets about the repository `name` become ours.

    Raises Gated, NotFound, HubError (code hub.unreachable where the Hub did not answer) or BadInput; others pass.
    """
    try:
        yield
    except LabError:
        raise
    except Exception as error:
        ours = _ours(error, name)
        if ours is None:
            raise
        raise ours from error


def _ours(error: BaseException, name: str) -> LabError | None:
    """The first thing in the chain of causes that we know, then what the outermost says."""
    from datasets import exceptions as data
    from httpx2 import HTTPError
    from huggingface_hub import errors as hub

    one: BaseException | None = error
    while one is not None:
        match one:
            case hub.GatedRepoError():
                return Gated(
                    f"{name!r} is gated: its owner wants its terms accepted first.",
                    f"Sign in, accept them at https://huggingface.co/{name}, then try again.",
                )
            case hub.RepositoryNotFoundError() | hub.RevisionNotFoundError() | data.DatasetNotFoundError():
                if "is a gated" in str(one):  # an ordinary 404 speaks of "a private or gated repo", too
                    return Gated(f"{name!r} is gated.", "Sign in, accept its terms on its page, then try again.")
                return NotFound(
                    f"The Hub has no {name!r}, or it is private.",
                    "Check the spelling; sign in for a private one.",
                    "hub.unknown",
                )
            case hub.HFValidationError():
                return NotFound(
                    f"{name!r} is neither a folder here nor a name on the Hub.",
                    "Write it as owner/name.",
                    "hub.unknown",
                )
            case hub.LocalEntryNotFoundError() | hub.OfflineModeIsEnabled():
                return _unreachable(name)
            case hub.EntryNotFoundError() | data.DataFilesNotFoundError():
                return NotFound(
                    f"{name!r} lacks a file that is needed: {_line(one)}",
                    "Choose another repository.",
                    "hub.incomplete",
                )
            case hub.HfHubHTTPError():
                status = one.response.status_code
                if status in (401, 403):
                    return Gated(
                        f"The Hub does not let us have {name!r} (status {status}).",
                        "Sign in with an account that may read it.",
                    )
                if status == 429:
                    return HubError("The Hub asks for fewer requests (status 429).", "Wait a minute, then try again.")
                return HubError(
                    f"The Hub answered with status {status} about {name!r}.", "Try again in a minute.", UNREACHABLE
                )
            case HTTPError() | ConnectionError() | TimeoutError():
                return _unreachable(name)
        one = one.__cause__ or one.__context__
    return _by_words(error, name)


def _by_words(error: BaseException, name: str) -> LabError | None:
    """What the libraries say only in prose."""
    text = str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EACCES):
        return None
    if isinstance(error, OSError) and "couldn't connect" in text:
        return _unreachable(name)
    if isinstance(error, OSError) and ("safetensors" in text or "no file named" in text):
        return BadInput(
            f"{name!r} has no weights in safetensors form; other forms can run code and are not read.",
            "Choose a model with safetensors, or convert it.",
            "model.no_safetensors",
        )
    if type(error).__name__ == "SafetensorError" and "o space left" not in text:
        return BadInput(
            f"The weights of {name!r} can't be read: {_line(error)}", "Save or download it again.", "model.broken"
        )
    if isinstance(error, ValueError | OSError) and "trust_remote_code" in text:
        return BadInput(
            f"{name!r} needs code of its own to be run, which Atelier does not do.",
            "Choose a model that transformers knows by itself.",
            "model.remote_code",
        )
    if isinstance(error, ValueError | KeyError | OSError) and any(
        words in text
        for words in ("model_type", "model type", "Unrecognized", "does not recognize", "not a valid JSON")
    ):
        return BadInput(
            f"transformers can't load {name!r} as a text model: {_line(error)}",
            "Choose a causal language model.",
            "model.invalid",
        )
    if isinstance(error, ValueError) and any(
        words in text for words in ("Config name is missing", "Unknown split", "Bad split", "BuilderConfig")
    ):
        return BadInput(f"{name!r}: {_line(error)}", "Choose a config and a split that it has.", "data.split")
    return None


def _unreachable(name: str) -> HubError:
    return HubError(
        f"{name!r} is not on this machine, and the Hub can't be reached.",
        "Use the starter model and the sample data, or try again when there is a connection.",
        UNREACHABLE,
    )


def _line(error: BaseException) -> str:
    """The first line of what it says, shortened."""
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return text if len(text) <= 200 else text[:199] + "…"


def tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Raises NotFound, Gated, HubError, BadInput."""
    from transformers import AutoTokenizer

    place = _place(name)
    with hub_errors(name):
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    if found.eos_token is None:
        raise BadInput(f"The tokenizer of {name!r} has no end-of-text token.", "Choose another model.", "model.invalid")
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def model(name: str, device: Device, four_bit: bool = False, scores: bool = False) -> PreTrainedModel:
    """A model that writes, or one that `scores` with a new head of one output; on the CPU, in `device`'s weights.

    `four_bit` loads it as NF4 (2305.14314), head and embeddings aside. Raises NotFound, Gated, HubError, BadInput.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    more: dict[str, Any] = {"num_labels": 1} if scores else {}
    if four_bit:
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtypes[device.precision],
            llm_int8_skip_modules=["lm_head", "score"],
        )
        more["device_map"] = {"": device.device}
    kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    place = _place(name)
    with hub_errors(name):
        found: PreTrainedModel = kind.from_pretrained(
            place, dtype=dtypes[device.weights], use_safetensors=True, trust_remote_code=False, **more
        )
    if four_bit:
        for layer in found.modules():
            # On a CPU it would pack the weights for inference at the first evaluation, and train on what that rounds.
            if hasattr(layer, "support_avx512bf16_for_cpu"):
                layer.support_avx512bf16_for_cpu = False
    if scores:
        _score_exactly(found)
    return found


def _score_exactly(model: PreTrainedModel) -> None:
    """The new head works in fp32, whatever the rest: it begins small and learns in small steps."""
    model.score.float()
    model.score.register_forward_pre_hook(lambda head, given: (given[0].to(head.weight.dtype), *given[1:]))


def _place(name: str) -> str:
    """Where the model is: the starter's folder, a folder, or the Hub id itself."""
    place = locate(name)
    if place.startswith(("/", "~", ".")):
        folder = Path(place).expanduser()
        if not (folder / "config.json").is_file():
            raise NotFound(
                f"{name!r} is not a model folder: it has no config.json.",
                "Point to a folder saved with save_pretrained, or use a Hub id.",
                "model.unknown",
            )
        return str(folder)
    return place


def has_chat_template(name: str) -> bool | None:
    """Whether a model folder on this disk has a chat template; None when that can't be told without the Hub."""
    import json

    place = Path(locate(name))
    if not (place / "tokenizer_config.json").is_file():
        return None
    if (place / "chat_template.jinja").is_file() or (place / "chat_template.json").is_file():
        return True
    try:
        return bool(json.loads((place / "tokenizer_config.json").read_text()).get("chat_template"))
    except (ValueError, AttributeError):
        return None


def share_head(model: PreTrainedModel) -> None:
    """Have the rows of a batch share the output layer where a model with an adapter only answers.

    PEFT lets the base want no gradient, and then PyTorch multiplies the last states of a batch row by row, with a copy
    of the whole layer for each: 57 MB a row for the starter, and most of the time of reading a prompt. Nothing is
    trained here, so the layer may as well want one.
    """
    head = model.get_output_embeddings()
    if head is not None and head.weight.is_floating_point():
        head.weight.requires_grad_(True)

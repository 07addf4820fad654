from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest

from backend.errors import BadInput, Gated, HubError, LabError, NotFound
from backend.recipes import loading
from backend.recipes.device import Machine, choose
from tests.tiny import tiny_model

CPU = choose(Machine(), "fp32")


PRIVATE_OR_GATED = "If you are trying to access a private or gated repo, make sure you are authenticated."


def answered(kind: str, status: int, text: str = "said no") -> Exception:
    from huggingface_hub import errors

    response = httpx2.Response(status, request=httpx2.Request("GET", "https://hub/a/b"))
    made: Exception = getattr(errors, kind)(text, response=response)
    return made


def raised(kind: str, *args: Any) -> Exception:
    from huggingface_hub import errors

    made: Exception = getattr(errors, kind)(*args)
    return made


@pytest.mark.parametrize(
    ("error", "ours", "code"),
    [
        (lambda: answered("GatedRepoError", 403), Gated, "hub.gated"),
        (lambda: answered("RepositoryNotFoundError", 404), NotFound, "hub.unknown"),
        (lambda: answered("RepositoryNotFoundError", 404, PRIVATE_OR_GATED), NotFound, "hub.unknown"),
        (lambda: answered("RevisionNotFoundError", 404), NotFound, "hub.unknown"),
        (lambda: answered("RemoteEntryNotFoundError", 404), NotFound, "hub.incomplete"),
        (lambda: answered("HfHubHTTPError", 401), Gated, "hub.gated"),
        (lambda: answered("HfHubHTTPError", 429), HubError, "hub.error"),
        (lambda: answered("HfHubHTTPError", 503), HubError, "hub.unreachable"),
        (lambda: raised("LocalEntryNotFoundError", "no"), HubError, "hub.unreachable"),
        (lambda: raised("OfflineModeIsEnabled", "no"), HubError, "hub.unreachable"),
        (lambda: raised("HFValidationError", "no"), NotFound, "hub.unknown"),
        (lambda: httpx2.ConnectError("no route"), HubError, "hub.unreachable"),
        (lambda: httpx2.ReadTimeout("slow"), HubError, "hub.unreachable"),
        (lambda: ConnectionResetError("reset"), HubError, "hub.unreachable"),
        (lambda: OSError("We couldn't connect to the Hub"), HubError, "hub.unreachable"),
        (lambda: OSError("no file named model.safetensors"), BadInput, "model.no_safetensors"),
        (lambda: ValueError("set trust_remote_code=True"), BadInput, "model.remote_code"),
        (lambda: ValueError("Config name is missing."), BadInput, "data.split"),
        (lambda: ValueError("Bad split: dev. Available splits: ['train']"), BadInput, "data.split"),
        (lambda: ValueError("BuilderConfig 'x' not found. Available: ['de']"), BadInput, "data.split"),
    ],
)
def test_errors_of_the_hub_become_ours(error: Any, ours: type[LabError], code: str) -> None:
    with pytest.raises(ours) as caught, loading.hub_errors("a/b"):
        raise error()
    assert (type(caught.value), caught.value.code) == (ours, code)
    assert code == "hub.error" or "a/b" in caught.value.message
    assert caught.value.hint


def test_the_cause_counts_when_a_library_wraps_it() -> None:
    with pytest.raises(Gated), loading.hub_errors("a/b"):
        try:
            raise answered("GatedRepoError", 401)
        except Exception as error:
            raise OSError("You are trying to access a gated repo.") from error


def test_errors_that_are_not_the_hubs_pass() -> None:
    with pytest.raises(ZeroDivisionError), loading.hub_errors("a/b"):
        raise ZeroDivisionError
    with pytest.raises(OSError, match="full"), loading.hub_errors("a/b"):
        raise OSError(28, "full")


def test_the_tiny_model_loads(tiny: Path) -> None:
    import torch

    model = loading.model(str(tiny), CPU)
    assert model.dtype == torch.float32
    assert loading.model(str(tiny), choose(Machine(), "bf16")).dtype == torch.bfloat16
    assert loading.tokenizer(str(tiny)).pad_token == "<|endoftext|>"


def test_chat_templates_are_told_without_loading(tiny: Path, tmp_path: Path) -> None:
    assert loading.has_chat_template(str(tiny)) is True
    assert loading.has_chat_template(str(tiny_model(tmp_path / "base", chat=False))) is False
    assert loading.has_chat_template("owner/name") is None


def broken(tiny: Path, folder: Path, damage: str) -> str:
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    match damage:
        case "no config":
            (folder / "config.json").unlink()
        case "no weights":
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        case "cut weights":
            (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:99])
        case "unknown type":
            (folder / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch"}))
        case "no language model":
            (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
        case "remote code":
            more = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnLM"}}
            (folder / "config.json").write_text(json.dumps(config | more))
            (folder / "own.py").write_text("raise SystemExit('the code ran')")
    return str(folder)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("no config", "model.unknown"),
        ("no weights", "model.no_safetensors"),
        ("cut weights", "model.broken"),
        ("unknown type", "model.invalid"),
        ("no language model", "model.invalid"),
        ("remote code", "model.remote_code"),
    ],
)
def test_folders_that_cannot_be_used(tiny: Path, tmp_path: Path, damage: str, code: str) -> None:
    place = broken(tiny, tmp_path / "model", damage)
    with pytest.raises(LabError) as caught:
        loading.model(place, CPU)
    assert caught.value.code == code
    assert caught.value.hint

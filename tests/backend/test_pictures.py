"""Drawing through the real Lab and its worker, with tiny pipelines."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend import events as ev
from backend import pictures
from backend.engines.picture import metadata, write
from backend.errors import BadInput, LabError, NotFound
from backend.jobs import Job
from backend.lab import Lab
from backend.settings import Settings
from backend.starter import MODEL_ID
from tests import tiny_images


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_image: Path) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab") / "home"
    shutil.copytree(tiny_image, home / "models" / "tiny")
    opened = Lab.open(Settings.read({**os.environ, "ATELIER_HOME": str(home)}), lambda settings: ())
    yield opened
    opened.close()


def asked(**more: Any) -> dict[str, Any]:
    return {"prompt": "a red cat", "model": "models/tiny", "steps": 3, **more}


def drawn(lab: Lab, owner: str, **more: Any) -> list[str]:
    return [e.file for e in lab.stream("image", asked(**more), owner) if isinstance(e, ev.Produced) and e.name]


def pixels(file: str) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image).astype(int)


def test_two_visitors_with_different_adapters_at_once_get_their_own_pictures(
    lab: Lab, tiny_image: Path, tmp_path: Path
) -> None:
    wants: dict[str, dict[str, Any]] = {"cid": {}}
    for seed, owner in enumerate(("ann", "bob")):
        file = tiny_images.tiny_lora(tmp_path / owner, tiny_image, seed) / "pytorch_lora_weights.safetensors"
        wants[owner] = {"adapters": [{"name": lab.upload(owner, file), "weight": 1.0}]}
    alone = {owner: [pixels(file) for file in drawn(lab, owner, count=3, **want)] for owner, want in wants.items()}
    for other in ("bob", "cid"):
        assert abs(alone["ann"][0] - alone[other][0]).mean() > 0.5
    together: dict[str, list[str]] = {}
    threads = [
        threading.Thread(
            target=lambda owner=owner: together.update({owner: drawn(lab, owner, count=3, **wants[owner])})
        )
        for owner in wants
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for owner, files in together.items():
        assert [abs(pixels(file) - one).max() for file, one in zip(files, alone[owner], strict=True)] == [0, 0, 0], (
            owner
        )
    with pytest.raises(NotFound):  # bob's upload is bob's
        drawn(lab, "ann", **wants["bob"])


def test_a_gallery_is_its_owners_and_tells_how_each_was_made(lab: Lab) -> None:
    drawn(lab, "dora", seed=1)
    [file] = drawn(lab, "dora", seed=2, negative_prompt="moon")
    listed = lab.pictures.list("dora")
    assert [one["settings"]["seed"] for one in listed] == [2, 1]
    assert listed[0]["file"] == file
    told = lab.pictures.settings(file)
    assert told == listed[0]["settings"]
    assert (told["model"], told["negative_prompt"]) == ("models/tiny", "moon")
    assert "/" not in told["model"].removeprefix("models/")
    [again] = drawn(lab, "dora", **told)
    assert abs(pixels(again) - pixels(file)).max() == 0
    assert lab.pictures.list("eve") == []
    with pytest.raises(NotFound):
        lab.pictures.remove("eve", listed[0]["name"])
    with pytest.raises(NotFound):
        lab.pictures.remove("dora", f"../../models/{listed[0]['name']}")
    lab.pictures.remove("dora", listed[0]["name"])
    assert len(lab.pictures.list("dora")) == 2


def test_a_full_gallery_lets_its_oldest_go_and_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST", 2)
    drawn(lab, "fay", count=2)
    events = list(lab.stream("image", asked(seed=9), "fay"))
    assert any("newest 2 pictures" in one.text for one in events if isinstance(one, ev.Logged))
    assert [one["settings"]["seed"] for one in lab.pictures.list("fay")] == [9, 1]
    folder = lab.pictures.folder("fay")
    write(Image.new("RGB", (8, 8)), folder / "bare.png", {})
    assert lab.pictures.list("fay")[0]["settings"] == {}
    monkeypatch.setattr(pictures, "MOST_BYTES", 1)
    assert "3 older ones are gone" in lab.pictures.bound("fay")


def test_text_answers_go_on_while_a_picture_is_drawn(lab: Lab, home: Path, tmp_path: Path) -> None:
    from tests.tiny import tiny_model

    model = lab.settings.home / "models" / "talks"
    if not model.exists():
        tiny_model(model)
    drawing = lab.stream("image", asked(steps=200, count=8), "gil")
    for event in drawing:
        if isinstance(event, ev.Progressed):
            break
    said = list(lab.stream("text", {"messages": [{"role": "user", "content": "hi"}], "model": str(model),
                                    "max_new_tokens": 5, "temperature": 0}, "hal"))  # fmt: skip
    assert isinstance(said[-1], ev.Finished)
    event = next(one for one in drawing if isinstance(one, ev.Progressed))
    assert event.done < 1600  # it is not over yet
    drawing.close()


def test_who_waits_is_told_the_place_and_can_leave(lab: Lab) -> None:
    first = lab.stream("image", asked(steps=200, count=8), "ida")
    assert next(one for one in first if isinstance(one, ev.Progressed))
    second = lab.stream("image", asked(model=str(lab.settings.home / "models" / "tiny") + "/"), "jan")
    assert next(one.text for one in second if isinstance(one, ev.Logged)) == "1 request before yours"
    second.close()
    first.close()
    assert len(drawn(lab, "ida")) == 1


def test_names_are_checked_before_anything_is_loaded(lab: Lab) -> None:
    for name, code in (("no such thing", "model.invalid"), ("models/none", "model.unknown"), ("me/none", "hub.")):
        with pytest.raises(LabError) as caught:
            drawn(lab, "ann", model=name)
        assert caught.value.code.startswith(code)
    with pytest.raises(BadInput, match="writes text"):
        drawn(lab, "ann", model=MODEL_ID)
    with pytest.raises(BadInput, match="count is 100"):
        drawn(lab, "ann", count=100)
    with pytest.raises(BadInput, match="no setting 'stepps'; did you mean 'steps'"):
        drawn(lab, "ann", stepps=1)


def test_models_that_draw_are_listed(lab: Lab) -> None:
    names = [one.name for one in lab.image_models()]
    assert names[:2] == ["atelier/emoji-64", "models/tiny"]
    assert lab.image_models("tin")[0].name == "models/tiny"
    assert lab.image_adapters("nobody", "models/tiny") == []


def test_an_uploaded_adapter_is_listed_with_adapters_and_not_with_data(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "pip.safetensors").write_bytes(b"weights")
    (tmp_path / "rows.csv").write_text("text\na\n")
    adapter, rows = lab.upload("alice", tmp_path / "pip.safetensors"), lab.upload("alice", tmp_path / "rows.csv")
    uploaded = [one.name for one in lab.datasets("alice") if one.source == "upload"]
    assert uploaded == [rows]
    assert [one.name for one in lab.image_adapters("alice")] == [adapter]
    assert lab.image_adapters("nobody") == []


def test_what_a_run_taught_is_listed_and_worn_by_its_owner(lab: Lab, tiny_image: Path) -> None:
    run = lab.store.add(Job("image_lora", {"model": "models/tiny"}, "local", "kim"), {})
    folder = tiny_images.tiny_lora(run.folder / "adapter", tiny_image)
    (folder / "adapter.json").write_text(json.dumps({"base_model": "x", "kind": "image_lora", "token": "a sks cat"}))
    [entry] = lab.image_adapters("kim", "models/tiny")
    assert (entry.name, entry.note, entry.fits) == (f"run/{run.id}", "image lora · a sks cat", True)
    assert [one.fits for one in lab.image_adapters("kim")] == [False]  # the starter is another model
    worn = {"adapters": [{"name": entry.name, "weight": 1}]}
    [plain], [taught] = drawn(lab, "kim"), drawn(lab, "kim", **worn)
    assert abs(pixels(plain) - pixels(taught)).mean() > 0.5
    assert lab.pictures.settings(taught)["adapters"] == worn["adapters"]
    with pytest.raises(NotFound):
        drawn(lab, "leo", **worn)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_the_code_draws_the_same_picture(
    lab: Lab, tmp_path: Path, tiny_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = tiny_images.tiny_lora(tmp_path / "lora", tiny_image) / "pytorch_lora_weights.safetensors"
    words = tiny_images.tiny_words(tmp_path / "words")
    want: dict[str, Any] = {"seed": 4, "guidance": 3.0, "scheduler": "euler", "prompt": "a <thing>"}
    want |= {"adapters": [{"name": str(lora), "weight": 0.5}, {"name": str(words)}]}
    [file] = drawn(lab, "ann", **want)
    code = lab.code("image", asked(**want), "ann")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert abs(pixels(str(tmp_path / "picture-1.png")) - pixels(file)).max() == 0


@pytest.mark.parametrize("model", ["", "models/tiny"])
def test_the_code_paints_the_same_within_a_mask(
    model: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 32 if model else 64
    Image.effect_noise((side, side), 60).convert("RGB").save(tmp_path / "noise.png")
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (side // 2, 0, side, side))
    mask.save(tmp_path / "mask.png")
    want = {"model": model, "image": str(tmp_path / "noise.png"), "mask": str(tmp_path / "mask.png"), "strength": 0.8}
    [file] = drawn(lab, "ann", **want)
    monkeypatch.chdir(tmp_path)
    exec(lab.code("image", asked(**want), "ann"), {})
    assert abs(pixels(str(tmp_path / "picture-1.png")) - pixels(file)).max() <= 1


def test_settings_of_other_programs_come_as_ours(lab: Lab, tmp_path: Path) -> None:
    texts = metadata({"prompt": "a cat", "steps": 5, "guidance": 2.0, "seed": 3, "width": 8, "height": 8, "model": "x"})
    file = write(Image.new("RGB", (8, 8)), tmp_path / "one.png", {"parameters": texts["parameters"]})
    assert lab.pictures.settings(file)["steps"] == 5

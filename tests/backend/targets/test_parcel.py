"""What travels with a run, and what is seen in what came back."""

from __future__ import annotations

import json
from pathlib import Path

from backend.targets.parcel import opens, packed, requirements


def test_files_that_params_name_travel_and_names_of_the_hub_do_not(tmp_path: Path) -> None:
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "sub" / "weights").write_text("w")
    (tmp_path / "rows.jsonl").write_text("{}")
    params = {
        "model": str(tmp_path / "model"), "dataset": str(tmp_path / "rows.jsonl"), "reward": "ann/judge",
        "max_steps": 3,
        "models": [f"ann/base + {tmp_path}/model"], "start_from": "", "missing": "/no/such/place",
    }  # fmt: skip
    there, inputs = packed(params)
    assert there["model"] == "job/inputs/0/model"
    assert there["dataset"] == "job/inputs/1/rows.jsonl"
    assert (there["reward"], there["max_steps"], there["start_from"], there["missing"]) == (
        *("ann/judge", 3, "", "/no/such/place"),
    )
    assert sorted(inputs)[:3] == [
        *("job/inputs/0/model/config.json", "job/inputs/0/model/sub/weights", "job/inputs/1/rows.jsonl"),
    ]


def test_what_is_installed_there_is_what_is_installed_here() -> None:
    lines = requirements().splitlines()
    assert any(line.startswith("trl==") for line in lines)
    assert any(line.startswith("torch>=") for line in lines)
    assert not any(line.startswith(("gradio", "playwright", "deepspeed")) for line in lines)
    assert requirements("zero3").splitlines() == [*lines, "deepspeed"]


def test_weights_that_were_cut_off_do_not_open(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + b"12345678"
    (tmp_path / "a").write_bytes(whole)
    (tmp_path / "b").write_bytes(whole[:-1])
    (tmp_path / "c").write_bytes(b"not at all")
    assert [opens(tmp_path / name) for name in "abc"] == [True, False, False]

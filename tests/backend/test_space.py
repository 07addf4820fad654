"""What would become a Space, and that it is enough."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from backend import space
from backend.errors import BadInput
from tests.conftest import ROOT


def test_what_goes_is_enough_to_serve(tmp_path):
    shipment = space.pack(env={})
    assert {"app.py", "README.md", "requirements.txt", "ui/style.css"} <= set(shipment.files)
    assert not [name for name in shipment.files if name.startswith(("tests/", ".", "Makefile"))]
    for name in shipment.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    code = (
        "from pathlib import Path; import ui.shell; from backend.lab import Lab; from backend.settings import Settings;"
        "lab = Lab.open(Settings.read(), lambda s: ()); print(len(ui.shell.api.__name__))"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr


def test_a_dry_run_prints_and_sends_nothing(capsys, monkeypatch):
    monkeypatch.setattr(space, "publish", lambda *_, **__: pytest.fail("nothing may be sent"))
    assert space.main(["mine"]) == 0
    told = capsys.readouterr().out
    assert "app.py" in told
    assert "sdk: gradio" in told
    assert "Nothing was sent" in told


def test_the_owners_wishes_go_along_and_secrets_stay():
    env = {"ATELIER_TRAINING": "owner", "ATELIER_HOME": "/x", "ATELIER_SECRETS_KEY": "s3cret", "HF_TOKEN": "hf_x"}
    assert space.pack(env=env).variables == {"ATELIER_TRAINING": "owner"}


def test_a_front_matter_that_would_not_start_is_refused(tmp_path):
    (tmp_path / "requirements.txt").write_text("gradio[oauth]==1.0\n")
    (tmp_path / "README.md").write_text("---\nsdk: gradio\nsdk_version: 2.0\napp_file: app.py\n---\n")
    with pytest.raises(BadInput, match="asks for another Gradio"):
        space.front_matter(tmp_path)
    (tmp_path / "README.md").write_text("# no settings\n")
    with pytest.raises(BadInput, match="no front matter"):
        space.front_matter(tmp_path)


def test_one_commit_with_variables_and_volume(monkeypatch):
    """The Hub is not here; what it is asked for is."""
    asked = []

    class Hub:
        def __getattr__(self, name):
            def call(*given, **more):
                asked.append((name, given, more))
                return {"name": "ann"} if name == "whoami" else "https://huggingface.co/spaces/ann/mine"

            return call

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    shipment = SimpleNamespace(files={"app.py": 1}, variables={"ATELIER_TABS": "text"})
    place = space.publish("mine", shipment, private=True, hardware="zero-a10g", volume="ann/runs")
    assert place.endswith("ann/mine")
    calls = {name: (given, more) for name, given, more in asked}
    assert calls["create_repo"][0] == ("ann/mine",)
    assert calls["create_repo"][1]["space_hardware"] == "zero-a10g"
    assert calls["add_space_variable"][0] == ("ann/mine", "ATELIER_TABS", "text")
    assert calls["set_space_volumes"][1]["volumes"][0].mount_path == "/data"
    assert calls["upload_folder"][1]["allow_patterns"] == ["app.py"]

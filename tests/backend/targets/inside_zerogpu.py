"""Run by test_zerogpu.py in a process of its own, since `spaces` must come before torch: the real client, on a CPU."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from tests.zerogpu import Device, token, without_cuda

DEVICE = Device(grace=0.2)
os.environ.update(DEVICE.env)
without_cuda()

from gradio.context import LocalContext  # noqa: E402
from starlette.datastructures import Headers  # noqa: E402

from backend import events as ev  # noqa: E402
from backend.answers import Answers  # noqa: E402
from backend.engines.image import ImageParams  # noqa: E402
from backend.engines.picture import settings_of  # noqa: E402
from backend.errors import BadInput, Refused  # noqa: E402
from backend.lab import Lab  # noqa: E402
from backend.quota import Quotas  # noqa: E402
from backend.settings import Settings  # noqa: E402
from backend.speeds import Speeds  # noqa: E402
from backend.targets import gpu_worker, zerogpu  # noqa: E402
from backend.targets.local import Local  # noqa: E402
from tests.tiny import tiny_model  # noqa: E402
from tests.tiny_images import tiny_pipeline  # noqa: E402

PLAIN = {"logging_steps": 1, "sample_prompts": 0, "eval_rows": 0, "save_steps": 10_000}


@pytest.fixture(scope="session", autouse=True)
def pinned(tmp_path_factory):
    """A chat model and one that draws, placed before any worker is forked."""
    folder = tmp_path_factory.mktemp("pinned")
    text, image = str(tiny_model(folder / "text")), str(tiny_pipeline(folder / "image"))
    gpu_worker.warm()
    gpu_worker.place([text, f"image:{image}", str(folder / "nothing")])
    return text, image


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def device():
    """Full quotas, nothing asked yet; the request at hand is Ann's."""
    DEVICE.quotas, DEVICE.used = {"": 120, "ann": 10_000, "bob": 20, "pro-cem": 10_000}, {}
    DEVICE.asked.clear()
    DEVICE.killed.clear()
    DEVICE.longest, DEVICE.patience, DEVICE.pending, DEVICE.away = 120, 60, False, False
    visit("ann")
    yield DEVICE
    assert DEVICE._holder is None, "whoever was lent the GPU has given it back"


def visit(user: str, at: float | None = None) -> None:
    LocalContext.request.set(SimpleNamespace(headers=Headers({"x-ip-token": token(user, at)})))


class Cpu:
    """The engine's process of a machine on which everything fits."""

    def stream(self, engine, params, owner=""):
        if engine == "fit":
            yield ev.Finished(values={"fits": True, "parameters": 40_000})
        else:
            yield ev.Wrote(text="from the CPU")
            yield ev.Finished(reason="stop")


@pytest.fixture
def answers(tmp_path):
    return Answers(Cpu(), gpu_worker.answer, Quotas(), Speeds(tmp_path / "speeds.json"))


def question(model: str, **more):
    return {"messages": [{"role": "user", "content": "Hi"}], "model": model, "max_new_tokens": 8, "seed": 1} | more


def said(events) -> str:
    return "".join(event.text for event in events if isinstance(event, ev.Wrote))


# -- answers ----------------------------------------------------------------------------------------------------


def test_the_worker_is_kept_and_asked_for_less(answers, model, device):
    first = list(answers.stream("text", question(model), "user-ann"))
    worker = device._last
    second = list(answers.stream("text", question(model), "user-ann"))
    assert isinstance(first[-1], ev.Finished)
    assert said(first) == said(second) != ""
    assert device._last == worker
    assert [asked["user"] for asked in device.asked] == ["ann", "ann"]
    assert device.asked[1]["seconds"] < device.asked[0]["seconds"], "measured speed replaces the guess"
    assert "Loading" in first[0].text
    assert isinstance(second[0], ev.Started), "the model stayed"


def test_what_is_pinned_is_there_when_a_worker_begins(answers, pinned, tmp_path):
    text, image = pinned
    events = list(answers.stream("text", question(text), "user-ann"))
    assert isinstance(events[0], ev.Started), events[0]
    assert said(events)
    asked = ImageParams(prompt="a red cat", model=image, folder=str(tmp_path / "out"), steps=2, width=32)
    events = list(answers.stream("image", asked.model_dump(), "user-ann"))
    assert isinstance(events[0], ev.Started), events[0]
    assert any(isinstance(event, ev.Produced) and event.kind == "picture" for event in events)


def test_stop_works_within_a_step_and_keeps_the_worker(answers, model, device):
    list(answers.stream("text", question(model), "user-ann"))
    worker = device._last
    answer = answers.stream("text", question(model, max_new_tokens=400, temperature=2.0), "user-ann")
    for event in answer:
        if isinstance(event, ev.Wrote):
            break
    began = time.monotonic()
    answer.close()
    assert time.monotonic() - began < 1
    assert device._holder is None
    list(answers.stream("text", question(model), "user-ann"))
    assert device._last == worker


def test_pictures_are_drawn_there_and_asked_for_by_steps(answers, device, tmp_path):
    model = str(tiny_pipeline(tmp_path / "tiny"))

    def drawn(**more):
        asked = ImageParams(prompt="a red cat", model=model, folder=str(tmp_path / "out"), steps=4, width=32, **more)
        return list(answers.stream("image", asked.model_dump(), "user-ann"))

    first, second = drawn(), drawn(seed=1)
    assert "Loading" in first[0].text
    [picture] = [event for event in second if isinstance(event, ev.Produced) and event.kind == "picture"]
    assert settings_of(picture.file)["seed"] == 1
    assert [asked["user"] for asked in device.asked] == ["ann", "ann"]
    assert device.asked[1]["seconds"] < device.asked[0]["seconds"], "measured speed replaces the guess"
    long = ImageParams(prompt="a", model=model, folder=str(tmp_path), steps=200, count=8, width=32).model_dump()
    drawing = answers.stream("image", long, "user-ann")
    for event in drawing:
        if isinstance(event, ev.Progressed):
            break
    began = time.monotonic()
    drawing.close()
    assert time.monotonic() - began < 1
    assert device.asked[2]["seconds"] > device.asked[1]["seconds"], "1,600 steps"


def test_the_starter_draws_without_a_quota_and_no_other_falls_to_the_cpu(answers, device):
    asked = ImageParams(prompt="a red cat").model_dump()
    assert said(answers.stream("image", asked, "user-bob")) == "from the CPU"
    assert device.asked == []
    visit("bob")
    with pytest.raises(Refused):
        list(answers.stream("image", asked | {"model": "me/large", "steps": 200, "count": 8}, "user-bob"))


def test_an_error_in_the_worker_is_told_as_ours(answers, tmp_path):
    last = list(answers.stream("text", question(str(tmp_path / "nothing")), "user-ann"))[-1]
    assert isinstance(last, ev.Failed)
    assert last.code != "broken"
    assert "nothing" in last.message


def asks(seconds: int, model: str):
    return list(gpu_worker.answer("text", question(model), seconds))


def test_each_refusal_says_what_to_do(model, device):
    def code(seconds: int = 10) -> str:
        with pytest.raises(Refused) as refused:
            asks(seconds, model)
        assert refused.value.hint
        return refused.value.code

    device.longest = 5
    assert code() == "zerogpu.duration"
    device.longest, device.pending = 120, True
    assert code() == "zerogpu.pending"
    device.pending, device.away = False, True
    assert code() == "zerogpu.refused"
    device.away = False
    visit("ann", time.time() - 61)
    assert code() == "zerogpu.expired", "a visitor's leave lasts 60 s"
    visit("bob")
    assert code(21) == "zerogpu.quota"
    LocalContext.request.set(None)
    assert code(121) in ("zerogpu.unknown", "zerogpu.duration")


def test_waiting_for_a_gpu_ends_in_a_grant_or_a_word(model, device):
    device.occupy(1.0)
    began = time.monotonic()
    assert isinstance(asks(5, model)[-1], ev.Finished)
    assert time.monotonic() - began >= 0.9
    device.patience = 0.3
    device.occupy(2.0)
    with pytest.raises(Refused, match="No GPU became free"):
        asks(5, model)
    while device._holder is not None:
        time.sleep(0.05)


def test_without_quota_the_cpu_answers_and_says_so(answers, model, device):
    device.quotas["bob"] = 3
    visit("bob")
    events = list(answers.stream("text", question(model), "user-bob"))
    assert "3 s are left" in events[0].text
    assert said(events) == "from the CPU"
    assert answers.quotas.of("user-bob").left == 3, "the refusal told what is left"
    visit("ann")
    assert "from the CPU" not in said(answers.stream("text", question(model), "user-ann"))


def test_an_answer_that_takes_longer_than_declared_is_told(model, device, monkeypatch):
    monkeypatch.setattr(device, "grace", 0.02)
    with pytest.raises(Refused) as refused:
        list(gpu_worker.answer("text", question(model, max_new_tokens=480, temperature=2.0, repetition_penalty=1.1), 0))
    assert refused.value.code == "zerogpu.aborted"
    assert len(device.killed) == 1


# -- slices -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    settings = Settings.read({**os.environ, "ATELIER_HOME": str(tmp_path / "home"), "ATELIER_SLICE": "30"})
    quotas = Quotas()
    opened = Lab.open(
        settings,
        lambda s: (zerogpu.ZeroGPU(s.home, quotas, s.slice_seconds), Local(s.home, "cpu", s.child_env)),
        lambda process: Answers(process, gpu_worker.answer, quotas, Speeds(s_path(tmp_path))),
    )
    yield opened
    wait(lambda: not opened.targets["zerogpu"]._working)
    opened.close()


def s_path(folder):
    return folder / "speeds.json"


def wait(true, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def state(lab, run) -> str:
    return lab.status(run.id, "user-ann")["state"]


def curve(run) -> dict[int, float]:
    events, _ = ev.read(run.log)
    return {e.step: e.values["loss"] for e in events if isinstance(e, ev.Measured) and "loss" in e.values}


def step(run) -> int:
    return max([0, *curve(run)])


def to_the_end(lab, run, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while state(lab, run) not in ("finished", "failed", "cancelled"):
        lab.lending.turn("user-ann")
        time.sleep(0.02)
        assert time.monotonic() < until


def test_slices_learn_what_one_run_learns(lab, model, monkeypatch):
    params = PLAIN | {"model": model, "max_steps": 40, "lora_dropout": 0.1}
    whole = lab.launch("sft", params, "user-ann", "zerogpu")
    to_the_end(lab, whole)
    assert len([e for e in ev.read(whole.log)[0] if isinstance(e, ev.Started)]) == 1
    monkeypatch.setattr(zerogpu, "_saving", lambda run: 18.5)  # seconds thought to be needed: leaves about one
    sliced = lab.launch("sft", params, "user-ann", "zerogpu")
    assert state(lab, sliced) == "queued", "no page has asked yet"
    to_the_end(lab, sliced)
    slices = [e for e in ev.read(sliced.log)[0] if isinstance(e, ev.Started)]
    assert len(slices) > 1, "it was cut"
    assert len(curve(sliced)) == 40
    assert curve(sliced) == curve(whole)
    assert (sliced.folder / "adapter" / "adapter_config.json").exists()


def test_a_killed_worker_loses_no_event_and_the_run_goes_on(lab, model, device):
    params = PLAIN | {"model": model, "max_steps": 60, "save_steps": 10}
    run = lab.launch("sft", params, "user-ann", "zerogpu")
    lab.lending.turn("user-ann")
    wait(lambda: step(run) >= 15)
    worker = device._pids[device._holder.task]
    seen = step(run)
    os.kill(worker, signal.SIGKILL)
    wait(lambda: run.id not in lab.targets["zerogpu"]._working)
    assert all(isinstance(event, ev.Event) for event in ev.read(run.log)[0])
    assert sorted(curve(run)) == list(range(1, step(run) + 1)), "every step that was made is told"
    assert step(run) >= seen
    last = ev.read(run.log)[0][-1]
    assert isinstance(last, ev.Paused)
    assert "ZeroGPU ended the slice" in last.reason
    to_the_end(lab, run)
    assert state(lab, run) == "finished"
    assert sorted(curve(run)) == list(range(1, 61))


@pytest.mark.parametrize(("save", "ended"), [(True, "paused"), (False, "cancelled")])
def test_stop_and_cancel_within_a_step(lab, model, save, ended):
    run = lab.launch("sft", PLAIN | {"model": model, "max_steps": 5000}, "user-ann", "zerogpu")
    lab.lending.turn("user-ann")
    wait(lambda: step(run) >= 3)
    lab.cancel(run.id, "user-ann", save)
    wait(lambda: state(lab, run) == ended, 5)
    lab.lending.turn("user-ann")
    assert state(lab, run) == ended, "a page does not begin it again"
    if save:
        lab.resume(run.id, "user-ann")
        lab.lending.turn("user-ann")
        at = step(run)
        wait(lambda: step(run) > at + 2)
        lab.cancel(run.id, "user-ann", False)
        wait(lambda: state(lab, run) == "cancelled", 5)


def test_without_a_page_it_is_paused_and_says_how_to_go_on(lab, model, monkeypatch):
    monkeypatch.setattr(zerogpu, "_saving", lambda run: 19.0)
    run = lab.launch("sft", PLAIN | {"model": model, "max_steps": 60}, "user-ann", "zerogpu")
    lab.lending.turn("user-ann")
    wait(lambda: run.id not in lab.targets["zerogpu"]._working)
    assert state(lab, run) == "running", "the page is still open"
    monkeypatch.setattr(zerogpu, "_SEEN", 0.0)  # and now it is not
    told = lab.status(run.id, "user-ann")
    assert (told["state"], "open this page" in told["reason"]) == ("paused", True)


def test_a_slice_asks_for_no_more_than_there_is(lab, model, device):
    device.quotas["ann"] = 20
    run = lab.launch("sft", PLAIN | {"model": model, "max_steps": 10}, "user-ann", "zerogpu")
    to_the_end(lab, run)
    assert [(asked["seconds"], asked["status"]) for asked in device.asked] == [(30, 429), (20, 200)]


def test_no_time_left_pauses_with_what_to_do(lab, model, device):
    device.quotas["ann"] = 3
    run = lab.launch("sft", PLAIN | {"model": model, "max_steps": 10}, "user-ann", "zerogpu")
    lab.lending.turn("user-ann")
    told = lab.status(run.id, "user-ann")
    assert told["state"] == "paused"
    assert "3 s are left" in told["reason"]
    assert "6 h" in told["reason"]
    lab.lending.turn("user-ann")
    assert len(device.asked) == 1, "it is not asked again before there is more"


def test_the_price_is_told_before(lab, model):
    price = lab.preflight("sft", PLAIN | {"model": model, "max_steps": 10}, "user-ann", "zerogpu")["price"]
    assert "30 s" in price[0]
    assert any("5 min" in line for line in price)
    here = lab.preflight("sft", PLAIN | {"model": model, "max_steps": 10}, "user-ann", "local")["price"]
    assert here == ["No extra cost: it runs where this page is served."]


def test_only_what_can_be_cut_is_taken(lab):
    with pytest.raises(BadInput, match="evaluate does not run on ZeroGPU"):
        lab.launch("evaluate", {}, "user-ann", "zerogpu")
    assert lab.runs("user-ann") == []


def test_two_visitors_pay_for_themselves(lab, model, device):
    ann = lab.launch("sft", PLAIN | {"model": model, "max_steps": 5}, "user-ann", "zerogpu")
    bob = lab.launch("sft", PLAIN | {"model": model, "max_steps": 5}, "user-bob", "zerogpu")
    assert (lab.status(ann.id, "user-ann")["ahead"], lab.status(bob.id, "user-bob")["ahead"]) == (0, 0)
    device.quotas["bob"] = 60

    def page(owner: str) -> None:
        visit(owner)
        lab.lending.turn(f"user-{owner}")

    for owner in ("ann", "bob"):
        thread = threading.Thread(target=page, args=(owner,))
        thread.start()
        thread.join()
    wait(lambda: not lab.targets["zerogpu"]._working)
    assert [lab.status(run.id, run.job.owner)["state"] for run in (ann, bob)] == ["finished", "finished"]
    assert device.used["ann"] > 0
    assert device.used["bob"] > 0

"""The door, with the pretend target and no engine: what it checks, who may see what, what a run's state is."""

import json

import pytest

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.errors import BadData, BadInput, Broken, LabError, NotFound, NotYours
from backend.jobs import Job
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake, tiny_run
from tests.tiny import tiny_model


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def lab(home, fake):
    settings = Settings.read({"ATELIER_HOME": str(home)})
    return Lab(settings, Store(home), (fake,), EngineProcess(env={}))


def launch(lab, owner="ann", **params):
    return lab.launch("sft", params, owner, "fake")


def test_a_run_with_nothing_but_defaults(lab):
    run = launch(lab)
    told = lab.status(run.id, "ann")
    assert (told["state"], told["recipe"], told["target"]) == ("finished", "sft", "fake")
    assert told["progress"]["done"] == told["progress"]["total"] == 3
    assert told["params"]["dataset"] == "sample/instructions"
    assert told["metrics"]["train_loss"] == 1.0
    assert told["error"] is None


def test_watch_goes_on_from_its_cursor(lab, fake):
    fake.script = lambda run: [ev.Started()]
    run = launch(lab)
    first, cursor = lab.watch(run.id, "ann")
    assert [type(e) for e in first] == [ev.Started]
    assert lab.watch(run.id, "ann", cursor) == ([], cursor)
    fake.write(run, ev.Measured(step=1, values={"loss": 2.0}))
    then, _ = lab.watch(run.id, "ann", cursor)
    assert [e.values for e in then] == [{"loss": 2.0}]
    with pytest.raises(BadInput, match="after is -1"):
        lab.watch(run.id, "ann", -1)


@pytest.mark.parametrize("ask", ["status", "watch", "cancel", "resume", "run"])
def test_somebody_elses_run(lab, ask):
    run = launch(lab)
    with pytest.raises(NotYours, match="This run is not yours"):
        getattr(lab, ask)(run.id, "bob")
    assert lab.runs("bob") == []
    with pytest.raises(NotFound, match="no run 'nope'"):
        getattr(lab, ask)("nope", "ann")


def test_stop_then_resume(lab, fake):
    fake.script = lambda run: [ev.Started(), ev.Measured(step=1, values={"loss": 1.0})]
    run = launch(lab)
    assert lab.status(run.id, "ann")["state"] == "running"
    with pytest.raises(BadInput, match="is running; only a stopped run"):
        lab.resume(run.id, "ann")
    assert lab.cancel(run.id, "ann", save=True) == "paused"
    assert lab.cancel(run.id, "ann", save=False) == "paused", "what has ended is left alone"
    fake.script = tiny_run
    assert lab.resume(run.id, "ann") == "finished"
    with pytest.raises(BadInput, match="is finished"):
        lab.resume(run.id, "ann")


def test_a_run_goes_on_elsewhere(home, fake):
    """Refused a GPU, it goes on with the CPU; where its target is gone it can be read all the same."""
    other = Fake()
    other.name = "lent"
    other.script = lambda run: [ev.Started(), ev.Paused(step=2, reason="refused")]
    settings = Settings.read({"ATELIER_HOME": str(home)})
    both = Lab(settings, Store(home), (fake, other), EngineProcess(env={}))
    run = both.launch("sft", {}, "ann", "lent")
    assert both.status(run.id, "ann")["state"] == "paused"
    alone = Lab(settings, Store(home), (fake,), EngineProcess(env={}))
    assert [one["state"] for one in alone.runs("ann")] == ["paused"]
    with pytest.raises(NotFound, match="no target 'lent' here"):
        alone.resume(run.id, "ann")
    with pytest.raises(NotFound, match="no target 'moon' here"):
        alone.resume(run.id, "ann", "moon")
    assert alone.resume(run.id, "ann", "fake") == "finished"
    assert alone.status(run.id, "ann")["target"] == "fake"
    assert json.loads((run.folder / "job.json").read_text())["target"] == "fake"


def test_gone_without_a_word_is_failed_with_a_next_step(lab, fake):
    fake.script = lambda run: [ev.Started()]
    run = launch(lab)
    fake.living.clear()
    told = lab.status(run.id, "ann")
    assert told["state"] == "failed"
    assert "Resume" in told["error"]["hint"]


def test_a_new_server_tells_the_same(lab, fake, home):
    ids = [launch(lab).id for _ in range(5)]
    before = lab.runs("ann")
    again = Lab(lab.settings, Store(home), (fake,), EngineProcess(env={}))
    assert again.runs("ann") == before
    assert [run["id"] for run in before] == ids[::-1]


def test_the_remembered_summary_is_not_believed_once_the_log_has_grown(lab, fake, home):
    run = launch(lab)
    assert lab.runs("ann")[0]["state"] == "finished"
    fake.script = lambda run: [ev.Started(step=3), ev.Measured(step=9, values={"loss": 0.1})]
    fake.start(run)
    again = Lab(lab.settings, Store(home), (fake,), EngineProcess(env={}))
    assert again.runs("ann")[0]["state"] == "running"
    assert again.status(run.id, "ann")["metrics"]["loss"] == 0.1


@pytest.mark.parametrize(
    ("recipe", "params", "target", "message"),
    [
        ("nope", {}, "fake", "no recipe 'nope'"),
        ("sft", {}, "moon", "no target 'moon'"),
        ("sft", {"max_steps": 0}, "fake", "max_steps is 0; use at least 1"),
        ("sft", {"max_steps": -5}, "fake", "max_steps is -5"),
        ("sft", {"max_steps": 10**12}, "fake", "max_steps is 1000000000000"),
        ("sft", {"learning_rate": "fast"}, "fake", "learning_rate is 'fast'"),
        ("sft", {"steps": 3}, "fake", "steps"),
        ("sft", {"model": "no/such-model"}, "fake", "no/such-model"),
        ("sft", {"model": "a b c"}, "fake", "'a b c' is neither a Hub id nor a folder"),
        ("sft", {"model": "/no/such/folder"}, "fake", "'/no/such/folder' is not a model folder"),
        ("sft", {"dataset": "sample/nope"}, "fake", "no sample 'sample/nope'"),
        ("sft", {"dataset": "upload/abc/x.jsonl"}, "fake", "no upload 'upload/abc/x.jsonl' of yours"),
        ("sft", {"dataset": "/no/such.jsonl"}, "fake", "no file '/no/such.jsonl'"),
        ("sft", {"adapter": "glue"}, "fake", "glue"),
    ],
)
def test_bad_requests_are_answered_before_anything_is_made(lab, recipe, params, target, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LabError) as caught:
        lab.launch(recipe, params, "ann", target)
    assert message in str(caught.value)
    assert caught.value.hint or "use " in caught.value.message, "says what to do next"
    assert lab.runs("ann") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "empty"),
        ("picture.jsonl", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "picture.jsonl"),
        ("page.csv", b"<!doctype html><html><body>404</body></html>", "page.csv"),
        ("not.parquet", b"a,b\n1,2\n", "not.parquet"),
        ("one.jsonl", b'{"prompt": "a", "completion": "b"}\n', "1 row"),
        ("other.jsonl", b'{"a": "x"}\n{"a": "y"}\n', "a"),
        ("types.jsonl", b'{"prompt": "a", "completion": "b"}\n{"prompt": 5, "completion": "b"}\n', "2"),
    ],
)
def test_bad_files_are_told_before_the_run(lab, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    dataset = lab.upload("ann", tmp_path / name)
    with pytest.raises(BadData) as caught:
        launch(lab, dataset=dataset)
    assert message in str(caught.value)
    assert lab.runs("ann") == []
    assert lab.store.uploaded(dataset, "ann").read_bytes() == content, "the file is still there"


def test_on_a_shared_server_paths_are_not_read(home, tmp_path):
    settings = Settings.read({"ATELIER_HOME": str(home), "GRADIO_SERVER_NAME": "0.0.0.0"})
    lab = Lab(settings, Store(home), (Fake(),), EngineProcess(env={}))
    for params in ({"model": "/etc"}, {"dataset": "/etc/passwd"}):
        with pytest.raises(BadInput, match="paths are not read"):
            launch(lab, **params)


def test_adapters_of_a_model(lab):
    run = launch(lab)
    assert lab.adapters("ann") == []
    with pytest.raises(NotFound, match="no adapter yet"):
        lab.catalog.adapter(f"run/{run.id}", "ann")
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "adapter_config.json").write_text("{}")
    assert [entry.name for entry in lab.adapters("ann")] == [f"run/{run.id}"]
    assert lab.adapters("bob") == []
    with pytest.raises(NotFound):
        lab.catalog.adapter(f"run/{run.id}", "bob")


def test_the_unknown_is_caught_once_and_logged(lab, monkeypatch, caplog):
    def breaks(*_):
        raise ZeroDivisionError("secret details")

    monkeypatch.setattr(lab.store, "runs", breaks)
    with pytest.raises(Broken, match="Something broke on our side") as caught:
        lab.runs("ann")
    assert "secret details" not in str(caught.value)
    assert "secret details" in caplog.text


def test_no_secret_is_stored(home, fake):
    settings = Settings.read({"ATELIER_HOME": str(home), "HF_TOKEN": "hf_averysecretvalue123"})
    lab = Lab(settings, Store(home), (fake,), EngineProcess(env={}))
    launch(lab)
    for path in home.rglob("*"):
        if path.is_file():
            assert b"averysecret" not in path.read_bytes(), path


def test_rows_that_are_too_long_are_told_before_the_run(lab, monkeypatch):
    long = {"problem": {"code": "data.long", "message": "Row 2 is longer than 8 tokens.", "hint": "Cut it."}}
    monkeypatch.setattr(lab.lenses, "look", lambda recipe, params: {"long": long})
    for ask in (launch, lambda lab, **params: lab.preflight("sft", params, "ann", "fake")):
        with pytest.raises(BadData, match="Row 2 is longer than 8 tokens"):
            ask(lab, long_rows="stop")
    assert lab.runs("ann") == []
    launch(lab, long_rows="cut")


def test_two_launches_at_once_are_two_runs(lab):
    first, second = launch(lab), launch(lab)
    assert first.id != second.id
    assert lab.store.run(first.id).job == Job("sft", lab.status(first.id, "ann")["params"], "fake", "ann")


def test_code_names_this_disk_on_a_server_of_ones_own(lab, starter):
    text = lab.code("sft", {"max_steps": 2}, "ann")
    assert str(starter) in text
    assert "instructions.jsonl" in text
    compile(text, "run.py", "exec")
    asked = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
    chat = lab.code("chat", asked, "ann")
    assert str(starter) in chat
    compile(chat, "chat.py", "exec")


def test_code_shows_strangers_no_path(home, tmp_path, starter):
    settings = Settings.read({"ATELIER_HOME": str(home), "SPACE_ID": "a/b", "ATELIER_STARTER": str(starter.parent)})
    lab = Lab(settings, Store(home), (Fake(),), EngineProcess(env={}))
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 4)
    mine = lab.upload("ann", tmp_path / "mine.jsonl")
    for dataset in ("sample/instructions", mine):
        text = lab.code("sft", {"dataset": dataset}, "ann")
        assert "HuggingFaceTB/SmolLM2-135M-Instruct" in text
        for place in (str(home), str(starter), str(starter.parent)):
            assert place not in text
        compile(text, "run.py", "exec")
    assert "mine.jsonl" in text


def test_a_model_at_a_provider_wants_the_askers_own_token(lab, monkeypatch):
    asked = {"model": "org/big:fast", "messages": [{"role": "user", "content": "hi"}]}
    lab.token = lambda owner: "hf_ann" if owner == "ann" else ""
    monkeypatch.setattr(
        lab.remote, "_answer", lambda request, provider, token: iter([ev.Wrote(text=f"{provider} {token}")])
    )
    assert next(lab.stream("text", asked, "ann")).text == "fast hf_ann"
    with pytest.raises(LabError, match="Sign in") as caught:
        next(lab.stream("text", asked, "bob"))
    assert caught.value.code == "provider.sign_in"


def test_the_engine_tells_owners_apart_and_knows_no_name(lab, monkeypatch):
    told = []

    def stream(engine, params, owner):
        told.append(owner)
        return iter([ev.Finished()])

    monkeypatch.setattr(lab.engine, "stream", stream)
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    for owner in ("ann", "bob", "ann"):
        list(lab.stream("text", asked, owner))
    assert told[0] == told[2] != told[1]
    assert not any(name in alias for alias in told for name in ("ann", "bob"))


def test_the_machine_s_own_sign_in_is_lent_to_nobody_else(home, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_own")
    for env, token in (({}, "hf_own"), ({"GRADIO_SHARE": "1"}, "")):
        settings = Settings.read({"ATELIER_HOME": str(home)} | env)
        assert Lab(settings, Store(home), (Fake(),), EngineProcess(env={})).token("ann") == token


def test_offers_are_listed_when_a_name_is_looked_for(lab, monkeypatch):
    from backend.engines.remote import Offer

    monkeypatch.setattr(lab.catalog, "search", lambda query, task: [])
    monkeypatch.setattr(lab.remote, "offers", lambda query: [Offer("org/big", "fast", price_in=0.2, price_out=0.6)])
    last = lab.models("big")[-1]
    assert (last.name, last.source) == ("org/big:fast", "provider")
    assert "$0.20 in" in last.note
    assert "provider" not in {entry.source for entry in [*lab.models(), *lab.models("big", "summarization")]}


def test_preflight_tells_what_a_run_would_take(lab, fake, tmp_path):
    asked = {"model": str(tiny_model(tmp_path / "model")), "max_steps": 40}
    told = lab.preflight("dpo", asked, "ann", "fake")
    assert told["verdict"]["level"] == "ok"
    assert told["time"] == {"steps": 40, "seconds_per_step": None, "seconds": None}
    with pytest.raises(BadInput, match="is 6, and num_generations is 4"):
        lab.preflight("grpo", asked | {"per_device_train_batch_size": 6, "num_generations": 4}, "ann", "fake")


def test_a_dry_run_tells_what_the_formula_does_not(lab, fake, tmp_path):
    asked = {"model": str(tiny_model(tmp_path / "model")), "max_steps": 40}
    values = {"memory_gb": 1.5, "seconds_per_step": 0.5, "steps": 3}
    fake.script = lambda run: [ev.Started(), ev.Finished(reason="dry run", values=values)]
    run = lab.dry_run("dpo", asked, "ann", "fake")
    assert lab.run(run.id, "ann").job.params["dry_run"] is True
    told = lab.preflight("dpo", asked, "ann", "fake")
    assert (told["memory"]["needed"], told["memory"]["measured"]) == (1_500_000_000, True)
    assert told["time"] == {"steps": 40, "seconds_per_step": 0.5, "seconds": 20.0}
    other = lab.preflight("dpo", asked | {"max_length": 64}, "ann", "fake")
    assert not other["memory"]["measured"], "it was measured with other settings"


def test_a_cell_that_is_off_says_why(lab, monkeypatch):
    monkeypatch.setattr("backend.resolving.why_not", lambda method, adapter: "it is dark")
    with pytest.raises(BadInput, match="dpo can't train ia3 here: it is dark"):
        lab.launch("dpo", {"adapter": "ia3"}, "ann", "fake")


def test_a_reward_is_a_name_or_a_run_of_ones_own(lab):
    judge = launch(lab)
    (judge.folder / "adapter").mkdir()
    entries = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "x"}
    (judge.folder / "adapter" / "adapter_config.json").write_text(json.dumps(entries))

    def asked(reward, owner="ann"):
        run = lab.launch("ppo", {"reward": reward}, owner, "fake")
        return run.job.params["reward"], json.loads((run.folder / "params.json").read_text())["reward"]

    assert asked("length:12") == ("length:12", "length:12")
    assert asked(f"run/{judge.id}") == (f"run/{judge.id}", str(judge.folder / "adapter"))
    assert {judge.id: "reward"} in [one["sources"] for one in lab.lineage(judge.id, "ann")]
    with pytest.raises(LabError):
        asked(f"run/{judge.id}", "bob")
    entries["task_type"] = "CAUSAL_LM"
    (judge.folder / "adapter" / "adapter_config.json").write_text(json.dumps(entries))
    with pytest.raises(BadInput, match="not one that scores"):
        asked(f"run/{judge.id}")

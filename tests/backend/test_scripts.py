from backend.engines.client import EngineProcess
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake


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

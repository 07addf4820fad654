import pytest

from backend.errors import BadInput, NotYours
from backend.jobs import Job
from backend.rules import Rules
from backend.settings import Settings
from backend.store import Store

SPACE = {"SPACE_ID": "ann/atelier", "SPACE_AUTHOR_NAME": "ann"}


@pytest.fixture
def rules(tmp_path):
    def made(**env):
        return Rules(Settings.read({**SPACE, **env, "ATELIER_HOME": str(tmp_path)}), Store(tmp_path))

    return made


def test_without_variables_all_is_allowed(rules):
    none = rules()
    none.model("someone/big", "visitor-1")
    none.answer({"max_new_tokens": 8000}, "visitor-1")
    none.train("visitor-1")


def test_models_by_pattern_and_the_starter_always(rules):
    some = rules(ATELIER_MODELS="Qwen/*, HuggingFaceTB/SmolLM2-*")
    for name in (
        "",
        "qwen/Qwen3-0.6B",
        "HuggingFaceTB/SmolLM2-360M",
        "run/ab12",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "sentence-transformers/all-MiniLM-L6-v2",  # what sorts, compares and groups texts comes with Atelier, too
    ):
        some.model(name, "visitor-1")
    with pytest.raises(BadInput, match=r"someone/big is not among"):
        some.answer({"model": "someone/big"}, "visitor-1")
    some.model("someone/big", "user-ann")  # whose Space it is


def test_the_longest_answer(rules):
    with pytest.raises(BadInput, match="at most 200"):
        rules(ATELIER_ANSWER_TOKENS="200").answer({"max_new_tokens": 201}, "user-bob")


@pytest.mark.parametrize(
    ("who", "may"),
    [
        ("all", {"visitor-1": True, "user-bob": True, "user-ann": True}),
        ("signed-in", {"visitor-1": False, "user-bob": True, "user-ann": True}),
        ("owner", {"visitor-1": False, "user-bob": False, "user-ann": True}),
    ],
)
def test_who_may_train(rules, who, may):
    told = rules(ATELIER_TRAINING=who)
    for owner, allowed in may.items():
        if allowed:
            told.train(owner)
        else:
            with pytest.raises(NotYours):
                told.train(owner)


def test_runs_at_once(rules, tmp_path):
    two = rules(ATELIER_RUNS_AT_ONCE="2")
    store = Store(tmp_path)
    for _ in range(2):
        two.train("user-bob")
        store.enqueue(store.add(Job("sft", {}, "local", "user-bob"), {}), "cpu")
    with pytest.raises(BadInput, match="2 runs of yours"):
        two.train("user-bob")
    two.train("user-cem")


def test_a_wrong_variable_is_named():
    with pytest.raises(BadInput, match="ATELIER_TRAINING is 'nobody'"):
        Settings.read({"ATELIER_TRAINING": "nobody"})


def test_at_home_everybody_is_the_owner(tmp_path):
    alone = Rules(Settings.read({"ATELIER_TRAINING": "owner", "ATELIER_HOME": str(tmp_path)}), Store(tmp_path))
    alone.train("visitor-1")

"""Rewards by name against what one would say by hand, and a reward model against transformers itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import BadInput, NotFound
from backend.recipes.rewards import REWARDS, RewardModel, check, for_trl, scorer


@pytest.mark.parametrize(
    ("reward", "completion", "reference", "worth"),
    [
        ("exact", " Paris\n", "Paris", 1),
        ("exact", "paris", "Paris", 0),
        ("contains", "It is paris.", "Paris", 1),
        ("contains", "It is Rome.", "Paris", 0),
        ("overlap", "the big dog", "The dog", 0.8),
        ("overlap", "a cat", "The dog", 0),
        ("short:10", "a" * 10, "", 1),
        ("short:10", "a" * 20, "", 0.5),
        ("short", "", "", 0),
        ("length:4", "one two three four", "", 1),
        ("length:4", "one two three", "", 0.75),
        ("length:4", "w " * 9, "", 0),
        ("json", '{"a": 1}', "", 1),
        ("json", "12", "", 0),
        ("json", "{", "", 0),
        (r"regex:\d{4}-\d\d", " 1973-08 ", "", 1),
        (r"regex:\d{4}-\d\d", "in 1973-08", "", 0),
        ("words:please, thanks", "Thanks a lot", "", 0.5),
        ("varied", "a b a b", "", 0.5),
        ("varied", "", "", 0),
    ],
)
def test_what_an_answer_is_worth(reward: str, completion: str, reference: str, worth: float) -> None:
    assert scorer(reward)(["?"], [completion], [reference]) == [pytest.approx(worth)]
    messages = [{"role": "assistant", "content": completion}]
    assert scorer(reward)([[{"role": "user", "content": "?"}]], [messages], [reference]) == [pytest.approx(worth)]


def test_every_reward_takes_its_own_value_and_stays_between_0_and_1() -> None:
    for name, reward in REWARDS.items():
        check(name)
        for answer in ("", "a", "{}", "thank you " * 50):
            assert 0 <= reward.score("?", answer, "a", reward.value) <= 1, name


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("exakt", "no such reward"),
        ("exact:1", "takes no value"),
        ("length:0", "above 0"),
        ("length:many", "won't do"),
        ("regex:(", "won't do"),
        ("words:,", "with commas between"),
    ],
)
def test_a_wrong_setting_is_told(reward: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check(reward)


def test_a_reward_that_compares_needs_references() -> None:
    with pytest.raises(BadInput, match="the data hold none") as caught:
        check("exact", references=False)
    assert "short" in caught.value.hint
    check("short", references=False)


def test_trl_is_given_what_it_asks_for() -> None:
    ask = for_trl(scorer("exact"), "exact")
    assert ask.__name__ == "exact"
    assert ask(prompts=["?", "?"], completions=["a", "b"], reference=["a", "a"], trainer_state=None) == [1, 0]
    assert for_trl(scorer("short:1"))(prompts=["?"], completions=["ab"]) == [0.5]


@pytest.fixture(scope="module")
def judge(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with a score head on the tiny model, as a reward run leaves it; its weights are random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("judge")
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1)
    config = LoraConfig(
        target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"], init_lora_weights=False
    )
    get_peft_model(model, config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
def test_a_reward_model_scores_in_batches_as_one_by_one(judge: Path, tiny: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    prompts = [[{"role": "user", "content": "x" * n}] for n in range(1, 40, 2)]
    answers = [f"answer {n}" for n in range(20)]
    given = RewardModel(str(judge))(prompts, answers, [""] * 20)
    model = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1), judge)
    tokenizer = AutoTokenizer.from_pretrained(judge)
    model.config.pad_token_id = tokenizer.pad_token_id
    for prompt, answer, score in zip(prompts, answers, given, strict=True):
        chat = [*prompt, {"role": "assistant", "content": answer}]
        inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            assert score == pytest.approx(model.eval()(**inputs).logits.item(), abs=1e-5)
    assert len({round(score, 6) for score in given}) > 1


def test_only_a_model_that_scores_is_one(judge: Path, tiny: Path, tmp_path: Path) -> None:
    check(str(judge))
    with pytest.raises(NotFound):
        check(str(tmp_path))
    with pytest.raises(BadInput, match="writes"):
        check(str(tiny))

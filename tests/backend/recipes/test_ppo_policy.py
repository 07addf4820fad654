"""The policy against transformers itself: what it writes, and what it says of tokens and values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.recipes.ppo_policy import Answer, Policy

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
ANSWERS = [
    Answer([9, 8, 7], [20, 21, 22, 2], True),
    Answer([5], [30], False),
    Answer([40, 41, 42, 43, 44], [50, 51], False),
]


def policy(tiny: Path, adapter: str = "lora", temperature: float = 1.0) -> Policy:
    from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kinds = {
        "lora": LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.5),
        "ia3": IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
        "prefix_tuning": PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        "prompt_tuning": PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    if adapter == "full":
        return Policy(model, tokenizer, temperature, starts_trained=True)
    return Policy(get_peft_model(model, kinds[adapter]), tokenizer, temperature)


def nudge(one: Policy) -> None:
    """As if something had been learned."""
    with torch.no_grad():
        for weight in one.parameters():
            weight += torch.randn_like(weight) * 0.2


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_and_entropy_are_the_models(tiny: Path, temperature: float) -> None:
    """Each answer alone through the plain model, against all together with padding."""
    one = policy(tiny, temperature=temperature)
    nudge(one)
    read = one.read(ANSWERS, entropy=True)
    assert read.entropy is not None
    assert read.mask.sum(1).tolist() == [4, 1, 2]
    for row, answer in enumerate(ANSWERS):
        with torch.no_grad():
            logits = one.model.eval()(torch.tensor([answer.prompt + answer.said])).logits[0] / temperature
        chances = torch.distributions.Categorical(logits=logits[len(answer.prompt) - 1 : -1])
        said = torch.tensor(answer.said)
        assert torch.allclose(read.logprobs[row, : len(said)], chances.log_prob(said), atol=1e-4)
        assert torch.allclose(read.entropy[row, : len(said)], chances.entropy(), atol=1e-4)
        assert read.logprobs[row, len(said) :].abs().sum() == 0


@pytest.mark.parametrize("adapter", ["lora", "ia3", "full"])
def test_at_the_start_the_policy_is_the_base_and_expects_nothing(tiny: Path, adapter: str) -> None:
    one = policy(tiny, adapter)
    now, base = one.read(ANSWERS), one.read(ANSWERS, base=True)
    assert torch.equal(now.logprobs, base.logprobs)
    assert now.values.abs().sum() == 0
    nudge(one)
    later = one.read(ANSWERS)
    assert not torch.allclose(later.logprobs, base.logprobs, atol=1e-3)
    assert later.values.abs().sum() > 0
    assert torch.equal(one.read(ANSWERS, base=True).logprobs, base.logprobs)


@pytest.mark.parametrize("adapter", ["prefix_tuning", "prompt_tuning"])
def test_virtual_tokens_come_before_the_real_ones(tiny: Path, adapter: str) -> None:
    """The base reads as the plain model does; the policy is another, learns, and is what `generate` draws from."""
    one, plain = policy(tiny, adapter), policy(tiny)
    nudge(one)
    assert torch.allclose(one.read(ANSWERS, base=True).logprobs, plain.read(ANSWERS).logprobs, atol=1e-5)
    read = one.read(ANSWERS)
    assert not torch.allclose(read.logprobs, plain.read(ANSWERS).logprobs, atol=1e-3)
    (read.logprobs.sum() + read.values.sum()).backward()
    assert all(weight.grad is not None for weight in one.parameters())
    for answer in one.answers([[9, 8, 7], [5]], 4, greedy=True):
        for place, token in enumerate(answer.said):
            step = [Answer(answer.prompt, [*answer.said[:place], other], False) for other in range(3, 259)]
            with torch.no_grad():
                assert one.read(step).logprobs[:, place].argmax() + 3 == token or token < 3


def test_answers_in_a_batch_are_the_answers_alone(tiny: Path) -> None:
    one = policy(tiny)
    nudge(one)
    prompts = [[9, 8, 7], [5], [40, 41, 42, 43, 44], list(range(60, 90))]
    together = one.answers(prompts, 8, greedy=True)
    assert together == [one.answers([prompt], 8, greedy=True)[0] for prompt in prompts]
    assert [answer.prompt for answer in together] == prompts
    assert all(len(answer.said) <= 8 for answer in together)


def test_an_answer_ends_with_its_end_token(tiny: Path) -> None:
    one = policy(tiny)
    assert one._cut([1], [5, 2, 0, 0]) == Answer([1], [5, 2], True)
    assert one._cut([1], [5, 6]) == Answer([1], [5, 6], False)
    torch.manual_seed(0)
    drawn = one.answers([[9]] * 300, 3)
    assert {answer.ended for answer in drawn} == {True, False}
    assert all((answer.said[-1] in one.ends) == answer.ended for answer in drawn)
    assert len({tuple(answer.said) for answer in drawn}) > 250  # drawn freely, not from the likeliest few


def test_what_is_learned_comes_back(tiny: Path, tmp_path: Path) -> None:
    """Adapter and value head, bit by bit."""
    one, other = policy(tiny), policy(tiny)
    nudge(one)
    one.save(tmp_path)
    assert not torch.equal(one.read(ANSWERS).values, other.read(ANSWERS).values)
    other.load(tmp_path)
    assert torch.equal(one.read(ANSWERS).values, other.read(ANSWERS).values)
    assert torch.equal(one.read(ANSWERS).logprobs, other.read(ANSWERS).logprobs)

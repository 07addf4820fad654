"""One run of the PPO bench, in a process of its own: `python -m tests.bench.ppo_run METHOD FOLDER SEED`.

METHOD is ours, rloo or trl_ppo; FOLDER holds the base model. All three begin from the same base, ask for the same
prompts and the same number of answers, and have the same LoRA, learning rate, epochs over each batch and price of KL.
Prints JSON: {"rewards": [a mean for each batch of answers], "reward", "kl", "seconds"}; the last three are measured
here, on 256 new answers of the policy that came out, for all in the same way.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

PROMPT, ANSWER, ROWS, STEPS, EPOCHS = 8, 16, 64, 50, 4  # tokens, tokens, answers a step, steps, uses of each answer
RATE, KL_COEF, LORA = 1e-2, 0.02, {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def vowels(text: str) -> float:
    """The known reward: the share of vowels, 0 for nothing."""
    return sum(letter in "aeiouAEIOU" for letter in text) / max(1, len(text))


def score(prompts: Sequence[Any], completions: Sequence[Any], references: Sequence[str]) -> list[float]:
    return [vowels(text) for text in completions]


def ours(base: Path, folder: Path, seed: int) -> tuple[Any, list[float]]:
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from backend.recipes.params import check
    from backend.recipes.ppo import PpoParams, templated
    from backend.recipes.ppo_policy import Policy
    from backend.recipes.ppo_trainer import Trainer

    set_seed(seed)
    settings = {"max_steps": STEPS, "per_device_train_batch_size": ROWS, "gradient_accumulation_steps": 1, "seed": seed}
    settings |= {"learning_rate": RATE, "kl_coef": KL_COEF, "num_ppo_epochs": EPOCHS, "max_completion_length": ANSWER}
    params = check(PpoParams, settings | {"missing_eos_penalty": 0, "warmup_steps": 0})
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**LORA))
    prompts = templated(rows(base), tokenizer, PROMPT)
    trainer = Trainer(Policy(model, tokenizer), score, prompts, [], params, Accelerator(cpu=True), folder)
    trainer.train()
    return model, [row["score"] for row in trainer.state.log_history]


def rloo(base: Path, folder: Path, seed: int) -> tuple[Any, list[float]]:
    """TRL's REINFORCE leave-one-out of today: four answers to a prompt."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import RLOOConfig, RLOOTrainer

    config = RLOOConfig(
        str(folder), seed=seed, learning_rate=RATE, beta=KL_COEF, max_steps=STEPS * EPOCHS, num_iterations=EPOCHS,
        per_device_train_batch_size=ROWS, num_generations=4, max_completion_length=ANSWER, temperature=1.0, bf16=False,
        use_cpu=True, activation_checkpointing=False, save_strategy="no", report_to="none", logging_steps=1,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = RLOOTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=config,
        processing_class=AutoTokenizer.from_pretrained(base),
        reward_funcs=lambda prompts, completions, **_: [vowels(text) for text in completions],
        train_dataset=Dataset.from_list(rows(base)),
        peft_config=LoraConfig(**LORA),
    )
    trainer.train()
    return trainer.model, [row["reward"] for row in trainer.state.log_history if "reward" in row]


class Judge(torch.nn.Module):
    """The reward in the shape of a reward model: TRL's PPO takes no function."""

    base_model_prefix = "seen"

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.seen = _Ids()

    def score(self, ids: torch.Tensor) -> torch.Tensor:
        said = self.tokenizer.batch_decode(ids[:, PROMPT:], skip_special_tokens=True)
        return torch.tensor([vowels(text) for text in said])[:, None, None].expand(*ids.shape, 1)


class _Ids(torch.nn.Module):
    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        from types import SimpleNamespace

        return SimpleNamespace(hidden_states=[input_ids])


def trl_ppo(base: Path, folder: Path, seed: int) -> tuple[Any, list[float]]:
    """The last PPO that TRL had (1.12), with a value model of its own, all of whose weights are trained."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    ids = Dataset.from_list([{"input_ids": tokenizer(row["prompt"])["input_ids"]} for row in rows(base)])
    value = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    config = PPOConfig(
        str(folder), seed=seed, learning_rate=RATE, kl_coef=KL_COEF, total_episodes=STEPS * ROWS, num_ppo_epochs=EPOCHS,
        per_device_train_batch_size=ROWS, response_length=ANSWER, temperature=1.0, stop_token="eos", bf16=False,
        num_sample_generations=0, use_cpu=True, gradient_checkpointing=False, save_strategy="no", report_to="none",
        logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(base),
        ref_model=None,
        reward_model=Judge(tokenizer),
        value_model=value,
        train_dataset=ids,
        eval_dataset=ids.select(range(ROWS)),
        peft_config=LoraConfig(**LORA),
    )
    trainer.train()
    return trainer.policy_model, [
        row["objective/scores"] for row in trainer.state.log_history if "objective/scores" in row
    ]


def rows(base: Path) -> list[dict[str, str]]:
    """The prompts: beginnings of sentences, all of one length."""
    texts = (base / "texts.txt").read_text().splitlines()
    return [{"prompt": text[:PROMPT]} for text in texts]


def judged(model: Any, base: Path) -> dict[str, float]:
    """Reward and KL from the base, on new answers of the policy, by our own reading of both."""
    from transformers import AutoTokenizer

    from backend.recipes.ppo_policy import Policy

    tokenizer = AutoTokenizer.from_pretrained(base)
    policy = Policy(model, tokenizer)
    prompts = [tokenizer(row["prompt"])["input_ids"] for row in rows(base)]
    torch.manual_seed(12345)
    answers = policy.answers([prompts[i % len(prompts)] for i in range(256)], ANSWER)
    said = tokenizer.batch_decode([one.said for one in answers], skip_special_tokens=True)
    with torch.no_grad():
        now, before = policy.read(answers), policy.read(answers, base=True)
    kl = ((now.logprobs - before.logprobs) * now.mask).sum(1).mean()
    return {"reward": sum(map(vowels, said)) / len(said), "kl": float(kl)}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    method, place, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    begun = time.perf_counter()
    trained, rewards = {"ours": ours, "rloo": rloo, "trl_ppo": trl_ppo}[method](
        place, place / f"{method}-{number}", number
    )
    seconds = time.perf_counter() - begun
    print("RESULT " + json.dumps({"rewards": rewards, "seconds": seconds, **judged(trained, place)}))

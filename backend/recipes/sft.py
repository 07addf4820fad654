"""Supervised fine-tuning: learns to answer as the examples do. Runs alone:

    mkdir -p /tmp/first && echo '{"max_steps": 20}' > /tmp/first/params.json
    python -m backend.recipes.sft /tmp/first/params.json

What is left out has its default: the starter model, LoRA, the sample instructions. The adapter comes to
`/tmp/first/adapter`; `echo save > /tmp/first/stop` stops early with everything saved, and running it again goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.recipes import data, limits, process, training
from backend.recipes.params import TrainParams
from backend.recipes.process import say

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import SFTTrainer


class SftParams(TrainParams):
    """Nothing more than what all recipes take."""


Params = SftParams
WANTS: tuple[data.Kind, ...] = ("prompt-completion", "language modelling")


def preflight(params: SftParams) -> None:
    """See `limits.check`."""
    limits.check(params, WANTS)


def run(params: SftParams, folder: Path) -> None:
    """See `training.run`."""
    training.run(params, folder, preflight, trainer, WANTS)


def trainer(work: training.Work) -> SFTTrainer:
    from trl import SFTConfig

    masks = "messages" in work.form.columns and can_mask(work.tokenizer)
    if "messages" in work.form.columns and not masks:
        text = "The chat template does not mark the assistant's words: the whole conversation is learned."
        say(ev.Logged(level="warning", text=text))
    return trainer_class()(args=SFTConfig(**work.options, assistant_only_loss=masks), **work.parts)


def can_mask(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it is known which tokens of the chat template are the assistant's."""
    from trl import get_training_chat_template

    try:
        get_training_chat_template(tokenizer)
    except ValueError:
        return False
    return True


def trainer_class() -> type[SFTTrainer]:
    """TRL's trainer with a loss that gives the same and costs less off the GPU."""
    import torch
    from trl import SFTTrainer

    class Trainer(SFTTrainer):
        """Projects only the positions that are trained on into the vocabulary.

        On a GPU TRL's kernels do that by themselves. Elsewhere they project every position, prompts and padding
        included, in fp32 tiles with the entropy of each; on two cores that was more than a third of the work.
        """

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            if return_outputs or self.aux_loss_enabled or inputs["input_ids"].device.type == "cuda":
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            labels = inputs["labels"][:, 1:]
            trained = labels != -100
            head = self.accelerator.unwrap_model(model).get_output_embeddings()
            # Virtual tokens of an adapter come before the real ones, hence counted from the end.
            hook = head.register_forward_pre_hook(lambda _, given: (given[0][:, -labels.shape[1] - 1 : -1][trained],))
            try:
                logits = model(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
                ).logits
            finally:
                hook.remove()
            targets = labels[trained]
            loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
            count = len(targets) if num_items_in_batch is None else num_items_in_batch
            mode = "train" if self.model.training else "eval"
            if len(targets):
                right = (logits.detach().argmax(-1) == targets).float().mean().item()
                self._metrics[mode]["mean_token_accuracy"].append(right)
            if mode == "train":
                self._total_train_tokens += int(inputs["attention_mask"].sum())
            self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
            # Of several processes each counts the tokens of all, and gradients are averaged afterwards.
            share = self.accelerator.num_processes if num_items_in_batch is not None else 1
            return loss * share / max(1, int(count))

    return training.steady(Trainer)


if __name__ == "__main__":
    process.leave(process.main(Params, run))

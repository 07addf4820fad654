"""What the recipes share around TRL's trainers: their arguments, the run from start or checkpoint, and its end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.errors import BadInput
from backend.recipes import (
    adapters,
    attention,
    batches,
    checkpoints,
    data,
    device,
    head,
    limits,
    loading,
    lowrank,
    samples,
    together,
)
from backend.recipes.callbacks import FOLDER, Reporter, peak_memory, reporter
from backend.recipes.data import Loaded, Shape, short_name, split
from backend.recipes.params import TrainParams
from backend.recipes.process import say

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, Trainer

    from backend.recipes.samples import Samples

RESULT = "result.json"  # in the run's folder once it has finished: the closing figures
ADAPTER = "adapter"  # what a run leaves in its folder …
BEGINNING = "beginning"  # PiSSA's first weights
MODEL = "model"  # … and what it leaves when all the weights were trained


ENCODER = "encoder.safetensors"  # in a checkpoint of p-tuning
DRY_STEPS = 3  # the first warms up


@dataclass(frozen=True)
class Start:
    """Where a run begins: on which device, and from which checkpoint, if any."""

    device: device.Device
    checkpoint: Path | None


@dataclass(frozen=True)
class Work:
    """What a method makes its trainer of: `**work.options` for TRL's configuration, `**work.parts` for its trainer."""

    params: TrainParams
    device: device.Device
    form: Shape
    tokenizer: PreTrainedTokenizerBase
    options: dict[str, Any]
    parts: dict[str, Any]


def run(
    params: TrainParams,
    folder: Path,
    check: Callable[[Any], None],
    make: Callable[[Work], Trainer],
    wants: Sequence[data.Kind],
    task: str = adapters.WRITES,
) -> None:
    """Train in `folder` with the trainer that `make` makes, telling of it on standard output. Raises LabError.

    `check` is the method's preflight: what is wrong is told within a second, before PyTorch is loaded.
    """
    if finished(folder):
        return
    if params.dry_run:
        quick = {"max_steps": DRY_STEPS, "eval_rows": 0, "sample_prompts": 0, "logging_steps": 1}
        params = params.model_copy(update=quick)
    check(params)
    start = begin(params, folder)
    loaded = data.read(params, wants)
    form = loaded.shape
    if params.long_rows != "cut" and form.kind != "prompt-only":
        from backend.recipes import lengths

        loaded = lengths.without(make, params, loaded)
    learn, held = rows(loaded, params)
    if params.dry_run:
        learn = longest(learn, params)
    from transformers import set_seed

    set_seed(params.seed)  # for a head or an adapter that begins at random
    tokenizer = loading.tokenizer(params.model)
    if form.chat and not tokenizer.chat_template:
        raise limits.no_template(params.model)
    model = loading.model(params.model, start.device, params.adapter == "qlora", task == adapters.SCORES)
    source = str(model.name_or_path)
    if task == adapters.SCORES:
        model.config.pad_token_id = tokenizer.pad_token_id
    peft = None if params.start_from else adapters.config(params.adapter, params, task)
    if params.start_from:
        model = adapters.take_up(model, params, task)
        before = Path(params.start_from)  # of a run, or a folder of the visitor's
        who = f"run {before.parent.name}" if before.name == ADAPTER else short_name(params.start_from)
        say(ev.Logged(text=f"Going on from what {who} learned."))
    parts = {"model": model, "train_dataset": learn, "eval_dataset": held, "processing_class": tokenizer}
    try:
        trainer = make(
            Work(
                params,
                start.device,
                form,
                tokenizer,
                arguments(params, start.device, folder)
                | {"ddp_find_unused_parameters": together.may_rest(model.config)},
                {**parts, "peft_config": peft},
            )
        )
    except ValueError as error:
        raise wrong_layers(error, params) or error from error
    if not len(trainer.train_dataset):
        raise BadInput(
            f"max_length is {params.max_length}; every row is longer, so nothing is left to learn.",
            "Use a larger max_length.",
        )
    if start.device.device != "cuda":
        for one in (trainer.model, getattr(trainer, "ref_model", None)):
            if one is not None:
                head.compact(one, getattr(params, "temperature", 1.0))
    if start.device.device == "cpu":
        lowrank.use(trainer.model)
        attention.use(trainer.model)
    trainer.by_length = params.train_sampling_strategy == "group_by_length"
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # for QLoRA, TRL makes it bf16, which rounds a small step away
    weights = [(weight.numel(), weight.requires_grad) for weight in trainer.model.parameters()]
    trained, size = sum(many for many, learns in weights if learns), sum(many for many, _ in weights)
    say(ev.Logged(text=f"Training {trained / 1e6:.3g} of {size / 1e6:.3g} million weights."))
    if params.init_lora_weights == "pissa" and params.adapter == "lora":
        save_beginning(trainer.model, folder)
    shown = None
    if task == adapters.WRITES and not together.sharded():  # no process alone could answer
        shown = samples.pick(held, params.sample_prompts, tokenizer, params.sample_new_tokens)
    if shown and (params.adapter == "full" or params.init_lora_weights == "pissa"):
        shown.ask_before(trainer.model)
    train(trainer, watch(trainer, params, folder, shown), start, params, folder, source)


def steady(kind: type[Any]) -> type[Any]:
    """The trainer `kind`: measuring does not change what it learns, batches go by length, p-tuning resumes, too."""
    import torch
    from safetensors.torch import load_file, save_file

    class Steady(kind):
        """Its evaluations leave the random state as it was: data loaders, dropout and sampling draw from it."""

        by_length = False

        def evaluate(self, *args: Any, **more: Any) -> dict[str, float]:
            with torch.random.fork_rng():
                measured: dict[str, float] = super().evaluate(*args, **more)
            return measured

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            """By length where TRL would take rows at random; a method that has an order of its own keeps it."""
            plain = super()._get_train_sampler(train_dataset)
            sizes = batches.lengths(self.train_dataset if train_dataset is None else train_dataset)
            if self.by_length and sizes and isinstance(plain, torch.utils.data.RandomSampler):
                each = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
                return batches.ByLength(sizes, each * together.many(), self.args.seed)
            return plain

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            if trained := self._encoder(model):
                place = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / ENCODER
                save_file({name: weight.detach().contiguous() for name, weight in trained.items()}, place)

        def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
            super()._load_from_checkpoint(checkpoint, model)
            for name, weight in self._encoder(self.model).items():
                weight.data.copy_(load_file(Path(checkpoint) / ENCODER)[name])

        def _encoder(self, model: Any) -> dict[str, Any]:
            """The trained weights of p-tuning, of which PEFT saves what they make and not them."""
            config = getattr(model, "peft_config", {}).get("default")
            if config is None or config.peft_type != "P_TUNING":
                return {}
            return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    return Steady


def finished(folder: Path) -> bool:
    """Whether the run of `folder` had finished before, which is said."""
    if not (folder / RESULT).exists():
        return False
    values = json.loads((folder / RESULT).read_text())
    say(ev.Started(step=values["steps"]))
    say(ev.Logged(text=f"This run had finished already, at step {values['steps']}. Nothing was done."))
    say(ev.Finished(reason="had finished already", values=values))
    return True


def begin(params: TrainParams, folder: Path) -> Start:
    """Say that work starts (again) and with what."""
    if together.first():
        checkpoints.restore(folder / ADAPTER)
    checkpoint = checkpoints.newest(folder / FOLDER)
    step = checkpoints.step(checkpoint)
    say(ev.Logged(text="Loading PyTorch, Transformers and TRL …"))
    import torch

    checkpointing = (
        "off" if params.adapter == "prefix_tuning" else params.gradient_checkpointing
    )  # they exclude another
    chosen = device.choose(device.find(), params.precision, checkpointing, params.adapter == "full")
    torch.set_num_threads(max(1, chosen.threads // together.here()))
    together.take_device()
    names = {"model": short_name(params.model), "dataset": short_name(params.dataset)}
    devices = {"processes": together.many()} if together.many() > 1 else {}
    say(ev.Started(step=step, info=names | {"adapter": params.adapter} | chosen.info() | devices))
    if checkpoint:
        say(ev.Logged(text=f"Going on from the checkpoint of step {step}."))
    return Start(chosen, checkpoint)


def rows(loaded: Loaded, params: TrainParams) -> tuple[Dataset, Dataset | None]:
    """(what is learned from, what is held out), which is said, with what was left out."""
    learn, held = split(loaded.dataset(), params.eval_rows, params.seed)
    say(ev.Logged(text=f"{len(learn):,} rows to learn from, {len(held or ()):,} held out; data: {loaded.shape.name}."))
    for one in loaded.report.wrong.values():
        numbers = ", ".join(map(str, one.rows)) + (" …" if one.count > len(one.rows) else "")
        say(ev.Logged(level="warning", text=f"Left out, since {one.rule}: {one.count:,} (row {numbers})."))
    return learn, held


def arguments(params: TrainParams, chosen: device.Device, folder: Path) -> dict[str, Any]:
    """What every one of TRL's configurations takes. The Reporter says when to save and evaluate."""
    return {
        "output_dir": str(folder / FOLDER),
        "learning_rate": params.learning_rate,
        "per_device_train_batch_size": params.per_device_train_batch_size,
        "per_device_eval_batch_size": params.per_device_train_batch_size,
        "gradient_accumulation_steps": params.gradient_accumulation_steps,
        "num_train_epochs": params.num_train_epochs,
        "max_steps": params.max_steps or -1,
        "max_length": params.max_length,
        "warmup_steps": params.warmup_steps,
        "lr_scheduler_type": params.lr_scheduler_type,
        "weight_decay": params.weight_decay,
        "max_grad_norm": params.max_grad_norm,
        "seed": params.seed,
        "bf16": chosen.autocast and chosen.precision == "bf16",
        "fp16": chosen.autocast and chosen.precision == "fp16",
        "use_cpu": chosen.device == "cpu",
        "activation_checkpointing": chosen.gradient_checkpointing,
        "dataloader_num_workers": chosen.workers,
        "dataloader_pin_memory": chosen.pin_memory,
        "logging_steps": params.logging_steps,
        "logging_nan_inf_filter": False,  # it would hide that training has gone astray
        "save_strategy": "no",
        "eval_strategy": "no",
        "save_total_limit": 2,
        "disable_tqdm": True,
        "report_to": params.report_to,
        "project": "atelier",
        "run_name": folder.name,
    }


def longest(rows: Dataset, params: TrainParams) -> Dataset:
    """As many of the longest rows as a dry run needs: what fits with these fits with all."""
    many = DRY_STEPS * params.per_device_train_batch_size * params.gradient_accumulation_steps
    sizes = [len(str(row)) for row in rows]
    return rows.select(sorted(range(len(rows)), key=lambda i: -sizes[i])[: max(many, 2)])


def watch(trainer: Trainer, params: TrainParams, folder: Path, shown: Samples | None = None) -> Reporter:
    """Let a Reporter, and nobody else, tell what the trainer does."""
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    rows = params.per_device_train_batch_size * params.gradient_accumulation_steps * together.many()
    watching = reporter(folder, say, rows, params.save_steps, shown, trainer.eval_dataset is not None)
    watching.on_divergence, watching.dry = params.on_divergence, params.dry_run
    trainer.add_callback(watching)
    return watching


def train(trainer: Trainer, watching: Reporter, start: Start, params: TrainParams, folder: Path, source: str) -> None:
    """Train to the end or to its owner's stop, then save the adapter and say how it ended.

    `source` is where the base was loaded from: the adapter names `params.model` instead, which others have too.
    """
    whole = trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint else None)
    step = trainer.state.global_step
    weights = together.gathered(trainer)
    if not together.first():
        together.wait()
        return
    close(trainer, watching, params, folder, source, step, whole.metrics["train_runtime"], weights)
    together.wait()


def close(
    trainer: Trainer,
    watching: Reporter,
    params: TrainParams,
    folder: Path,
    source: str,
    step: int,
    took: float,
    weights: dict[str, Any] | None = None,
) -> None:
    """Save what was learned and say how it ended; of several processes the first does.

    `weights` are those of the model where it lies in pieces among the processes.
    """
    if params.dry_run and watching.stopped != "cancel":
        timed = watching.step_times[1:] or watching.step_times
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        peak = {"memory_gb": round(peak_memory(), 3), "seconds_per_step": round(sum(timed) / len(timed), 3)}
        say(ev.Finished(reason="dry run", values={"steps": step} | peak))
        return
    if watching.stopped == "cancel":
        say(ev.Cancelled(reason="cancelled by its owner"))
        return
    if params.adapter == "full":
        kept = kept_in(source)
        if weights is None:
            trainer.model.to(kept)
        else:
            weights = {name: weight.to(kept) for name, weight in weights.items()}
            trainer.model.config.dtype = kept
        save_model(trainer.model, trainer.processing_class, folder, weights)
        say(ev.Produced(kind="model", name=MODEL, file=MODEL, step=step))
    else:
        save_adapter(trainer.model, trainer.processing_class, folder, source, params.model, weights)
        say(ev.Produced(kind="adapter", name=ADAPTER, file=ADAPTER, step=step))
    if watching.stopped and step < trainer.state.max_steps:
        say(ev.Paused(step=step, reason=watching.reason))
        return
    values: dict[str, Any] = {"steps": step, "seconds": round(took, 1)}
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]  # of all, before a resume too
    if losses:
        values["train_loss"] = sum(losses) / len(losses)
    evaluated = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    if evaluated:
        values["eval_loss"] = evaluated[-1]
    if watching.seconds > 0:
        values["rows_per_second"] = round(watching.steps * watching.rows / watching.seconds, 3)
        values["tokens_per_second"] = round(watching.tokens / watching.seconds, 1)
    new = folder / f"{RESULT}.new"
    new.write_text(json.dumps(values))
    checkpoints.sync(new)
    new.replace(folder / RESULT)
    say(ev.Finished(values=values))


def save_adapter(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    source: str,
    name: str,
    weights: dict[str, Any] | None = None,
) -> None:
    """Write `folder/adapter`, whole or not at all: the PEFT adapter and its tokenizer."""
    new = folder / f"{ADAPTER}.new"
    shutil.rmtree(new, ignore_errors=True)
    beginning = folder / BEGINNING
    more: dict[str, Any] = {"path_initial_model_for_weight_conversion": str(beginning)} if beginning.exists() else {}
    if weights is not None:
        more["state_dict"] = weights
    model.save_pretrained(new, selected_adapters=["default"], **more)  # a second one may be the reference
    tokenizer.save_pretrained(new)
    config = new / "adapter_config.json"
    entries = json.loads(config.read_text())
    if entries["base_model_name_or_path"] == source:
        config.write_text(json.dumps(entries | {"base_model_name_or_path": name}, indent=2) + os.linesep)
    (new / "README.md").unlink(missing_ok=True)  # a card with this machine's path; a real one is made when it is pushed
    checkpoints.replace(new, folder / ADAPTER)


def save_beginning(model: Any, folder: Path) -> None:
    """PiSSA's first weights: what was learned is the difference, which is an ordinary LoRA on the unchanged base."""
    config = model.peft_config["default"]
    config.init_lora_weights = True  # or loading them would part the base again
    model.save_pretrained(folder / BEGINNING)
    config.init_lora_weights = "pissa"


def kept_in(source: str) -> Any:
    """The dtype in which the model at `source` is kept: what was trained in fp32 goes back to it."""
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source, trust_remote_code=False).dtype or torch.float32


def save_model(
    model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, weights: dict[str, Any] | None = None
) -> None:
    """Write `folder/model`, whole or not at all; `weights` instead of its own where these are but a part."""
    new = folder / f"{MODEL}.new"
    shutil.rmtree(new, ignore_errors=True)
    model.save_pretrained(new, **({} if weights is None else {"state_dict": weights}))
    tokenizer.save_pretrained(new)
    checkpoints.replace(new, folder / MODEL)


def wrong_layers(error: ValueError, params: TrainParams) -> BadInput | None:
    """PEFT's complaint about target_modules in our words."""
    return limits.wrong_layers(params) if "arget modules" in str(error) or "target_modules" in str(error) else None

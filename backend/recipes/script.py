"""The plain Python that trains the same, with Hugging Face libraries alone."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from typing import Any

from backend.errors import BadData, NotFound
from backend.recipes import METHODS, adapters, data, ppo_script, rewards, script_data
from backend.recipes.params import PROMPTS, TrainParams
from backend.recipes.ppo import PpoParams
from backend.starter import SAMPLES, locate

TRAINERS = {"sft": "SFT", "dpo": "DPO", "reward": "Reward", "kto": "KTO", "grpo": "GRPO", "rloo": "RLOO"}
TRAINERS |= {"orpo": "ORPO"}
ALONE = ("ppo",)  # TRL has no trainer for it
CONFIGS = {
    "lora": "LoraConfig",
    "qlora": "LoraConfig",
    "prefix_tuning": "PrefixTuningConfig",
    "p_tuning": "PromptEncoderConfig",
    "prompt_tuning": "PromptTuningConfig",
    "ia3": "IA3Config",
}
_DTYPES = {"auto": "bfloat16", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_BY_LENGTH = ("sft",)  # whose rows the trainer's own grouping finds the length of
_GPU = "torch.cuda.is_available()"


def code(
    recipe: str, params: TrainParams, model: str | None = None, dataset: str | None = None, precision: str = ""
) -> str:
    """The script for a run of `recipe` with `params`; executing it saves what is trained to the folder `adapter`.

    `model` and `dataset` are where these are (a folder, a file), when that differs from the names in `params`;
    `precision` is what the run found for itself, as Started tells it. Raises NotFound for a recipe without a script.
    """
    if recipe not in (*TRAINERS, *ALONE):
        listed = ", ".join((*TRAINERS, *ALONE))
        raise NotFound(f"There is no script for {recipe!r}.", f"Choose one of {listed}.", "recipe.unknown")
    place = dataset or (locate(params.dataset) if params.dataset in SAMPLES else params.dataset)
    shape = _shape(recipe, params, place)
    masks = recipe == "sft" and shape is not None and "messages" in shape.columns
    whole = params.adapter == "full"
    dtype = "float32" if whole and params.precision == "auto" else _DTYPES[precision or params.precision]
    if isinstance(params, PpoParams):
        sections = [
            _imports(recipe, params, masks),
            f"MODEL = {json.dumps(str(model or params.model), ensure_ascii=False)}",
            script_data.code(place, params, shape),
            _model(recipe, params, "float32" if whole else dtype),
            "" if whole or params.start_from else f"model = get_peft_model(model, {_peft(params, recipe)})",
            _reward(params),
            ppo_script.loop(params),
        ]
        return _joined(sections)
    trainer = TRAINERS[recipe]
    parts = {
        "model": "model",
        "processing_class": "tokenizer",
        "train_dataset": 'parts["train"]' if params.eval_rows else "dataset",
        "eval_dataset": 'parts["test"]' if params.eval_rows else "None",
    }
    if hasattr(params, "reward"):
        parts["reward_funcs"] = "reward"
    if not whole and not params.start_from:
        parts["peft_config"] = _peft(params, recipe)
    parts["args"] = _call(f"{trainer}Config", _arguments(recipe, params, dtype, masks))
    sections = [
        _imports(recipe, params, masks),
        f"MODEL = {json.dumps(str(model or params.model), ensure_ascii=False)}",
        script_data.code(place, params, shape),
        _model(recipe, params, "float32" if whole else dtype),
        _CAN_MASK if masks else "",
        _reward(params),
        f"trainer = {_call(f'{trainer}Trainer', parts)}",
        _QUANTIZED if params.adapter == "qlora" else "",
        _REAL_TOKENS if recipe == "orpo" and params.adapter in PROMPTS else "",
        "trainer.train()",
        "print(trainer.evaluate())" if params.eval_rows else "",
        'trainer.save_model("adapter")',
    ]
    return _joined(sections)


def _joined(sections: list[str]) -> str:
    text = "\n".join(section.rstrip("\n") + ("\n" if "\n" in section else "") for section in sections if section)
    return text.rstrip("\n") + "\n"


def _shape(recipe: str, params: TrainParams, place: str) -> data.Shape | None:
    """What a file's first rows tell; None for the Hub's datasets and what can't be read."""
    if not data.is_local(place):
        return None
    try:
        return data.shape_of(place, METHODS[recipe].wants, params.columns)
    except (BadData, NotFound):
        return None


def _imports(recipe: str, params: TrainParams, masks: bool) -> str:
    kind = "AutoModelForSequenceClassification" if recipe == "reward" else "AutoModelForCausalLM"
    from_peft = {CONFIGS[params.adapter]} if params.adapter != "full" and not params.start_from else set()
    if params.start_from:
        from_peft = {"PeftModel"}
        if recipe == "reward":
            from_peft = {"PeftConfig", "get_peft_model", "set_peft_model_state_dict"}
    if rewards.is_place(getattr(params, "reward", "")):
        from_peft.add("AutoPeftModelForSequenceClassification")
    from_transformers = {kind, "AutoTokenizer"} | ({"BitsAndBytesConfig"} if params.adapter == "qlora" else set())
    from_transformers |= {"set_seed"} if recipe == "reward" else set()
    from_trl = {"get_training_chat_template"} if masks else set()
    if recipe in TRAINERS:
        from_trl |= {f"{TRAINERS[recipe]}Config", f"{TRAINERS[recipe]}Trainer"}
    else:
        from_transformers |= {"get_scheduler", "set_seed"}
        from_peft |= {"get_peft_model"} if from_peft and params.adapter != "full" and not params.start_from else set()
    lines = ["import torch", "from datasets import load_dataset"]
    lines += [f"from peft import {', '.join(sorted(from_peft))}"] if from_peft else []
    lines += ["from safetensors.torch import load_file"] if params.start_from and recipe == "reward" else []
    lines.append(f"from transformers import {', '.join(sorted(from_transformers))}")
    if from_trl:
        lines.append(
            f"from {'trl.experimental.orpo' if recipe == 'orpo' else 'trl'} import {', '.join(sorted(from_trl))}"
        )
    used = _reward(params)
    plain = [name for name in ("json", "re") if f"{name}." in used]
    plain += ["contextlib", "copy", "math"] if recipe in ALONE else []
    lines = [f"import {name}" for name in sorted(plain)] + lines
    return "\n".join(lines) + "\n"


def _arguments(recipe: str, params: TrainParams, dtype: str, masks: bool) -> dict[str, str]:
    """TRL's configuration, as Python says it; what is left out has TRL's default."""
    module = import_module(METHODS[recipe].module)
    options: dict[str, Any] = module.options(params) if hasattr(module, "options") else {}
    own = {name: value for name, value in options.items() if value is not None}
    saving = {"auto": _GPU, "on": "True", "off": "False"}[params.gradient_checkpointing]
    shown: dict[str, str] = {
        "output_dir": '"checkpoints"',
        "learning_rate": f"{params.learning_rate:g}",
        "per_device_train_batch_size": str(params.per_device_train_batch_size),
        "per_device_eval_batch_size": str(params.per_device_train_batch_size),
        "gradient_accumulation_steps": str(params.gradient_accumulation_steps),
        "num_train_epochs": f"{params.num_train_epochs:g}",
        "max_steps": str(params.max_steps) if params.max_steps else "",
        "max_length": "" if recipe in ("grpo", "rloo") else str(params.max_length),
        "warmup_steps": f"{params.warmup_steps:g}",
        "lr_scheduler_type": json.dumps(params.lr_scheduler_type),
        "weight_decay": f"{params.weight_decay:g}",
        "max_grad_norm": f"{params.max_grad_norm:g}",
        **{name: json.dumps(value) if isinstance(value, str) else str(value) for name, value in own.items()},
        "assistant_only_loss": "can_mask(tokenizer)" if masks else "",
        "bf16": ("True" if params.adapter == "full" else _GPU) if dtype == "bfloat16" else "False",
        "fp16": _GPU if dtype == "float16" else "",
        "activation_checkpointing": "False" if params.adapter == "prefix_tuning" else saving,
        "train_sampling_strategy": json.dumps(params.train_sampling_strategy) if recipe in _BY_LENGTH else "",
        "logging_steps": str(params.logging_steps),
        "save_strategy": '"no"',
        "report_to": '"none"',
        "seed": str(params.seed),
    }
    return {name: value for name, value in shown.items() if value}


def _model(recipe: str, params: TrainParams, dtype: str) -> str:
    """Tokenizer and model, in 4 bits, with one output, or with what an earlier run learned."""
    scores = recipe == "reward"
    more = {"dtype": f"torch.{dtype}"} | ({"num_labels": "1"} if scores else {})
    if params.adapter == "qlora":
        more["quantization_config"] = _call(
            "BitsAndBytesConfig",
            {
                "load_in_4bit": "True",
                "bnb_4bit_quant_type": '"nf4"',
                "bnb_4bit_use_double_quant": "True",
                "bnb_4bit_compute_dtype": f"torch.{dtype}",
                "llm_int8_skip_modules": '["lm_head", "score"]',
            },
        )
    kind = "AutoModelForSequenceClassification" if scores else "AutoModelForCausalLM"
    lines = ["tokenizer = AutoTokenizer.from_pretrained(MODEL)"]
    lines += [f"set_seed({params.seed})  # the new head begins at random"] if scores else []
    listed = ", ".join(f"{name}={value}" for name, value in more.items())
    lines.append(f"model = {kind}.from_pretrained(MODEL, {listed})")
    lines += ["model.config.pad_token_id = tokenizer.pad_token_id"] if scores else []
    if params.start_from:
        place = json.dumps(params.start_from, ensure_ascii=False)
        lines.append(f"START = {place}  # the adapter that an earlier run made")
        if params.adapter == "full":
            lines.append("model = PeftModel.from_pretrained(model, START).merge_and_unload()")
        elif scores:
            lines += _TAKE_UP
        else:
            lines.append("model = PeftModel.from_pretrained(model, START, is_trainable=True)")
    return "\n".join(lines) + "\n"


def _peft(params: TrainParams, recipe: str) -> str:
    """The adapter's configuration, as `adapters` makes it; told without PEFT, which takes seconds to import."""
    names = adapters.layers(params)
    listed = json.dumps(names)
    task, head = (adapters.SCORES, json.dumps(list(adapters.HEAD))) if recipe == "reward" else (adapters.WRITES, "")
    virtual = {"num_virtual_tokens": str(params.num_virtual_tokens)}
    settings: dict[str, str]
    match params.adapter:
        case "lora" | "qlora":
            settings = {
                "r": str(params.lora_r),
                "lora_alpha": str(params.lora_alpha),
                "lora_dropout": f"{params.lora_dropout:g}",
                "use_rslora": "True" if params.use_rslora else "",
                "use_dora": "True" if params.use_dora else "",
                "init_lora_weights": '"pissa"' if params.init_lora_weights == "pissa" else "",
                "target_modules": listed if names else '"all-linear"',
                "modules_to_save": head,
            }
        case "ia3":
            inner = json.dumps(adapters.feed_forward(names))
            settings = {"target_modules": listed, "feedforward_modules": inner} if names else {}
            settings["modules_to_save"] = head
        case "p_tuning":
            settings = virtual | {"encoder_hidden_size": str(adapters.ENCODER)}
        case _:
            settings = virtual
    settings["task_type"] = json.dumps(task)
    return _call(CONFIGS[params.adapter], {name: value for name, value in settings.items() if value})


def _reward(params: TrainParams) -> str:
    """The function that TRL asks what an answer is worth."""
    reward = getattr(params, "reward", "")
    if not reward:
        return ""
    if rewards.is_place(reward):
        return _REWARD_MODEL.replace("FOLDER", json.dumps(reward, ensure_ascii=False))
    name, _, value = reward.partition(":")
    found = rewards.REWARDS[name.strip()]
    score = inspect.getsource(found.score)
    return f"""

{score}

def reward(prompts, completions, reference=None, **columns):
    last = lambda text: text if isinstance(text, str) else text[-1]["content"]
    rows = zip(prompts, completions, reference or [""] * len(prompts))
    return [{found.score.__name__}(last(p), last(c), r, {json.dumps(value or found.value)}) for p, c, r in rows]

"""


def _call(name: str, arguments: dict[str, str]) -> str:
    """`name(…)` over several lines, the values as they are."""
    lines = [f"    {key}={value},\n".replace("\n", "\n    ")[:-4] for key, value in arguments.items()]
    return f"{name}(\n{''.join(lines)})"


_CAN_MASK = '''
def can_mask(tokenizer):
    """Whether TRL knows which tokens of the chat template are the assistant's."""
    try:
        get_training_chat_template(tokenizer)
    except ValueError:
        return False
    return True

'''
_QUANTIZED = """for weight in trainer.model.parameters():
    if weight.requires_grad:
        weight.data = weight.data.float()
"""
_REAL_TOKENS = """
def real_tokens(model, given, named, output):
    real = named["input_ids"] if "input_ids" in named else given[0]
    output.logits = output.logits[:, -real.shape[1] :]  # the adapter's virtual tokens come first
    return output


trainer.model.register_forward_hook(real_tokens, with_kwargs=True)
"""
_TAKE_UP = [
    "config = PeftConfig.from_pretrained(START)",
    'config.task_type, config.modules_to_save, config.inference_mode = "SEQ_CLS", ["score"], False',
    "model = get_peft_model(model, config)",
    'set_peft_model_state_dict(model, load_file(START + "/adapter_model.safetensors"))',
]
_REWARD_MODEL = """
judge = AutoPeftModelForSequenceClassification.from_pretrained(FOLDER, num_labels=1)
judge_tokenizer = AutoTokenizer.from_pretrained(FOLDER)


def reward(prompts, completions, **columns):
    texts = [judge_tokenizer.apply_chat_template(p + c, tokenize=False) for p, c in zip(prompts, completions)]
    inputs = judge_tokenizer(texts, padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        return judge(**inputs).logits[:, 0].tolist()

"""

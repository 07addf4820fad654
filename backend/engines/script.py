"""The answer on screen as a short script in plain transformers."""

from __future__ import annotations

from pprint import pformat

from backend.engines.text import ChatParams, CompleteParams

_TEMPLATE = """import torch
{peft_import}from transformers import AutoModelForCausalLM, AutoTokenizer

device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForCausalLM.from_pretrained({model!r}, dtype={dtype}).to(device)
{adapter}
{asked}

{seed}output = model.generate(
    **inputs,
{settings}
)
answer = output[0, inputs["input_ids"].shape[1] :]
print({begun}tokenizer.decode(answer, skip_special_tokens=True))
"""
_CHAT = """messages = {messages}
inputs = tokenizer.apply_chat_template(
    messages, {ending}, return_tensors="pt", return_dict=True
).to(device)"""
_PAGE = """text = {text}
inputs = tokenizer(text, return_tensors="pt").to(device)"""


def code(params: ChatParams | CompleteParams, model: str = "", adapter: str = "", dtype: str = "auto") -> str:
    """Python that prints what the engine answers to `params`: the same text, given the same weights.

    Of a completion the beginning is printed, too.

    `model` and `adapter` are names to write instead of those in `params`, for example the starter's folder. `dtype` is
    the one that the answer's Started event told; `auto` is the checkpoint's own.
    """
    adapter = adapter or params.adapter
    settings: list[tuple[str, object]] = [("max_new_tokens", params.max_new_tokens)]
    if params.temperature:
        settings += [
            ("do_sample", True),
            ("temperature", params.temperature),
            ("top_p", params.top_p),
            ("top_k", params.top_k),
        ]
    else:
        settings.append(("do_sample", False))
    settings.append(("repetition_penalty", params.repetition_penalty))
    if isinstance(params, CompleteParams):
        asked, begun = _PAGE.format(text=pformat(params.prompt, width=100)), "text + "
    else:
        ending = "continue_final_message=True" if params.continues else "add_generation_prompt=True"
        asked = _CHAT.format(messages=pformat(params.turns, sort_dicts=False, width=100), ending=ending)
        begun = ""
    return _TEMPLATE.format(
        model=model or params.model,
        dtype='"auto"' if dtype == "auto" else f"torch.{dtype}",
        peft_import="from peft import PeftModel\n" if adapter else "",
        adapter=f"model = PeftModel.from_pretrained(model, {adapter!r})\n" if adapter else "",
        asked=asked,
        begun=begun,
        seed=f"torch.manual_seed({params.seed})\n" if params.temperature else "",
        settings="\n".join(f"    {name}={value!r}," for name, value in settings),
    )

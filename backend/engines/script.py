"""The answer on screen as a short script in plain transformers."""

from __future__ import annotations

from pprint import pformat

from backend.engines.structured import LAYOUT
from backend.engines.text import ChatParams, CompleteParams

_TEMPLATE = """import torch
{fitting_import}{peft_import}from transformers import AutoModelForCausalLM, AutoTokenizer{processor}

device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForCausalLM.from_pretrained({model!r}, dtype={dtype}).to(device)
{adapter}
{asked}
{fitting}
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

_FITTING = """
words = from_tokenizer(tokenizer, eos_token={ends})
matcher = LLMatcher(words, LLMatcher.grammar_from_json_schema({schema!r}, defaults={layout}))
{begun}

class Fitting(LogitsProcessor):
    \"\"\"Rules out every token that breaks the schema.\"\"\"

    read = inputs["input_ids"].shape[1]

    def __call__(self, ids, scores):
        for token in ids[0, self.read :].tolist():
            matcher.consume_token(token)
        self.read = ids.shape[1]
        bits = torch.frombuffer(bytearray(matcher.compute_bitmask()), dtype=torch.uint8)
        allowed = ((bits[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).flatten()[: scores.shape[-1]]
        return scores.masked_fill(~allowed.bool().to(scores.device), -torch.inf)

"""


def _fitting(params: ChatParams | CompleteParams) -> tuple[str, str]:
    """For an answer bound to a schema: what to import, and the step that binds it."""
    if not params.json_schema:
        return "", ""
    begun = params.messages[-1].content if isinstance(params, ChatParams) and params.continues else ""
    step = _FITTING.format(
        schema=params.json_schema,
        layout=LAYOUT,
        ends="model.generation_config.eos_token_id",
        begun=f"matcher.try_consume_tokens(words.tokenize_str({begun!r}))\n" if begun else "",
    )
    return "from llguidance import LLMatcher\nfrom llguidance.hf import from_tokenizer\n", step


def code(params: ChatParams | CompleteParams, model: str = "", adapter: str = "", dtype: str = "auto") -> str:
    """Python that prints what the engine answers to `params`: the same text, given the same weights.

    Of packed weights that holds for answers that are `exact`; others part from it where two tokens are about as likely.
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
    fitting_import, fitting = _fitting(params)
    return _TEMPLATE.format(
        fitting_import=fitting_import,
        fitting=fitting,
        processor=", LogitsProcessor, LogitsProcessorList" if fitting else "",
        model=model or params.model,
        dtype='"auto"' if dtype == "auto" else f"torch.{dtype}",
        peft_import="from peft import PeftModel\n" if adapter else "",
        adapter=f"model = PeftModel.from_pretrained(model, {adapter!r})\n" if adapter else "",
        asked=asked,
        begun=begun,
        seed=f"torch.manual_seed({params.seed})\n" if params.temperature else "",
        settings="\n".join(f"    {name}={value!r}," for name, value in settings)
        + ("\n    logits_processor=LogitsProcessorList([Fitting()])," if fitting else ""),
    )

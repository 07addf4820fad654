"""A task on screen as a short script in plain transformers."""

from __future__ import annotations

from backend.engines import tasks as t
from backend.engines.script import code as chat_code
from backend.engines.text import ChatParams
from backend.recipes.params import check

_PIPELINE = """from transformers import pipeline

ask = pipeline({task!r}, model={model!r})
{call}
"""
_RECORDING = """import soundfile
from scipy.signal import resample_poly
from transformers import pipeline

ask = pipeline("automatic-speech-recognition", model={model!r})
samples, rate = soundfile.read({file!r})
if samples.ndim > 1:
    samples = samples.mean(axis=1)
wanted = ask.feature_extractor.sampling_rate
print(ask({{"raw": resample_poly(samples, wanted, rate), "sampling_rate": wanted}})["text"])
"""
_VECTORS = """import torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModel.from_pretrained({model!r})
texts = {texts!r}
inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.inference_mode():
    states = model(**inputs).last_hidden_state
mask = inputs["attention_mask"][..., None]
vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
{result}
"""
_SPAN = """import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForQuestionAnswering.from_pretrained({model!r})
question = {question!r}
context = {context!r}
inputs = tokenizer(question, context, truncation="only_second", return_offsets_mapping=True, return_tensors="pt")
offsets = inputs.pop("offset_mapping")[0]
outside = torch.tensor([part != 1 for part in inputs.sequence_ids(0)])
with torch.inference_mode():
    out = model(**inputs)
start = out.start_logits[0].masked_fill(outside, -torch.inf).softmax(-1)
end = out.end_logits[0].masked_fill(outside, -torch.inf).softmax(-1)
spans = torch.outer(start, end).triu().tril(29)  # from a token to one at most 29 later
first, last = divmod(int(spans.argmax()), len(end))
print(context[offsets[first][0] : offsets[last][1]])
"""
_SEQ2SEQ = """from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForSeq2SeqLM.from_pretrained({model!r})
inputs = tokenizer({text!r}, truncation=True, return_tensors="pt")
output = model.generate(
    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
    max_new_tokens={longest}, do_sample=False, num_beams=1,
)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""
_CAPTION = """from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

processor = AutoImageProcessor.from_pretrained({model!r})
tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForImageTextToText.from_pretrained({model!r})
inputs = processor(images=Image.open({file!r}).convert("RGB"), return_tensors="pt")
output = model.generate(**inputs, max_new_tokens={longest}, do_sample=False, num_beams=1)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""
_LIKELIEST = """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({model!r})
model = AutoModelForCausalLM.from_pretrained({model!r})
text = tokenizer(" " + {text!r}, add_special_tokens=False)["input_ids"]
labels = {labels!r}
scores = []
for label in labels:  # how likely is the text after each label's sentence?
    sentence = tokenizer({hypothesis!r}.format(label) + "\\n\\nText:", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([sentence + text])
    with torch.inference_mode():
        chances = model(ids).logits[0, len(sentence) - 1 : -1].float().log_softmax(-1)
    scores.append(chances.gather(1, ids[0, len(sentence) :, None]).sum())
for label, chance in zip(labels, torch.stack(scores).softmax(0).tolist()):
    print(f"{{chance:.4f}}  {{label}}")
"""
_PROMPTED = (t.SummarizeParams, t.TranslateParams, t.QuestionParams)


def asked(request: t.TaskParams) -> ChatParams:
    """The task as a question to a chat model."""
    match request:
        case t.SummarizeParams():
            words = f"Summarise this text in one or two sentences.\n\n{request.text}"
        case t.TranslateParams():
            words = f"Translate from {request.source} to {request.target}. Answer with the translation alone.\n\n"
            words += request.text
        case t.QuestionParams():
            words = f"{request.context}\n\nQuestion: {request.question}\nAnswer in a few words."
        case _:
            raise TypeError(f"{type(request).__name__} is no question to a chat model")
    turn = {"role": "user", "content": words}
    values = {"model": request.model, "messages": [turn], "max_new_tokens": request.max_new_tokens, "temperature": 0}
    return check(ChatParams, values)


def code(task: str, request: t.TaskParams, kind: str, model: str = "") -> str:
    """Python that prints what the task gives with a model of `kind`; `model` is a name to write instead of its own."""
    model = model or request.model
    given = request.model_dump() | {"model": model}
    if kind == "causal":
        if isinstance(request, t.ZeroShotParams):
            return _LIKELIEST.format(**given)
        return chat_code(asked(request), model=model)
    match request:
        case t.ZeroShotParams() if kind == "embed":
            texts = [request.text, *(request.hypothesis.format(label) for label in request.labels)]
            result = f"print(dict(zip({request.labels!r}, (vectors[1:] @ vectors[0]).tolist())))"
            return _VECTORS.format(model=model, texts=texts, result=result)
        case t.TextsParams():
            result = "print(vectors @ vectors.T)" if isinstance(request, t.SimilarityParams) else "print(vectors)"
            return _VECTORS.format(model=model, texts=request.texts, result=result)
        case t.QuestionParams():
            return _SPAN.format(**given)
        case t.SummarizeParams():
            return _SEQ2SEQ.format(model=model, text=request.text, longest=request.max_new_tokens)
        case t.TranslateParams():
            text = request.text
            if "t5" in model.lower():
                text = f"translate {request.source} to {request.target}: {text}"
            return _SEQ2SEQ.format(model=model, text=text, longest=request.max_new_tokens)
        case t.CaptionParams():
            return _CAPTION.format(model=model, file=request.file, longest=request.max_new_tokens)
        case t.SpeechParams():
            return _RECORDING.format(model=model, file=request.file)
    return _PIPELINE.format(task=task, model=model, call=_call(request))


def _call(request: t.TaskParams) -> str:
    name = "label"
    match request:
        case t.ZeroShotParams():
            return (
                f"found = ask(\n    {request.text!r},\n    candidate_labels={request.labels!r},\n"
                f"    hypothesis_template={request.hypothesis!r},\n)\n"
                'for label, score in zip(found["labels"], found["scores"]):\n    print(f"{score:.4f}  {label}")'
            )
        case t.EntitiesParams():
            return (
                f'for one in ask({request.text!r}, aggregation_strategy="simple"):\n'
                '    print(one["entity_group"], one["word"], round(float(one["score"]), 4))'
            )
        case t.FillParams():
            what, name = (
                f'{request.text!r}.replace("[MASK]", ask.tokenizer.mask_token), top_k={request.top_k}',
                "token_str",
            )
        case t.ImageParams():
            what = f"{request.file!r}, top_k={request.top_k}"
        case t.ClassifyParams():
            what = f"{request.text!r}, top_k={request.top_k}, truncation=True"
        case _:
            raise TypeError(f"{type(request).__name__} has no pipeline")
    return f'for one in ask({what}):\n    print(f"{{one[{name!r}]}}  {{one[{"score"!r}]:.4f}}")'

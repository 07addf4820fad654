"""How close answer and reference are in meaning: the cosine of their vectors by all-MiniLM-L6-v2; mean over rows."""

import functools
from typing import Any

import torch
import transformers

from backend.metrics import Array, Texts, compute, each, mean
from backend.starter import EMBEDDER_ID, locate

BATCH = 64


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: cosine, 1."""
    texts = sorted({*predictions, *references}, key=len)  # like lengths together; each text once
    vectors: dict[str, Any] = {}
    for begin in range(0, len(texts), BATCH):
        part = texts[begin : begin + BATCH]
        vectors |= dict(zip(part, _vectors(part), strict=True))
    return each([float(vectors[one] @ vectors[other]) for one, other in zip(predictions, references, strict=True)])


@functools.cache
def _embedder() -> tuple[Any, Any]:
    place = locate(EMBEDDER_ID)
    model = transformers.AutoModel.from_pretrained(place, use_safetensors=True)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(place)


def _vectors(texts: Texts) -> Any:
    """[texts, 384] of length 1: the mean over tokens."""
    model, tokenizer = _embedder()
    given = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = model(**given).last_hidden_state
    mask = given["attention_mask"][..., None].float()
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


value = mean("embedding_similarity")


EmbeddingSimilarity = compute("embedding_similarity", __doc__, rows, value, predictions="string", references="string")

"""The model and the sample data that are there from the first start.

A second model, which embeds sentences, comes when a task first asks for it. `locate` turns a name into something on
this disk, `ready` and `verify` look after the model's folder, and `python -m backend.starter` fetches the model.
"""

from backend.starter.embedder import EMBEDDER_ID, embedder_ready
from backend.starter.model import MODEL_ID, fetch, ready, verify
from backend.starter.names import IMAGE_ID, SAMPLES, locate

__all__ = ["EMBEDDER_ID", "IMAGE_ID", "MODEL_ID", "SAMPLES", "embedder_ready", "fetch", "locate", "ready", "verify"]

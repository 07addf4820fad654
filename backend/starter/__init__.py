"""The model and the sample data that are there from the first start.

`locate` turns a name into something on this disk, `ready` and `verify` look after the model's folder, and
`python -m backend.starter` fetches the model.
"""

from backend.starter.model import MODEL_ID, fetch, ready, verify
from backend.starter.names import SAMPLES, locate

__all__ = ["MODEL_ID", "SAMPLES", "fetch", "locate", "ready", "verify"]

"""The names that mean something embedded."""

from __future__ import annotations

from pathlib import Path

from backend.errors import NotFound
from backend.starter.embedder import EMBEDDER_ID, fetch_embedder
from backend.starter.model import MODEL_ID, Say, fetch, silent

SAMPLES: dict[str, Path] = {
    f"sample/{name}": Path(__file__).parent / "data" / f"{name}.jsonl"
    for name in ("instructions", "preferences", "evaluation", "forgetting")
}
SAMPLES["sample/mascot"] = Path(__file__).parent / "data" / "mascot.zip"  # pictures

IMAGE_ID = "atelier/emoji-64"  # draws small pictures
_PIPELINE = Path(__file__).parent / "pictures" / "pipeline"


def locate(name: str, folder: Path | None = None, say: Say = silent) -> str:
    """The local folder of an embedded model, the file of a sample dataset, or any other name unchanged.

    The model is fetched into the starter `folder` first where it isn't there yet, or waited for while another
    process fetches it. The one that draws is a part of this repository. Raises what `fetch` raises, NotFound.
    """
    if name == MODEL_ID:
        return str(fetch(folder, say=say))
    if name == EMBEDDER_ID:
        return str(fetch_embedder(folder, say=say))
    if name == IMAGE_ID:
        if not (_PIPELINE / "model_index.json").exists():
            raise NotFound(
                f"The files of {IMAGE_ID} are missing from {_PIPELINE}.", "Get the whole repository.", "model.unknown"
            )
        return str(_PIPELINE)
    if name in SAMPLES:
        return str(SAMPLES[name])
    return name

"""Figures of an evaluation as the Hub takes them: in a model's card, and as `.eval_results/*.yaml` for leaderboards.

The card's metadata (`model-index`) takes any dataset; `.eval_results` only datasets of the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.errors import BadInput
from backend.recipes.loading import hub_errors
from backend.recipes.part import Part

_ON_HUB = re.compile(r"[\w.\-]{1,96}/[\w.\-]{1,96}")
_TASK = "text-generation"


def files(told: Mapping[str, Any], model: int, repo: str, card: str) -> dict[str, str]:
    """Path in the repository → text. `card` is its README.md as it is, '' for none."""
    from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, eval_result_entries_to_yaml
    from huggingface_hub.utils._fixes import yaml_dump

    mine = [one for one in told["figures"] if one["model"] == model and one["value"] is not None]
    if not mine:
        raise BadInput("This evaluation has no figure of that model.", "Choose another.")
    dataset, day = str(told["dataset"]), datetime.fromtimestamp(told.get("at") or 0, UTC)
    part = Part.read(dataset)
    on_hub = bool(_ON_HUB.fullmatch(part.name)) and not dataset.startswith(("sample/", "upload/", "run/"))
    made: Any = ModelCard(card) if card.strip() else ModelCard(f"---\n{{}}\n---\n\n# {repo.split('/')[-1]}\n")
    kept = [one for one in made.data.eval_results or [] if one.dataset_name != dataset]
    new = [
        EvalResult(
            task_type=_TASK, dataset_type=part.name, dataset_name=dataset, metric_type=one["figure"],
            metric_name=one["title"], metric_value=_written(one), dataset_config=part.config or None,
            dataset_split=part.split or None, dataset_revision=part.revision or None,
        )
        for one in mine
    ]  # fmt: skip
    made.data.model_name = getattr(made.data, "model_name", None) or repo.split("/")[-1]
    made.data.eval_results = kept + new
    found = {"README.md": str(made)}
    if on_hub:
        entries = [
            EvalResultEntry(
                dataset_id=part.name, dataset_revision=part.revision or None, task_id=one["figure"],
                value=_written(one), date=day.strftime("%Y-%m-%d"), notes=_notes(one),
            )
            for one in mine
        ]  # fmt: skip
        found[f".eval_results/{part.name.split('/')[1]}.yaml"] = yaml_dump(eval_result_entries_to_yaml(entries))
    return found


def push(told: Mapping[str, Any], model: int, repo: str, token: str) -> str:
    """Write them into the model repository `repo`, which must be there, in one commit; gives its address.

    Raises BadInput without a token or a name, HubError, Gated, NotFound.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants
    from huggingface_hub.errors import EntryNotFoundError

    if not token:
        raise BadInput("Pushing needs a Hugging Face account, and nobody is signed in.", "Sign in first.", "hub.token")
    if not _ON_HUB.fullmatch(repo.strip()):
        raise BadInput(f"The repository is {repo[:80]!r}.", "Write it as owner/name.", "hub.name")
    repo, api = repo.strip(), HfApi(constants.ENDPOINT, token=token)
    with hub_errors(repo):
        try:
            card = Path(api.hf_hub_download(repo, "README.md")).read_text(encoding="utf-8")
        except EntryNotFoundError:
            card = ""
        made = files(told, model, repo, card)
        operations = [CommitOperationAdd(path, text.encode()) for path, text in made.items()]
        api.create_commit(repo, operations, commit_message=f"Measured on {told['dataset']}, by Atelier")
    return f"{constants.ENDPOINT}/{repo}"


def _written(one: Mapping[str, Any]) -> float:
    return float(round(one["value"] * (100 if one["unit"] == "%" else 1), 4))


def _notes(one: Mapping[str, Any]) -> str:
    if one["low"] is None:
        return f"n = {one['n']}"
    scale = 100 if one["unit"] == "%" else 1
    return f"95% interval {one['low'] * scale:.4g} to {one['high'] * scale:.4g}, n = {one['n']}"

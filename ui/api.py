"""The named endpoints: the same door as the tabs, for programs. Names, inputs and outputs are promises."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from backend import events as ev
from backend.engines.tasks import TASKS
from backend.engines.text import ChatParams
from backend.errors import BadInput, NotFound
from backend.lab import Lab
from ui.answers import question, together
from ui.data import endpoints
from ui.toasts import as_json, toasts
from ui.visitor import owner

DEFAULT = {name: field.default for name, field in ChatParams.model_fields.items()}
HISTORY = 'Earlier turns, oldest first: [{"role": "user" or "assistant", "content": text}, …].'


def publish(lab: Lab) -> None:
    """Add every endpoint to the Blocks that is being built."""

    def chat(
        message: str,
        history: list[dict[str, Any]] = [],  # noqa: B006  (gradio shows the default as it is; never changed here)
        model: str = "",
        adapter: str = "",
        system: str = "",
        max_new_tokens: int = DEFAULT["max_new_tokens"],
        temperature: float = DEFAULT["temperature"],
        top_p: float = DEFAULT["top_p"],
        seed: int = DEFAULT["seed"],
        json_schema: str = "",
        exact: bool = False,
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> Generator[str]:
        """Answer a message, streaming the text so far.

        Parameters:
            message: what to say
            history: earlier turns, oldest first, each {"role": "user" or "assistant", "content": text}
            model: a Hub id or a model on the server's disk; empty for the starter
            adapter: run/ID of a run of yours, or a Hub id; empty for none
            system: the system prompt
            max_new_tokens: the longest answer, in tokens
            temperature: 0 takes the likeliest token every time
            top_p: sample from the likeliest tokens that hold this much probability
            seed: the same seed gives the same answer
            json_schema: the answer is JSON that fits this schema, given as text; empty for any text
            exact: to the last bit what transformers' own generate gives; slower
        """
        asked = {
            "messages": [*_turns(history), {"role": "user", "content": question(message)}],
            "model": model,
            "adapter": adapter,
            "system": system,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "json_schema": json_schema,
            "exact": exact,
        }
        shown = ""
        for (answer,) in together([lab.stream("text", asked, owner(request))]):
            if answer.text != shown:
                shown = answer.text
                yield shown
            if answer.error:
                raise answer.error
        if answer.ended != "stop" and json_schema and not answer.values.get("complete"):
            raise BadInput(
                f"The answer was cut after {answer.tokens} tokens, so its JSON is incomplete.", "Raise max_new_tokens."
            )

    def image(
        prompt: str,
        model: str = "",
        steps: int | None = None,
        guidance: float | None = None,
        width: int = 0,
        height: int = 0,
        seed: int = 0,
        adapters: list[dict[str, Any]] = [],  # noqa: B006
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict[str, Any]:
        """Draw a picture from words: a PNG file that carries its settings, which the gallery keeps, too.

        Parameters:
            prompt: what to draw
            model: a Hub id of a text-to-image model, or one on the server's disk; empty for the starter
            steps: more are finer and take longer; empty for the model's own
            guidance: how closely it keeps to the prompt; empty for the model's own
            width: in pixels; 0 for the model's own
            height: in pixels; 0 for the model's own
            seed: the same seed and settings give the same picture
            adapters: LoRA and learned words on the model, for example [{"name": "run/ID or a Hub id", "weight": 1}]
        """
        asked: dict[str, Any] = {"prompt": prompt, "model": model, "steps": steps, "guidance": guidance}
        asked |= {"width": width, "height": height, "seed": seed, "adapters": adapters}
        drawn = lab.stream("image", asked, owner(request))
        [file] = [event.file for event in drawn if isinstance(event, ev.Produced) and event.kind == "picture"]
        return FileData(path=save_file_to_cache(file, get_upload_folder()), orig_name=Path(file).name).model_dump()

    def task(
        task: str,
        inputs: dict[str, Any] = {},  # noqa: B006
        model: str = "",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict[str, Any]:
        """Do a task beside chat with its text: classify, sort into labels, summarise, compare, embed, and the like.

        Parameters:
            task: one of the tasks of texts, for example zero-shot-classification, sentence-similarity, summarization
            inputs: a JSON object, or its text: what the task asks, for example {"text": "…", "labels": ["a", "b"]}
            model: a Hub id or a model on the server's disk; empty for the task's own
        """
        texts = [name for name, one in TASKS.items() if one.medium == "text"]
        if task not in texts:
            raise NotFound(f"There is no task {task[:40]!r} of texts.", f"Choose one of {', '.join(texts)}.")
        for event in lab.stream(task, _object(inputs, "inputs") | {"model": model}, owner(request)):
            if isinstance(event, ev.Finished):
                return event.values
        return {}

    def launch(
        recipe: str,
        params: dict[str, Any] = {},  # noqa: B006
        target: str = "local",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> str:
        """Queue a run and return its id.

        Parameters:
            recipe: what to do, for example sft
            params: a JSON object, or its text; fields with a default may be left out
            target: where it runs
        """
        return lab.launch(recipe, _object(params), owner(request), target).id

    def run(run_id: str, request: gr.Request) -> dict[str, Any]:
        """Where a run of yours stands: {id, recipe, target, state, progress, metrics, artifacts, error}.

        Parameters:
            run_id: what launch returned
        """
        return lab.status(run_id, owner(request))

    def events(run_id: str, after: int = 0, request: gr.Request = None) -> dict[str, Any]:  # type: ignore[assignment]
        """What happened in a run of yours: {events, cursor}.

        Parameters:
            run_id: what launch returned
            after: the cursor of the last call, or 0 for the beginning
        """
        found, cursor = lab.watch(run_id, owner(request), after)
        return {"events": [json.loads(ev.encode(event)) for event in found], "cursor": cursor}

    def runs(request: gr.Request) -> list[dict[str, Any]]:
        """Your runs, newest first, each as run tells it."""
        return lab.runs(owner(request))

    def cancel(run_id: str, save: bool = True, request: gr.Request = None) -> str:  # type: ignore[assignment]
        """Stop a run of yours and return its state.

        Parameters:
            run_id: what launch returned
            save: stop after the step in hand with everything saved, so that it can be resumed; false ends it at once
        """
        return lab.cancel(run_id, owner(request), save)

    def resume(run_id: str, request: gr.Request) -> str:
        """Go on with a stopped run of yours from its last checkpoint and return its state.

        Parameters:
            run_id: what launch returned
        """
        return lab.resume(run_id, owner(request))

    def upload(file: str, request: gr.Request) -> str:
        """Take in a dataset file and return its id, upload/…

        Parameters:
            file: the file
        """
        if not file:
            raise BadInput("There is no file.", "Send one, for example with gradio_client's handle_file(path).")
        return lab.upload(owner(request), Path(file))

    of_runs = (launch, run, events, runs, cancel, resume)
    every: tuple[Callable[..., Any], ...] = (chat, image, task, *endpoints.made(lab), *of_runs)
    for endpoint in every:
        gr.api(toasts(endpoint, page=False), api_name=endpoint.__name__)
    file, dataset, button = gr.File(visible=False), gr.Textbox(visible=False), gr.Button(visible=False)
    button.click(toasts(upload, page=False), file, dataset, api_name="upload")


def _turns(history: Any) -> list[dict[str, str]]:
    """Raises BadInput unless it is a list of role and content."""
    if not isinstance(history, list | None):
        raise BadInput(f"history is {type(history).__name__}; it must be a list.", HISTORY)
    for turn in history or []:
        known = isinstance(turn, dict) and turn.get("role") in ("user", "assistant", "system")
        if not known or not isinstance(turn.get("content"), str):
            raise BadInput(f"history holds {str(turn)[:80]!r}, which is not a turn.", HISTORY)
    return [{"role": turn["role"], "content": turn["content"]} for turn in history or []]


def _object(params: Any, name: str = "params") -> dict[str, Any]:
    """A JSON object, given as itself or as its text. Raises BadInput for anything else."""
    if isinstance(params, str):
        params = as_json(params, name)
    if not isinstance(params, dict):
        raise BadInput(
            f"{name} is {type(params).__name__}; it must be a JSON object.", 'For example {"max_steps": 10}.'
        )
    return params

"""Every method with every adapter on the starter itself, as a program asks for it: trained, finished, and asked."""

from __future__ import annotations

import math
import secrets
import shutil
import time

import pytest
from gradio_client import Client

from backend.jobs import ENDED
from backend.recipes import METHODS
from backend.recipes.adapters import ADAPTERS
from tests.conftest import Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def client(site: Server) -> Client:
    cookie = f"atelier_visitor={secrets.token_urlsafe(32)}"
    return Client(site.url, headers={"Cookie": cookie}, verbose=False)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("method", METHODS)
def test_the_starter_is_tuned(method: str, adapter: str, client: Client, site: Server) -> None:
    params = {"adapter": adapter, "max_steps": 2, "max_rows": 40, "eval_rows": 2}
    params |= {"per_device_train_batch_size": 4} if method != "ppo" else {}
    if "reward" in METHODS[method].params.model_fields:
        params |= {"reward": "length:20"}  # it tells answers apart
    params |= {"sample_prompts": 1} if method != "reward" else {}  # that one scores, and answers nothing
    run = client.predict(method, params, api_name="/launch")
    while (told := client.predict(run, api_name="/run"))["state"] not in ENDED:
        time.sleep(0.5)
    assert told["state"] == "finished", told["error"]
    events = client.predict(run, 0, api_name="/events")["events"]
    measured = [event for event in events if event["type"] == "Measured" and "grad_norm" in event["values"]]
    assert [event["step"] for event in measured] == [1, 2]
    assert all(math.isfinite(event["values"]["loss"]) for event in measured)
    assert any(event["values"]["grad_norm"] > 0 for event in measured)
    kind = "model" if adapter == "full" else "adapter"
    assert [one["file"] for one in told["artifacts"] if one["kind"] == kind] == [kind]
    if method != "reward":
        said = client.predict("Name a colour.", max_new_tokens=4, api_name="/chat", **{kind: f"run/{run}"})
        assert said.strip()
    shutil.rmtree(site.home / "runs" / run)  # all the weights, once a cell, would be 20 GB

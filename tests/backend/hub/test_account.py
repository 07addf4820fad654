"""Whose sign-in it is, where it comes from, what it may; nobody, and a Hub that can't be reached."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.errors import HubError
from backend.lab import Lab
from tests.backend.hub.conftest import WHO
from tests.localhub import ANN, BOB, Hub


def test_name_plan_scopes_and_where_the_sign_in_comes_from(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    who = lab_of().hub.account.who(WHO)
    assert (who["name"], who["plan"], who["scopes"], who["way"]) == ("ann", "PRO", ["write"], "environment")
    hub.account("hf_fine", "ann", scopes=("repo.write", "job.write"), orgs=("lab",))
    fine = lab_of("hf_fine").hub.account.who(WHO)
    assert (fine["scopes"], fine["organisations"]) == (["job.write", "repo.write"], ["lab"])


def test_it_is_asked_seldom(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    lab = lab_of()
    for _ in range(3):
        lab.hub.account.who(WHO)
    assert [path for _, _, path, _ in hub.asked].count("/api/whoami-v2") == 1


def test_nobody_is_signed_in(lab_of: Callable[..., Lab]) -> None:
    account = lab_of("").hub.account
    assert account.who(WHO) == {}
    with pytest.raises(HubError, match="not signed in") as error:
        account.needed(WHO)
    assert error.value.code == "hub.signed_out"


def test_the_machine_s_own_sign_in_is_lent_to_nobody_else(lab_of: Callable[..., Lab]) -> None:
    assert lab_of(GRADIO_SERVER_NAME="0.0.0.0").hub.account.who(WHO) == {}


def test_a_sign_in_that_has_ended_is_said(lab_of: Callable[..., Lab]) -> None:
    with pytest.raises(HubError, match="does not take this sign-in") as error:
        lab_of("hf_gone").hub.account.who(WHO)
    assert error.value.code == "hub.signin"


def test_a_visitor_s_own_sign_in_is_used_for_them_alone(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(GRADIO_SERVER_NAME="0.0.0.0")
    lab.token = {"user-bob": BOB, "user-ann": ANN}.get  # type: ignore[assignment]
    bob = lab.hub.account.who("user-bob")
    assert (bob["name"], bob["way"], lab.hub.account.name("user-ann")) == ("bob", "page", "ann")

"""ZeroGPU's own sentences, and what we make of them."""

import pytest

from backend.errors import Refused
from backend.quota import ANONYMOUS, FREE, Quota, Quotas, refusal, span


@pytest.mark.parametrize(
    ("title", "message", "code", "left", "wait"),
    [
        (
            "ZeroGPU quota exceeded",
            "You have exceeded your free ZeroGPU quota (60s requested vs. 35s left). Try again in 5:23:11. ",
            "zerogpu.quota",
            35,
            19391,
        ),
        (
            "ZeroGPU quota exceeded",
            "You have exceeded your Pro ZeroGPU quota (60s requested vs. 0s left). Try again in 1 day, 0:00:05. ",
            "zerogpu.quota",
            0,
            86405,
        ),
        ("ZeroGPU quota exceeded", "Space app has reached its GPU limit. Try re-running", "zerogpu.unknown", None, 60),
        ("ZeroGPU quota exceeded", "You have exceeded your ZeroGPU runs limit. ", "zerogpu.runs", None, 3600),
        ("ZeroGPU queue timeout", "No GPU was available after 60s Retry later", "zerogpu.queue", None, 20),
        ("ZeroGPU illegal duration", "The requested GPU duration (240s) is larger", "zerogpu.duration", None, 0),
        ("ZeroGPU pending credits exceeded", "You have too many ZeroGPU credits", "zerogpu.pending", None, 30),
        ("ZeroGPU client error", "Expired ZeroGPU proxy token", "zerogpu.expired", None, 2),
        ("ZeroGPU client error", "No GPU was available", "zerogpu.refused", None, 60),
        ("ZeroGPU worker error", "GPU task aborted", "zerogpu.aborted", None, 2),
        ("", "Connection closed by visitor while queueing", "zerogpu.left", None, 2),
    ],
)
def test_every_refusal_has_a_next_step(title, message, code, left, wait):
    told = refusal(title, message)
    assert (told.code, told.left, told.wait) == (code, left, wait)
    assert told.message.endswith((".", "?"))
    assert told.hint


def test_what_the_hub_tells_counts_and_is_asked_seldom():
    asked = []

    def ask(token):
        asked.append(token)
        return Quota(2400, 190, 1e10, True, True)

    quotas = Quotas(lambda owner: "hf_x" if owner == "user-ann" else "", ask)
    assert [quotas.of("user-ann").words for _ in range(3)] == ["3 min 10 s of your 40 min left today"] * 3
    assert asked == ["hf_x"]
    assert quotas.of("visitor-1").total == ANONYMOUS


def test_without_the_hub_it_is_reckoned_until_a_refusal_tells():
    quotas = Quotas()
    quotas.spent("user-bob", 100)
    assert quotas.of("user-bob").left == FREE - 100
    assert quotas.of("user-bob").words.startswith("about 3 min 20 s")
    quotas.refused("user-bob", Refused("no", left=12, wait=60))
    assert (quotas.of("user-bob").left, quotas.of("user-bob").known) == (12, True)
    assert "PRO" in quotas.of("user-bob").more
    assert "Signed in" in quotas.of("visitor-1").more


def test_spans():
    assert [span(s) for s in (0, 55, 165, 300, 12_000)] == ["0 s", "55 s", "2 min 45 s", "5 min", "3 h 20 min"]

import json

import pytest
from gradio_client.utils import is_file_obj

from backend import events as ev
from backend.jobs import fold


@pytest.mark.parametrize(
    ("last", "alive", "waiting", "stop", "state"),
    [
        ([], False, True, "", "queued"),
        ([ev.Paused()], False, True, "", "queued"),
        ([], True, False, "", "running"),
        ([ev.Started()], True, False, "", "running"),
        ([ev.Started()], True, False, "save", "stopping"),
        ([ev.Started()], False, False, "", "failed"),
        ([ev.Started()], False, False, "cancel", "cancelled"),
        ([ev.Finished()], False, False, "save", "finished"),
        ([ev.Paused()], False, False, "save", "paused"),
        ([ev.Cancelled()], False, False, "cancel", "cancelled"),
        ([ev.Failed()], False, False, "", "failed"),
        ([ev.Failed(), ev.Started()], True, False, "", "running"),
    ],
)
def test_state(last, alive, waiting, stop, state):
    assert fold(last).state(alive=alive, waiting=waiting, stop=stop) == state


def test_fold_takes_everything_in():
    status = fold(
        [
            ev.Started(at=10, info={"device": "cpu"}),
            ev.Measured(step=2, values={"loss": 2.0}),
            ev.Measured(step=3, values={"loss": 1.0, "grad_norm": 0.1}),
            ev.Progressed(done=3, total=6, eta=4),
            ev.Produced(kind="adapter", file="adapter", step=2),
            ev.Produced(kind="samples", step=3, data={"rows": []}),
            ev.Produced(kind="adapter", file="adapter", step=3),
            ev.Failed(at=20, code="c", message="m", hint="h"),
        ]
    )
    assert status.metrics == {"loss": 1.0, "grad_norm": 0.1}
    assert [a["step"] for a in status.artifacts] == [3]
    assert (status.step, status.done, status.total, status.eta) == (3, 3, 6, 4)
    assert status.error == {"code": "c", "message": "m", "hint": "h"}
    assert (status.started, status.ended) == (10, 20)


def test_a_new_start_forgets_the_old_end():
    status = fold([ev.Started(at=1), ev.Failed(at=2, message="x"), ev.Started(at=3, step=5)])
    assert status.error is None
    assert status.ended is None
    assert (status.started, status.step) == (1, 5)


def test_no_artifact_looks_like_a_file_to_gradios_client():
    """It would try to download it from the server, and fail."""
    status = fold([ev.Produced(kind="adapter", name="adapter", file="adapter", step=2)])
    assert not any(is_file_obj(row) for row in status.artifacts)
    assert not is_file_obj(json.loads(ev.encode(ev.Produced(kind="adapter", file="adapter"))))

import pytest

from backend import events as ev
from backend.errors import BadInput
from tests.tiny import tiny_model


def test_preflight_tells_what_a_run_would_take(lab, fake, tmp_path):
    asked = {"model": str(tiny_model(tmp_path / "model")), "max_steps": 40}
    told = lab.preflight("dpo", asked, "ann", "fake")
    assert told["verdict"]["level"] == "ok"
    assert told["time"] == {"steps": 40, "seconds_per_step": None, "seconds": None}
    with pytest.raises(BadInput, match="is 6, and num_generations is 4"):
        lab.preflight("grpo", asked | {"per_device_train_batch_size": 6, "num_generations": 4}, "ann", "fake")


def test_a_dry_run_tells_what_the_formula_does_not(lab, fake, tmp_path):
    asked = {"model": str(tiny_model(tmp_path / "model")), "max_steps": 40}
    values = {"memory_gb": 1.5, "seconds_per_step": 0.5, "steps": 3}
    fake.script = lambda run: [ev.Started(), ev.Finished(reason="dry run", values=values)]
    run = lab.dry_run("dpo", asked, "ann", "fake")
    assert lab.run(run.id, "ann").job.params["dry_run"] is True
    told = lab.preflight("dpo", asked, "ann", "fake")
    assert (told["memory"]["needed"], told["memory"]["measured"]) == (1_500_000_000, True)
    assert told["time"] == {"steps": 40, "seconds_per_step": 0.5, "seconds": 20.0}
    other = lab.preflight("dpo", asked | {"max_length": 64}, "ann", "fake")
    assert not other["memory"]["measured"], "it was measured with other settings"

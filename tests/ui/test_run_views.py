"""One run as HTML: escaped, and true about odd numbers."""

from __future__ import annotations

from typing import Any

from backend import events as ev
from tests.ui.run_status import EVIL, fold, status
from ui import charts, run_views, tune_views, views
from ui.folding import LINES, View


def test_a_loss_that_is_no_number_is_said_and_not_drawn() -> None:
    line = ev.encode(ev.Measured(step=2, values={"loss": float("nan"), "grad_norm": float("inf")}))
    view = fold(ev.Measured(step=1, values={"loss": 1.0}), ev.parse(line))
    assert view.series["loss"].points() == [(1, 1.0)]
    assert "not a number since step 2" in run_views.trouble(status(), view)
    shown = run_views.figures(status(metrics={"loss": "nan", "grad_norm": "inf"}))
    assert "not a number" in shown
    assert "infinite" in shown
    healed = fold(ev.parse(line), ev.Started(step=1))
    assert run_views.trouble(status(), healed) == ""


def test_everything_from_outside_is_escaped() -> None:
    row = {"prompt": EVIL, "reference": EVIL, "base": EVIL, "answer": EVIL}
    view = fold(
        ev.Wrote(text=EVIL), ev.Logged(level="error", text=EVIL),
        ev.Produced(kind="samples", step=1, data={"rows": [row]}),
        ev.Produced(kind=EVIL, name=EVIL, file="p"), ev.Failed(message=EVIL, hint=EVIL),
    )  # fmt: skip
    evil = status(
        id=EVIL, recipe=EVIL, state="failed", metrics={EVIL: 1.0, "loss": EVIL}, info={EVIL: EVIL}, parent=EVIL,
        params={"model": EVIL, "dataset": EVIL, "adapter": EVIL, EVIL: [EVIL]}, reason=EVIL,
        artifacts=[{"kind": EVIL, "name": EVIL, "file": EVIL, "step": 1}],
        error={"code": "x", "message": EVIL, "hint": EVIL},
    )  # fmt: skip
    relative = {"id": EVIL, "recipe": EVIL, "adapter": EVIL, "state": EVIL, "dataset": EVIL, "sources": {EVIL: EVIL}}
    drawn = [
        run_views.header(evil, view), run_views.samples(view), run_views.artifacts(evil), run_views.settings(evil),
        charts.page({EVIL: [(1, 2.0)], "loss": [(1, 2.0)]}), run_views.family([relative, relative | {"id": "b"}], "b"),
        views.listing([evil], EVIL, more=True),
        tune_views.preview([{EVIL: EVIL, "chat": [{"role": EVIL, "content": EVIL}], "n": {EVIL: 1}}]),
    ]  # fmt: skip
    assert all("script" in page for page in drawn)
    assert [page for page in drawn if "<script" in page.lower() or "\"'`" in page] == []


def test_the_full_log_has_every_line_and_figure() -> None:
    text = run_views.full_log(
        [ev.Started(at=0), ev.Measured(at=1, step=4, values={"loss": 0.5}), ev.Wrote(at=2, text="a\nb")]
    )
    assert text.splitlines() == [
        "1970-01-01 00:00:00 mark    Started.", "1970-01-01 00:00:01 measure step 4 loss=0.5",
        "1970-01-01 00:00:02 plain   a", "1970-01-01 00:00:02 plain   b",
    ]  # fmt: skip


def test_samples_show_how_the_answers_changed() -> None:
    rows = [{"prompt": "2+2?", "reference": "4", "base": "The answer is four", "answer": "{}"}]
    sets = [
        ev.Produced(kind="samples", step=step, data={"rows": [row | {"answer": now} for row in rows]})
        for step, now in ((5, "four"), (10, "4"))
    ]
    page = run_views.samples(fold(*sets))
    assert [word in page for word in ("2+2?", "The answer is four", "Step 5", "four", "Step 10")] == [True] * 5
    assert page.index("Step 5") < page.index("Step 10")
    assert run_views.samples(View()) == ""


def test_answers_that_nothing_is_learned_from_have_nothing_to_be() -> None:
    page = run_views.samples(
        fold(ev.Produced(kind="samples", step=8, data={"rows": [{"prompt": "2?", "answer": "4"}]}))
    )
    assert [word in page for word in ("The first answers", "<dt>Answer</dt>", "<dd>4</dd>")] == [True] * 3
    assert [word in page for word in ("Should be", "Base", "Step")] == [False] * 3


def test_the_log_is_sent_from_where_the_page_has_it() -> None:
    view = fold(*(ev.Wrote(at=0, text=f"line {i}") for i in range(LINES + 5)))
    every = run_views.log(view)
    assert (every["from"], len(every["lines"]), every["fresh"]) == (5, LINES, True)
    view.add(ev.Logged(at=0, level="error", text="it broke <b>"))
    view.add(ev.Wrote(at=0, text="10%\r20%\r30%"))
    assert run_views.log(view, LINES + 5) == {
        "from": LINES + 5,
        "lines": [
            ["1970-01-01T00:00:00+00:00", "error", "it broke <b>"],
            ["1970-01-01T00:00:00+00:00", "plain", "30%"],
        ],
        "fresh": False,
    }
    assert run_views.log(view, view.lines)["lines"] == []


def test_relatives_are_drawn_from_what_led_to_what_came() -> None:
    def one(name: str, recipe: str, **sources: str) -> dict[str, Any]:
        return {
            "id": name,
            "recipe": recipe,
            "adapter": "lora",
            "state": "finished",
            "dataset": "d",
            "sources": sources,
        }

    page = run_views.family(
        [one("aa", "sft"), one("bb", "reward"), one("cc", "ppo", aa="start_from", bb="reward")], "cc"
    )
    assert page.count("generation") == 2
    assert page.index("aa") < page.index("bb") < page.index("→") < page.index("<b>PPO · LoRA</b> cc")
    assert "goes on from aa, rewarded by bb" in page
    assert 'data-run="aa"' in page
    assert 'data-run="cc"' not in page
    assert run_views.family([one("aa", "sft")], "aa") == ""

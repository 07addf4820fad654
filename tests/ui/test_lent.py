"""What a visitor of a ZeroGPU Space can press when a run of theirs was refused."""

from __future__ import annotations

from ui import lent


def test_a_refusal_comes_with_what_else_there_is() -> None:
    assert lent.ways({}, rents=True, signs_in=True) == ""
    told = lent.ways({"run": "ab12", "why": "5 s are <left>."}, rents=False, signs_in=True)
    assert "Run ab12 waits." in told
    assert "5 s are &lt;left&gt;." in told
    assert 'data-way="cpu" data-run="ab12">Go on with the CPU here' in told
    assert "Sign in for more time" in told
    assert "Rent" not in told
    assert "Rent a GPU for it" in lent.ways({"run": "ab12", "why": ""}, rents=True, signs_in=False)

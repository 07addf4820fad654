"""The lines that a keeper reads, and what it says of the dead."""

import os

import pytest

from backend.targets.keeper import _how_it_died, _lines


def test_lines_as_programs_write_them():
    read, write = os.pipe()
    os.write(write, "one\ntwo\r\n 10%\r 20%\r\n\nünd no end".encode())
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert list(_lines(pipe)) == ["one", "two", " 10%", " 20%", "ünd no end"]


def test_a_line_without_end_is_cut():
    read, write = os.pipe()
    os.write(write, b"x" * 5000)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert sum(len(line) for line in _lines(pipe, longest=1000)) == 5000


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "signal 9"), (-11, "SIGSEGV"), (7, "exit code 7"), (0, "exit code 0")]
)
def test_how_it_died_says_what_to_do(code, words):
    failed = _how_it_died(code)
    assert words in failed.message
    assert "Resume" in failed.hint

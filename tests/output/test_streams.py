"""Lines that go to a stream whole."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from orchestrator.output.streams import Lines, UnfailingLines


def test_each_line_is_one_write(tmp_path: Path) -> None:
    """Processes that append to one file do not tear each other's lines, however long those are."""
    counting = _CountingFile(tmp_path / "out.jsonl")
    stream = io.TextIOWrapper(io.BufferedWriter(counting), encoding="ascii")
    lines = Lines(stream)
    assert lines.write("é" * 100_000 + "\n") == 100_001
    assert counting.writes == 1
    assert (tmp_path / "out.jsonl").stat().st_size == 400_001
    stream.close()


def test_nothing_is_left_to_fail_at_exit_when_the_reader_has_gone() -> None:
    """A closed pipe is an OSError at once, and closing the stream later raises nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        with pytest.raises(BrokenPipeError):
            Lines(stream).write("lost\n")
        assert UnfailingLines(stream).write("lost\n") == 5


class _CountingFile(io.FileIO):
    """A file that counts how often it is written to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w")
        self.writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type]  # whatever is a buffer

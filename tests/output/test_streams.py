"""Lines that go to a stream whole."""

from __future__ import annotations

import ast
import io
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.core.redact import hide
from orchestrator.output.streams import LAST_LOOKS, CleanText, Lines, Outlet


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
    with os.fdopen(writing, "w") as stream, pytest.raises(BrokenPipeError):
        Lines(stream).write("lost\n")


@contextmanager
def pipe_to(**settings: bool) -> Iterator[tuple[int, Outlet]]:
    """A pipe, and an outlet into it of a program that is to end."""
    reading, writing = os.pipe()
    yield reading, Outlet(writing, lambda: True, **settings)
    os.close(writing)


def test_an_outlet_writes_everything_and_knows_its_errors() -> None:
    """Even into a pipe that somebody made non-blocking, and that is full for a while."""
    with pipe_to() as (reading, outlet):
        os.set_blocking(outlet.fileno(), False)
        drain = threading.Thread(target=lambda: [os.read(reading, 65_536) for _ in range(4)])
        drain.start()
        assert outlet.write(bytes(200_000)) == 200_000
        drain.join()
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            outlet.write(b"lost")


def count_writers() -> int:
    """The threads that write for outlets; one never ends."""
    return sum(thread.name == "outlet" for thread in threading.enumerate())


def test_lines_for_which_there_is_room_are_written_without_a_thread(tmp_path: Path) -> None:
    """Into a file of any size, and into a pipe while nobody reads it; what does not fit is handed over."""
    before = count_writers()
    with (tmp_path / "out.jsonl").open("wb") as file:
        outlet = Outlet(file.fileno(), lambda: True)
        assert sum(outlet.write(bytes(size)) for size in (10, 200_000, 10)) == 200_020
    assert (tmp_path / "out.jsonl").stat().st_size == 200_020
    with pipe_to() as (reading, outlet):
        for _ in range(100):
            outlet.write(b"x" * 99 + b"\n")
        assert os.read(reading, 65_536) == (b"x" * 99 + b"\n") * 100
        assert count_writers() == before
        drain = threading.Thread(target=_read_line, args=(reading,))
        drain.start()
        outlet.write(bytes(100_000) + b"\n")
        drain.join()
        assert count_writers() == before + 1
        os.close(reading)


def test_a_line_that_fits_waits_for_one_that_did_not() -> None:
    """However often the reader makes room in between."""
    long = b"a" * 150_000 + b"\n"
    with pipe_to() as (reading, outlet):
        for _ in range(20):
            writer = threading.Thread(target=outlet.write, args=(long,))
            writer.start()
            read = os.read(reading, 65_536)
            other = threading.Thread(target=outlet.write, args=(b"b\n",))
            other.start()
            while read.count(b"\n") < 2:
                read += os.read(reading, 65_536)
            writer.join()
            other.join()
            assert read == long + b"b\n"
        os.close(reading)


def _read_line(reading: int) -> None:
    while b"\n" not in os.read(reading, 4096):
        pass


def test_an_unfailing_outlet_has_nobody_left_to_tell() -> None:
    """Writing to one that is gone is nothing."""
    with pipe_to(unfailing=True) as (reading, outlet):
        os.close(reading)
        assert outlet.write(b"lost") == 4


def test_an_outlet_of_a_program_that_is_to_end_gives_a_reader_up() -> None:
    """After some looks, for good."""
    looks = itertools.count()
    reading, writing = os.pipe()
    outlet = Outlet(writing, lambda: next(looks) >= 0)
    for _ in range(2):
        with pytest.raises(OSError, match="nobody reads it"):
            outlet.write(bytes(1_000_000))
    assert next(looks) == LAST_LOOKS
    os.close(reading)


class _CountingFile(io.FileIO):
    """A file that counts how often it is written to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w")
        self.writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type]  # whatever is a buffer


ROOT = Path(__file__).parents[2] / "orchestrator"

AROUND = {"__stdout__", "__stderr__", "TextIOWrapper", "buffer"}
"""Attributes by which text gets to a stream, and not through `CleanText` or `Lines`."""


WRITES = {"os.write", "os.writev", "os.pwrite", "os.pwritev"}


def ways_around(tree: ast.Module) -> list[str]:
    """The places where something is written past them."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    named = [node.attr for node in attributes if node.attr in AROUND]
    return named + [ast.unparse(node) for node in attributes if ast.unparse(node) in WRITES]


def test_nothing_is_written_past_the_place_where_secrets_are_masked() -> None:
    """`print`, click and tracebacks write to the standard streams, which are `CleanText`; the simulator is no part of it."""
    paths = [
        path for path in ROOT.rglob("*.py") if "simulator" not in path.parts and path.name != "streams.py"
    ]
    found = {path.name: ways_around(ast.parse(path.read_text(encoding="utf-8"))) for path in paths}
    assert {name: places for name, places in found.items() if places} == {}
    assert ways_around(ast.parse("import os, sys\nos.write(1, b'')\nsys.__stdout__.write('')")) == [
        "__stdout__",
        "os.write",
    ]


def test_a_clean_stream_masks_and_escapes_whatever_is_printed() -> None:
    """Tabs and ends of lines pass; a drawn line keeps its own escape sequences, and no secret."""
    hide("canary-of-the-streams")
    raw = io.BytesIO()
    stream = CleanText(raw, encoding="utf-8")
    print("a\tb canary-of-the-streams\r\n\x1b[2Jc\u202e", file=stream)
    Lines(stream).write("\x1b[31mcanary-of-the-streams\n")
    Lines(stream, drawn=True).write("\x1b[31mcanary-of-the-streams\n")
    stream.flush()
    said = raw.getvalue().decode()
    assert said.startswith("a\tb [masked]\r\n\\x1b[2Jc\\u202e\n")
    assert "canary-of" not in said

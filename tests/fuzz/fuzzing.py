"""One reader in one process: `python -m tests.fuzz.fuzzing LIBFUZZER_OPTIONS…`.

The variables FUZZ_READER and FUZZ_FIGURES say which one, and where its figures go: libFuzzer starts itself anew with
its own options alone. The figures are 24 bytes of a file that the caller made: executions, the slowest one in seconds of processor time,
and the largest resident size in kilobytes. They are true even after an end that no handler sees.
"""

from __future__ import annotations

import mmap
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

FIGURES = struct.Struct("<qdq")

SLOWEST = 1.0
"""Seconds of processor time that one reading may take."""


def main() -> None:
    """Fuzz the reader that is named, until libFuzzer has enough."""
    import atheris  # only `make fuzz` installs it

    name, figures = os.environ["FUZZ_READER"], os.environ["FUZZ_FIGURES"]
    with atheris.instrument_imports(include=["orchestrator", "yaml"]):
        from tests.fuzz.readers import READERS  # instrumented while it is imported
    with Path(figures).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), FIGURES.size)
    again = f"{sys.executable} -m tests.fuzz.fuzzing"  # what libFuzzer hands to a shell
    atheris.Setup([again, *sys.argv[1:]], _measure(READERS[name], memory))
    atheris.Fuzz()


def _measure(read: Callable[[bytes], None], memory: mmap.mmap) -> Callable[[bytes], None]:
    count, slowest = 0, 0.0

    def read_one(data: bytes) -> None:
        nonlocal count, slowest
        start = time.process_time()
        read(data)
        spent = time.process_time() - start
        count, slowest = count + 1, max(slowest, spent)
        FIGURES.pack_into(memory, 0, count, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        assert spent <= SLOWEST, f"it took {spent:.1f} s of processor time"

    return read_one


if __name__ == "__main__":
    main()

"""How long a container takes to stop: `python -m tests.container` stops a run in each state, and writes docs/container.md's table."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

from tests.container.engine import ROOT, TAG, Engine, copy_context
from tests.container.stops import SIGNALS, SITUATIONS, Case, Outcome, play_all

PAGE = ROOT / "docs" / "container.md"

BLOCK = re.compile(r"<!-- stops: begin -->.*<!-- stops: end -->", re.DOTALL)


def rows(outcomes: Mapping[Case, Future[Outcome]]) -> Iterator[str]:
    """The table: each situation, how long either signal took, and the last line that the run printed."""
    yield "| told to stop while it is | SIGTERM | SIGHUP | code | its last line | the same command again |"
    yield "|---|---|---|---|---|---|"
    for name in SITUATIONS:
        one, other = (outcomes[name, signal].result() for signal in SIGNALS)
        last = one.told.stderr.splitlines()[-1]
        codes = " / ".join(sorted({str(one.told.code), str(other.told.code)}))
        again = ", ".join(f"{n} {word}" for word, n in one.again.records[-1]["counts"].items() if n)
        yield f"| {name} | {one.seconds:.1f} s | {other.seconds:.1f} s | {codes} | `{last}` | {again} |"


def main() -> int:
    """Build the image, play all cases, write the table."""
    with tempfile.TemporaryDirectory(prefix="stops-") as name:
        folder = Path(name)
        for part in ("engine", "context", "cases"):
            (folder / part).mkdir()
        engine = Engine(folder / "engine")
        image = engine.build(copy_context(folder / "context"), tag=TAG, BASE=engine.base())
        with play_all(engine, image, folder / "cases") as outcomes:
            table = "\n".join(rows(outcomes))
    marked = f"<!-- stops: begin -->\n{table}\n<!-- stops: end -->"
    PAGE.write_text(BLOCK.sub(lambda _: marked, PAGE.read_text("utf-8")), "utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Keep `tesnap --help` in README.md current, between its two markers.

`help_text.py` writes it; `help_text.py --check` fails when it is not what the program prints.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- help: begin -->", "<!-- help: end -->"


def printed() -> str:
    """What the program prints, at 80 columns."""
    program = (
        "import sys; sys.argv = ['tesnap', '--help']; from orchestrator.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=README.parent, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.rstrip()


def current(readme: str, text: str) -> str:
    """The README with this help text between its markers; as it was when it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        return readme
    return f"{before}{BEGIN}\n```console\n$ tesnap --help\n{text}\n```\n{END}{after}"


def main() -> int:
    """Write or check; the exit code."""
    readme = README.read_text(encoding="utf-8")
    wanted = current(readme, printed())
    if "--check" not in sys.argv[1:]:
        README.write_text(wanted, encoding="utf-8")
    elif wanted != readme:
        print("README.md: the help text is out of date; run `make help-text`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

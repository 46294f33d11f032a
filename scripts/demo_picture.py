"""Draw docs/demo.svg: what the demo shows on a terminal, taken from a real one while it runs.

Needs tmux. Usage: `python scripts/demo_picture.py [SECONDS]`, the picture being taken after so many seconds.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 100, 30
SESSION = "tesnap-demo"
REMOTE_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def screen(after: float) -> str:
    """The terminal's screen, colours included, so many seconds after the demo began."""
    program = f"exec {sys.executable} -m orchestrator rehearse jobs.example.yaml"
    size = ("-x", str(COLUMNS), "-y", str(ROWS))
    subprocess.run(("tmux", "new-session", "-d", "-s", SESSION, *size, program), cwd=ROOT, check=True)
    try:
        time.sleep(after)
        taken = ("tmux", "capture-pane", "-e", "-p", "-t", SESSION)
        return subprocess.run(taken, check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run(("tmux", "kill-session", "-t", SESSION), check=False)


def main() -> None:
    """Take the screen and draw it, without the fonts that a reader would have to fetch from elsewhere."""
    after = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen(after).rstrip()))
    picture = console.export_svg(title="make demo", theme=MONOKAI)
    (ROOT / "docs" / "demo.svg").write_text(REMOTE_FONT.sub("", picture), encoding="utf-8")


if __name__ == "__main__":
    main()

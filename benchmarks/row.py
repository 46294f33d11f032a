"""One line of the table."""

from __future__ import annotations

from dataclasses import dataclass

HEADING = "| what | figure | ratio | compared with | target |\n|---|---:|---:|---|---|\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure with its unit, and what makes it comparable between machines: its ratio to another one."""

    name: str
    figure: str
    ratio: float | None = None
    to: str = ""
    target: str = ""

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.4f}" if self.ratio < 2 else f"{self.ratio:.1f}"
        return f"| {self.name} | {self.figure} | {ratio} | {self.to} | {self.target} |"


def milliseconds(seconds: float) -> str:
    """A short time as people read it."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"

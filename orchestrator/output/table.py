"""How wide a text is in a terminal, where a character takes no column, one or two."""

from __future__ import annotations

import unicodedata


def width_of(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(_width_of(char) for char in text)


def fit_to(text: str, columns: int) -> str:
    """The text in exactly that many columns: filled with spaces, or cut with an ellipsis."""
    width, cut, kept = 0, 0, 0
    for at, char in enumerate(text, start=1):
        width += _width_of(char)
        if width > columns:
            return text[:cut] + "…" + " " * (columns - kept - 1)
        if width < columns:
            cut, kept = at, width
    return text + " " * (columns - width)


def _width_of(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1

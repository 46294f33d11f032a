"""How an error speaks of what a user wrote: quoted shortly, never a secret, with the nearest word meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice

from orchestrator.core.redact import _LONGEST_WORD, looks_secret

_QUOTED = 60  # characters: a quotation has to be recognised, not read

_COMPARED = 200  # words: the nearest of more would cost more time than a suggestion is worth


def quote(text: str) -> str:
    """The text in quotes, shortened and with control characters escaped; never one that may be a secret."""
    if looks_secret(text):
        return "a value that looks like a token and is not shown"
    return repr(text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…")


def word(text: str) -> str:
    """A key as an error names it: in backquotes, or quoted as any other text when it is not plain."""
    plain = text.isascii() and text.isprintable() and "`" not in text and 0 < len(text) <= _QUOTED
    return f"`{text}`" if plain and not looks_secret(text) else quote(text)


def nearest_word(text: str, known: Iterable[str]) -> str | None:
    """The known word that the text most likely means, if there is one near enough."""
    by_lower = {name.lower(): name for name in islice(known, _COMPARED)}
    written = text[:_LONGEST_WORD].lower()
    near = difflib.get_close_matches(written, by_lower, n=1)
    near = near or [name for name in by_lower if written and name.startswith(f"{written}_")]  # url: url_file
    return by_lower[near[0]] if near else None


def choice(words: Sequence[str], *, last: str = "or") -> str:
    """The words as a sentence lists them: `a, b or c`."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def plural(number: int, noun: str, ending: str = "s") -> str:
    """The number with its noun: `1 job`, `2 jobs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{ending}"

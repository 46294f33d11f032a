"""The words of an error: what a user wrote, quoted shortly and never a secret, lists of names, the nearest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from orchestrator.core.redact import LONGEST_WORD, looks_secret

_QUOTED = 60  # characters: a quotation has to be recognised, not read

_COMPARED = 200  # words: the nearest of more would cost more time than a suggestion is worth

_LIKELY, _SURE = (
    0.6,
    0.8,
)  # of 1: the second where the text begins several known words, of which one may be nearer

_NAMED_AT_MOST = 10  # names in a sentence: as many as fit on a line or two


def quote(text: str) -> str:
    """The text in quotes, shortened and with control characters escaped; never one that may be a secret."""
    if looks_secret(text):
        return "a value that looks like a token and is not shown"
    return repr(text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…")


def word(text: str) -> str:
    """A key as an error names it: in backquotes, or quoted as any other text when it is not plain."""
    plain = text.isascii() and text.isprintable() and "`" not in text and 0 < len(text) <= _QUOTED
    return f"`{text}`" if plain and not looks_secret(text) else quote(text)


def choice(words: Sequence[str], *, last: str = "or") -> str:
    """The words as a sentence lists them: `a, b or c`; an empty text for none."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def first_names(names: Sequence[str], *, last: str = "and") -> str:
    """The first ten names and the number of the others, as a sentence lists them: `a, b and 7 more`."""
    more = len(names) - _NAMED_AT_MOST
    return choice([*names[:_NAMED_AT_MOST], *([f"{more} more"] if more > 0 else [])], last=last)


def nearest_word(text: str, known: Iterable[str], *, compared: int = _COMPARED) -> str | None:
    """The known word that the text most likely means, case aside, if one of the first `compared` is near enough."""
    by_lower = {name.lower(): name for name in islice(known, compared)}
    written = text[:LONGEST_WORD].lower()
    several = sum(name.startswith(written) for name in by_lower) > 1  # dns: dns-server, dns-trace or dnssec?
    near = closest(written, by_lower, most=1, cutoff=_SURE if several else _LIKELY)
    near = near or [name for name in by_lower if written and name.startswith(f"{written}_")]  # url: url_file
    return by_lower[near[0]] if near else None


def nearest_words(text: str, known: Sequence[str]) -> str:
    """The three known words nearest to the text, or the first five where none is near: `a, b, c`."""
    return ", ".join(closest(text[:LONGEST_WORD], known, most=3) or known[:5])


def plural(number: int, noun: str, ending: str = "s") -> str:
    """The number with its noun: `1 job`, `2 jobs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{ending}"


def closest(text: str, known: Iterable[str], *, most: int, cutoff: float = 0.6) -> list[str]:
    """The known texts that are most like this one, the likest first; `cutoff` between 0 and 1 as difflib has it."""
    from difflib import get_close_matches  # only where something was misspelt

    return get_close_matches(text, list(known), n=most, cutoff=cutoff)

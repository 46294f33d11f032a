"""Patterns: how people write a part of a name or tag, what matches it, and what is near when nothing does."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable
from itertools import islice

from orchestrator.core.redact import LONGEST_WORD
from orchestrator.core.text import closest

_COMPARED = 5000  # words: comparing with more takes longer than anybody waits for a suggestion

_SHOWN = 3  # suggestions

_WORDS_ALIKE = 0.8  # one letter of five: short words that share three of four are other words

_WORD = re.compile(r"\w+")


def is_like(text: str, pattern: str) -> bool:
    """True if the pattern is a part of the text or, with `*` or `?`, the whole of it; case does not matter."""
    if "*" in pattern or "?" in pattern:
        return matches(text, pattern)
    return pattern.casefold() in text.casefold()


def matches(text: str, pattern: str) -> bool:
    """True if the pattern is the whole text, `*` and `?` standing for anything; case does not matter."""
    return _compile(pattern.casefold()).fullmatch(text.casefold()) is not None


def nearest_names(pattern: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known texts that may have been meant: near as a whole, or with a word that is."""
    texts = list(islice(dict.fromkeys(known), _COMPARED))
    wanted = pattern.replace("*", "").replace("?", "").casefold()[:LONGEST_WORD]
    whole = closest(wanted, [text.casefold() for text in texts], most=_SHOWN)
    words = {word for text in texts for word in _WORD.findall(text.casefold())}
    known_words = list(islice(sorted(words), _COMPARED))
    near = closest(wanted, known_words, most=_SHOWN, cutoff=_WORDS_ALIKE)
    meant = [text for text in texts if text.casefold() in whole]
    meant += [text for word in near for text in texts if word in _WORD.findall(text.casefold())]
    return tuple(islice(dict.fromkeys(meant), _SHOWN))


@functools.lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str]:
    """The pattern as an expression; a bracket stands for itself."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))

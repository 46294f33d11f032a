"""Secrets that this process has read, found in any text, however many there are."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from itertools import chain

MASK = "[masked]"

SHORTEST_SECRET = 8
"""Shorter secrets are not looked for: they would mask innocent words (an API token has 36 characters)."""

TAILS = (32, 16, SHORTEST_SECRET)
"""The characters at its end by which a secret is looked up. Beginnings say little: addresses and JSON Web Tokens share
theirs."""

_BEARER = re.compile(r"[0-9A-Za-z._~+/=-]*")
"""The characters of a bearer token (RFC 6750). Secrets of others are kept apart: with a space among the characters
that are looked for, each sentence would be looked through."""


class _Shape:
    """Secrets whose tails are equally long and of the same characters.

    Only in runs of these characters that are long enough, which an expression finds, each stretch of a tail's length
    is looked up: so a text costs the same with one secret and with ten thousand.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._characters: frozenset[str] = frozenset()
        self._runs = re.compile("(?!)")
        self._secrets: dict[str, tuple[str, ...]] = {}

    def add(self, secret: str) -> None:
        """Look for this one, too."""
        tail = secret[-self.length :]
        known = self._secrets.get(tail, ())
        if secret in known:
            return
        self._secrets[tail] = (*known, secret)
        if not self._characters.issuperset(tail):
            self._characters |= frozenset(tail)
            characters = "".join(map(re.escape, sorted(self._characters)))
            self._runs = re.compile(f"[{characters}]{{{self.length},}}")

    def places(self, text: str) -> Iterator[int]:
        """The ends of the stretches that have to be looked up."""
        for run in self._runs.finditer(text):
            yield from range(run.start() + self.length, run.end() + 1)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """The stretches of the text that are secret."""
        for end in self.places(text):
            for secret in self._secrets.get(text[end - self.length : end], ()):
                if text.endswith(secret, 0, end):
                    yield end - len(secret), end


class Hidden:
    """A set of secrets, to which any thread may add while others look for them."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, bool], _Shape] = {}
        self._adding = threading.Lock()

    def add(self, secret: str) -> None:
        """Look for this one, too, unless it is short."""
        length = next((tail for tail in TAILS if tail <= len(secret)), None)
        if length is not None:
            with self._adding:
                self._shape(length, secret[-length:]).add(secret)

    def _shape(self, length: int, tail: str) -> _Shape:
        key = length, _BEARER.fullmatch(tail) is not None
        if key not in self._shapes:  # another mapping, since somebody may be going through this one
            self._shapes = {**self._shapes, key: _Shape(length)}
        return self._shapes[key]

    def places(self, text: str) -> list[int]:
        """The places of the text at which something is looked up: what looking through it costs."""
        return [place for shape in self._shapes.values() for place in shape.places(text)]

    def without(self, text: str) -> str:
        """The text with the mask in place of each secret; where two overlap, of both."""
        found = sorted(chain.from_iterable(shape.find(text) for shape in self._shapes.values()))
        shown, end = [], 0
        for first, last in found:
            if first >= end:
                shown += [text[end:first], MASK]
            end = max(end, last)
        return "".join((*shown, text[end:])) if found else text

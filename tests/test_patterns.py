"""No regular expression of the package takes more than linear time, whatever text it meets.

Three forms take longer, and are looked for in every pattern that a module keeps: a repetition in a repetition that can
be divided in several ways; two repetitions side by side that can share characters, with something required behind
them; and a search whose beginning fits again and again into its own repetition, with something required behind it
(`<title[^>]*>` over `<title<title<title`).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from re import _constants as codes  # type: ignore[attr-defined] # the parsed form has no public name
from re import _parser as parser  # type: ignore[attr-defined] # as above
from typing import Any

import pytest

import orchestrator

CATEGORIES = {"SPACE": r"\s", "WORD": r"\w", "DIGIT": r"\d"}

MANY = 1000
"""Repetitions up to this often are a constant factor."""

SAMPLE = [*map(chr, range(256)), "\u0130", "\u2028", "\U0001f1e6"]

FROM_THE_START = {
    "orchestrator.jobfile.types._URL": "fullmatch",
    "orchestrator.jobfile.types._PROXY": "fullmatch",
    "orchestrator.store.address._SCHEME": "match",
    "orchestrator.store.address._KEY_VALUE": "match",
    "orchestrator.store.address._HOST": "fullmatch",
    "orchestrator.windows.instants._INSTANT": "fullmatch",
    "orchestrator.api.credentials._TOKEN": "fullmatch",
}
"""Patterns that are never searched for: they begin where the text does."""

Node = tuple[Any, Any]


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every compiled pattern that a module of the package keeps, alone or in a collection, by its full name."""
    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for one in _within(value):
                yield f"{module.name}.{name}", one


def _within(value: object) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _within(one)


def troubles(pattern: str, flags: int = 0, *, searched: bool = True) -> list[str]:
    """The forms in a pattern that take more than linear time."""
    items = list(parser.parse(pattern, flags))
    flat = list(_alternatives(items))
    found = ["nested" for one in flat if _has_nested(one)]
    found += ["side by side" for one in flat if _has_neighbours(one)]
    found += ["begins again" for one in flat if searched and _begins_again(one)]
    return found


def _alternatives(items: Sequence[Node]) -> Iterator[list[Node]]:
    """The sequences of single items and repetitions that a pattern may be, groups and branches taken apart."""
    ways: list[list[Node]] = [[]]
    for code, value in items:
        if code is codes.SUBPATTERN:
            inner = [list(one) for one in _alternatives(list(value[3]))]
        elif code is codes.BRANCH:
            inner = [one for branch in value[1] for one in _alternatives(list(branch))]
        elif code is codes.ASSERT and value[0] > 0:  # what is looked ahead at is looked at as well
            inner = [list(one) for one in _alternatives(list(value[1]))]
        else:
            inner = [[(code, value)]]
        ways = [[*way, *one] for way in ways for one in inner]
    yield from ways


def _repeat(node: Node) -> tuple[int, list[Node]] | None:
    """The least number and the body of a repetition without an end, None for anything else."""
    code, value = node
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT) and value[1] > MANY:
        return int(value[0]), list(value[2])
    return None


def _characters(node: Node) -> frozenset[str]:
    """The sample's characters that one item may be, or that its repetition is made of."""
    code, value = node
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        ways = list(_alternatives(list(value[2])))
        return frozenset().union(*(_characters(one) for way in ways for one in way))
    return frozenset(char for char in SAMPLE if _is_one(node, char))


def _is_one(node: Node, char: str) -> bool:
    """True if a single item may be this character."""
    code, value = node
    if code is codes.IN:
        inner = [one for one in value if one[0] is not codes.NEGATE]
        return any(_is_one(one, char) for one in inner) is (len(inner) == len(value))
    if code is codes.RANGE:
        return any(value[0] <= ord(one) <= value[1] for one in (char.lower(), char.upper()) if len(one) == 1)
    if code is codes.CATEGORY:
        sign = next(sign for name, sign in CATEGORIES.items() if name in str(value))
        return (re.match(sign, char) is not None) is ("NOT" not in str(value))
    same = code in (codes.LITERAL, codes.NOT_LITERAL) and chr(value).lower() == char.lower()
    return code is codes.ANY or (code is codes.LITERAL and same) or (code is codes.NOT_LITERAL and not same)


def _is_required(node: Node) -> bool:
    code, value = node
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        return bool(value[0] > 0)
    return code is not codes.AT or value in (codes.AT_END, codes.AT_END_STRING)


def _has_nested(way: Sequence[Node]) -> bool:
    """True if a repetition's body is one that begins with what may also stand in a repetition within it."""
    for node in way:
        repeat = _repeat(node)
        for body in _alternatives(repeat[1]) if repeat else ():
            inner = [one for one in body if _repeat(one)]
            if inner and any(_characters(one) & _characters(body[0]) for one in inner):
                return True
    return False


def _has_neighbours(way: Sequence[Node]) -> bool:
    for at, node in enumerate(way):
        if not _repeat(node):
            continue
        shared = _characters(node)
        for place, other in enumerate(way[at + 1 :], at + 1):
            shared &= _characters(other)
            if not shared:
                break
            if _repeat(other) and any(map(_is_required, way[place + 1 :])):
                return True
    return False


def _begins_again(way: Sequence[Node]) -> bool:
    """True if all that stands before a repetition fits into it, and something has to stand behind it."""
    for at, node in enumerate(way):
        if not _repeat(node):
            continue
        inside, before = _characters(node), way[:at]
        behind = [one for one in way[at + 1 :] if _is_required(one)]
        bounded = any(one[0] is codes.ASSERT_NOT for one in before) or (
            any(one[0] is codes.AT for one in before)
            and all(char.isalnum() or char == "_" for char in inside)
        )
        fits = all(_characters(one) & inside for one in before if _is_required(one) and _characters(one))
        anchored = any(one[0] is codes.AT and one[1] is codes.AT_BEGINNING for one in before)
        if behind and fits and not bounded and not anchored:
            return True
    return False


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?is)<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>",
        r"(?s)<[^>]*>",
        r"\beyJ[\w-]+\.[\w-]+",
        r":[^/]*@",
        r"(a+)+b",
        r"(?:[a-z]+)*!",
        r"x[a-z]*[a-f]*!",
        r"\s+$",
    ],
)
def test_slow_patterns_are_recognised(pattern: str) -> None:
    """Those that were here once, and the textbook's."""
    assert troubles(pattern)


@pytest.mark.parametrize(
    "pattern",
    [r"[\w.-]+", r"(?:/[\w.~%+-]*)*", r"https?://[^\s/]+/\S+", r"\{[^{}]*\}?", r"\bbearer\s+\S", r"a*b?"],
)
def test_fast_patterns_are_let_through(pattern: str) -> None:
    """A repetition that its own beginning ends, or with nothing required behind it."""
    assert not troubles(pattern)


def test_every_pattern_of_the_package_is_linear() -> None:
    """Of all modules; what cannot be said by such a pattern is read by a loop or the methods of a text."""
    slow = {
        f"{name} {pattern.pattern!r}": found
        for name, pattern in patterns()
        if (found := troubles(pattern.pattern, pattern.flags, searched=name not in FROM_THE_START))
    }
    assert slow == {}

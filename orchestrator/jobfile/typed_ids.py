"""Ids of tests as people bring them: typed, piped, copied from a spreadsheet, a JSON list or the web app's address bar.

What can be meant in one way is read so; what can be meant in two ways is an error that asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, urlsplit

from orchestrator.core import UsageError, quote
from orchestrator.jobfile.reader import STDIN

_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)  # a # within a word may belong to an address

_THOUSANDS = re.compile(
    r"[0-9]{1,3}(?:[,.'\u2019\u00a0\u202f\u2009][0-9]{3})+"
)  # as a spreadsheet writes one number

_BESIDE = (
    "[](){}\"'`\u201c\u201d\u2018\u2019\ufeff\u200b"  # what stands around ids in lists, cells and pasted text
)

_HEADS = ("id", "ids", "test", "tests", "testid", "testids")  # names of a column, letters alone

_API_PATH = re.compile(
    r"/tests/(?:[a-z-]+/)?([0-9]+)/?"
)  # of ThousandEyes' API: /v7/tests/http-server/202701


def read_test_ids(words: Iterable[str], stdin: Iterable[str] | None) -> tuple[str, ...]:
    """The ids that were typed, and for `-` those on standard input, each once; `#` comments and a head are left out.

    UsageError for what is no id, or could be one or two.
    """
    found: list[str] = []
    for word in words:
        lines = _without_head(stdin or ()) if word == STDIN else [word]
        found += [_read_id(cell) for line in lines for cell in _cells(line)]
    if not found and words:
        raise UsageError("standard input has no test id: nothing was sent")
    return tuple(dict.fromkeys(found))


def _without_head(lines: Iterable[str]) -> Iterator[str]:
    """The lines without comments and without the name of the column over them."""
    first = True
    for line in lines:
        text = _COMMENT.sub("", line.lstrip("\ufeff"))
        is_head = first and re.sub(r"[^a-z]", "", text.lower()) in _HEADS and not re.search(r"[0-9]", text)
        first = first and not text.strip()
        if not is_head:
            yield text


def _cells(line: str) -> Iterator[str]:
    """The line's cells; an address is one, and so is a number that may have separators of thousands."""
    for word in re.split(r"[ \t\r\n\f\v;]+", line):
        cell = word.strip(f"{_BESIDE},")
        if _THOUSANDS.fullmatch(cell) or "://" in cell:
            yield cell
        else:
            yield from filter(None, (part.strip(_BESIDE) for part in re.split(r"[,\s]+", cell)))


def _read_id(cell: str) -> str:
    """The id that the cell means."""
    if _THOUSANDS.fullmatch(cell):
        parts = re.findall(r"[0-9]+", cell)
        raise UsageError(
            f"{quote(cell)} can be {len(parts)} test ids or a single one: write {' '.join(parts)}, or {''.join(parts)}"
        )
    written = (
        _id_in_address(cell) if "://" in cell else re.sub(r"\.0+$", "", cell)
    )  # 202701.0, of a spreadsheet
    if not (written.isascii() and written.isdecimal()):
        raise UsageError(
            f"{quote(cell)} is not a test id, which has digits only: a name goes with --test-name"
        )
    return written


def _id_in_address(address: str) -> str:
    """The id in an address of ThousandEyes' web app or API; an empty text where there is none, or several."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if not f".{parts.hostname or ''}".endswith(".thousandeyes.com"):
        return ""
    match = _API_PATH.search(f"{parts.path}/")
    ids = {value for key, value in parse_qsl(parts.query) if key.lower() == "testid"}
    ids |= {match[1]} if match else set()
    return ids.pop() if len(ids) == 1 else ""

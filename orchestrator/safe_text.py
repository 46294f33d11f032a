"""Text that may leave: without secrets, without unwanted links, harmless where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from orchestrator.secrecy import without_credentials
from orchestrator.wording import is_plain

MASK = "[masked]"

SHORTEST_SECRET = 8
"""Shorter secrets are not looked for: they would mask innocent words (an API token has 36 characters)."""

_URL = re.compile(r"(https?://[^\s/\"'<>]+)/[^\s\"'<>]+", re.IGNORECASE)
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")
_ADDRESS = re.compile(r"(\w)(:(?=//)|(?<=www)\.)", re.IGNORECASE)  # what is made a link without being asked
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # OWASP's list, with the full-width ones


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the secrets and without whatever is said to be a credential: a last resort."""
    for secret in sorted((one for one in secrets if len(one) >= SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return without_credentials(text, MASK)


def without_links(text: str) -> str:
    """The text with every URL cut to its host: the path of a link is the right to open it."""
    return _URL.sub(r"\1/…", text)


def in_texts(value: object, change: Callable[[str], str]) -> object:
    """The value, of the kinds that JSON has, with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {in_texts(key, change): in_texts(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [in_texts(one, change) for one in value]
    return value


def harmless(text: str) -> str:
    """The text on one line and without what a terminal obeys: such characters as Python writes them."""
    if text.isprintable():
        return text
    return "".join(char if is_plain(char) else _escaped(char) for char in text)


def markdown(text: str) -> str:
    """The text as one cell of a Markdown table shows it, nothing in it being markup."""
    escaped = _ADDRESS.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", harmless(text)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def spreadsheet(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula (OWASP: a quote goes before it)."""
    shown = harmless(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")

"""Text that may leave: without secrets, without unwanted links, harmless where it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from orchestrator.core.hidden import MASK, Hidden

_LOOKED_AT = 4096  # characters: no credential begins later in a text that somebody typed

_SCHEMES = ("bearer", "basic")
_NAMES = ("token", "secret", "password", "authorization", "apikey", "api-key", "api_key")
"""The words, in any case, after which a credential may stand: a text without them has none."""

_SPACE = r"(?:\s|\\{1,8}(?:[tnrfv]|x(?:0[bc]|85|a0)|u(?:00[028a][059a-d]|1680|20[0-5][0-9af]|3000)))"
"""White space, also as JSON and Python escape it, once or within a text that is escaped again."""

_ANNOUNCED = re.compile(
    rf"((?a:{'|'.join(_SCHEMES)})(?:{_SPACE}|%20|\+)+"
    rf"|(?a:{'|'.join(_NAMES)})(?:\\*[\"'])?{_SPACE}*[:=]{_SPACE}*(?:\\*[\"'])?)([a-z0-9._~+/=-]{{8,}})",
    re.IGNORECASE,
)

_LONGEST_NAME = len("authorization")

_DOTTED = re.compile(r"[\w.-]+", re.ASCII)

_JWT_HEAD = re.compile(
    r"\beyJ[\w-]", re.ASCII | re.IGNORECASE
)  # a JSON Web Token: base64 of {" and what follows

_FORM = re.compile(
    r"\bbearer\s+\S"  # an Authorization header
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"  # ThousandEyes' own form, a UUID
    r"|\b(?=[a-z]*[0-9])(?=[0-9]*[a-z])[0-9a-z]{32,}\b",  # a long run of letters and digits
    re.IGNORECASE | re.ASCII,
)

_SURELY = re.compile(
    r"\b(?:bearer|basic)\s+(?=[a-z._~+/=-]*\d)[a-z0-9._~+/=-]{16,}"  # an Authorization header with its value
    r"|(?<![/\w-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![/\w-])",  # a UUID, not in a path
    re.IGNORECASE | re.ASCII,
)


def holds_secret(text: str) -> bool:
    """True if a text of the user's own, which may say anything, holds what is hardly anything but a token.

    A hash, a build's number or the word `bearer` does no harm there.
    """
    start = text[:_LOOKED_AT]
    return _SURELY.search(start) is not None or _holds_web_token(start, parts=3)


def looks_secret(text: str) -> bool:
    """True if the text may be an API token; a long text may always be one."""
    start = text[:_LOOKED_AT]
    announced = next(_find_credentials(start), None)
    return announced is not None or _FORM.search(start) is not None or _holds_web_token(start, parts=2)


def without_credentials(text: str, mask: str) -> str:
    """The text with the mask in place of whatever is said to be a credential."""
    shown, end = [], 0
    for found in _find_credentials(text):
        shown += [text[end : found.end(1)], mask]
        end = found.end()
    return "".join((*shown, text[end:])) if end else text


def _find_credentials(text: str) -> Iterator[re.Match[str]]:
    """The places where a credential is announced, each with its announcement and its value.

    A value has a digit: "Bearer token" is no credential. Where it has none, no other one within it has, and the search
    goes on where a name may begin that is its end: whatever the text is, each character is looked at a few times.
    """
    lowered = text.lower()
    if not any(word in lowered for word in (*_SCHEMES, *_NAMES)):
        return
    at = 0
    while (found := _ANNOUNCED.search(text, at)) is not None:
        if any(map(str.isdigit, found[2])):
            yield found
            at = found.end()
        else:
            at = max(found.end(1), found.end() - _LONGEST_NAME)


def _holds_web_token(text: str, *, parts: int) -> bool:
    """True if the text holds a JSON Web Token, or so many parts of one with dots in between."""
    for run in _DOTTED.findall(text):
        words = run.split(".")
        for at, word in enumerate(words[: 1 - parts]):
            if all(words[at + 1 : at + parts]) and _JWT_HEAD.search(word):
                return True
    return False


LONGEST_WORD = 80  # characters: nobody misspells a longer word by a letter

_JOINERS = "\u00a0\u00ad\u200c\u200d\u202f\u3000"  # not printable to Python, but parts of names

_SECRET_KEY = re.compile(
    r"(^|_)(token|bearer|authorization|auth|password|passwd|passphrase|pass|pwd|secret|api_?key|private_key"
    r"|credentials?)$"
)

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_plain(text: str) -> bool:
    """True if a terminal shows every character of it, and obeys none."""
    return text.isprintable() or all(char.isprintable() or char in _JOINERS for char in text)


def is_secret_key(key: str) -> bool:
    """True if a key asks for a secret itself (`token`, `apiKey`), rather than for where one is kept."""
    snake = _HUMP.sub("_", key[:LONGEST_WORD]).lower().replace("-", "_")
    return _SECRET_KEY.search(snake) is not None


_URL = re.compile(r"(https?://[^\s/\"'<>]+)/[^\s\"'<>]+", re.IGNORECASE)

_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")

_ADDRESS = re.compile(r"(\w)(:(?=//)|(?<=www)\.)", re.IGNORECASE)  # what is made a link without being asked

_LINE_PARTS = re.compile(r"(?:(?!\r?\n)[^\t])+")  # what stands between tabs and the ends of lines

_SPELLED_ALIKE = re.compile(r"[0-9A-Za-z-]*")  # in whatever form, as ThousandEyes' tokens are

_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # OWASP's list, with the full-width ones


_hidden = Hidden()


def hide(secret: str) -> None:
    """Keep a secret that this process has read out of all that it prints from now on, in any usual spelling."""
    for form in spellings(secret):
        _hidden.add(form)


def spellings(secret: str) -> set[str]:
    """The secret in each form in which this program could print it."""
    if _SPELLED_ALIKE.fullmatch(secret):
        return {secret}
    import html  # not before they are needed: both take their time to be loaded
    import json

    quoted = quote(secret), quote(secret, safe="")
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],  # in a traceback
        secret.replace('"', '""'),  # in CSV
        *quoted,
        *(re.sub("%..", lambda found: found[0].lower(), text) for text in quoted),
        html.escape(secret),
        escape_markdown(secret),
        harmless(secret),
    }


def mask_secrets(text: str) -> str:
    """The text without what is hidden and without whatever is said to be a credential."""
    return without_credentials(_hidden.without(text), MASK)


def without_links(text: str) -> str:
    """The text with every URL cut to its host: the path of a link is the right to open it."""
    return _URL.sub(r"\1/…", text)


def change_texts(value: object, change: Callable[[str], str]) -> object:
    """The value, of the kinds that JSON has, with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change_texts(key, change): change_texts(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [change_texts(one, change) for one in value]
    return value


def harmless(text: str) -> str:
    """The text on one line and without what a terminal obeys: such characters as Python writes them."""
    if text.isprintable():
        return text
    return "".join(char if is_plain(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def leaving_text(text: str) -> str:
    """Lines as they may leave the program: secrets masked, and nothing in them that a terminal obeys."""
    masked = mask_secrets(text)
    if masked.replace("\n", "").isprintable():
        return masked
    return _LINE_PARTS.sub(lambda found: harmless(found[0]), masked)


def escape_markdown(text: str) -> str:
    """The text as one cell of a Markdown table shows it, nothing in it being markup."""
    escaped = _ADDRESS.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", harmless(text)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_formula(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula (OWASP: a quote goes before it)."""
    shown = harmless(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown

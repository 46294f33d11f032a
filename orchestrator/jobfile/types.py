"""The scalar kinds of a job file and how each is read from text: for the entries of `schema`.

A reader raises an error with a phrase, which goes on with what was written (`digits only, not 'x'`), or with a
sentence of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Formatter
from typing import Any, Literal

from orchestrator.core import LEAST_AGE, choice, is_plain, is_unencrypted, looks_secret, nearest_word, quote
from orchestrator.jobfile.kinds import Scalar, phrase, sentence
from orchestrator.windows import DAY, parse_duration

TestType = Literal[
    "api", "agent-to-agent", "agent-to-server", "bgp", "http-server", "page-load", "web-transactions",
    "ftp-server", "dns-trace", "dns-server", "dnssec", "sip-server", "voice",
]  # fmt: skip
"""The test types of ThousandEyes' version 7 API (`GET /tests`), all of which can be snapshotted."""

DISPLAY_FIELDS = ("test", "test_id", "start", "end", "duration", "key", "job", "organization")
"""The fields that a `display_name` may have in braces."""

_LONGEST_TEXT = 1000  # characters: no name or path that means anything is longer

_FILLED = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[\w.~%+-]*)*)",
    re.IGNORECASE | re.ASCII,
)

_PROXY = re.compile(
    r"https?://(?:[^\s/@]+@)?(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?/?", re.IGNORECASE | re.ASCII
)

_NOT_HERE = (
    "this looks like a token itself: tokens are never written into a job file; put it into a file or a variable and"
    " write where it is"
)


def _text_like(pattern: str, text: str) -> Callable[[Any], str]:
    """A text that the pattern describes whole; otherwise the phrase says what to write."""

    def read(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise phrase(text)

    return read


def _any_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise phrase("write a text")


def _text(written: Any) -> str:
    value = _any_text(written)
    if not value.strip():
        raise sentence("an empty text: write something, or leave the key out")
    if len(value) > _LONGEST_TEXT:
        raise phrase(f"at most {_LONGEST_TEXT} characters")
    if not is_plain(value):
        raise phrase("one line of printable characters only")
    return value


def whole_number(low: int, high: int) -> Scalar:
    """A whole number between the two."""
    digits = _text_like("[0-9]{1,9}", "write a whole number, in digits only")

    def read(value: Any) -> int:
        number = int(digits(value))
        if not low <= number <= high:
            raise phrase(f"a number from {low} to {high}")
        return number

    return Scalar(read, {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, _FILLED]})


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise phrase("write a duration such as 90s, 5m or 1h30m")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise sentence(str(error)) from None


def _over_zero(value: Any) -> float:
    seconds = _seconds(value)
    if not seconds:
        raise phrase("a duration over zero")
    return seconds


def _age(value: Any) -> float:
    seconds = _seconds(value)
    if seconds < LEAST_AGE:
        raise phrase(f"{LEAST_AGE / DAY:.0f}d or more: until then a snapshot may still exist")
    return seconds


def _flag(value: Any) -> bool:
    return _flag_text(value).lower() == "true"


def _variable(value: Any) -> str:
    if looks_secret(_any_text(value)):
        raise sentence(_NOT_HERE)
    return _variable_name(value)


def _file_path(value: Any) -> str:
    return _path(_text(value))


def _own_path(value: Any) -> str:
    return _path(_text(value), ("organization",))


def _token_path(value: Any) -> str:
    if "/" not in _text(value) and looks_secret(value):
        raise sentence(_NOT_HERE)
    return _own_path(value)


def _path(value: str, fields: tuple[str, ...] = ()) -> str:
    if "://" in value:
        raise sentence("this is an address, not a path: write it into a file, and that file's path here")
    for written in re.findall(r"\{[^{}]*\}?|\}", value):
        if written[1:-1] not in fields:
            allowed = "only {organization} is allowed in braces" if fields else "braces mean nothing here"
            raise phrase(f"a path in which {allowed}")
    return value


def read_base_url(value: Any) -> str:
    """The URL as written, without a trailing slash and with scheme and host in lower case; `Wrong` if it is none."""
    match = _URL.fullmatch(_any_text(value))
    if match is None or "/../" in f"{match['path']}/" or int(match["port"] or 1) not in range(1, 65536):
        raise sentence(
            "not a base URL: write https://HOST/PATH, without user, password, query and fragment, such as"
            " https://api.thousandeyes.com/v7"
        )
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if is_unencrypted(scheme, host):
        raise sentence("the token would be sent unencrypted: write https:// (http:// is for loopback only)")
    port = f":{int(match['port'])}" if match["port"] else ""
    return f"{scheme}://{host}{port}{match['path'].rstrip('/')}"


def _proxy(written: Any) -> str:
    value = _any_text(written)
    if not _PROXY.fullmatch(value):
        raise sentence("not the URL of a proxy: write http://HOST:PORT")
    return value


def _display_name(written: Any) -> str:
    value = _text(written)
    try:
        parts = list(Formatter().parse(value))
    except ValueError:
        raise phrase(
            "a template whose braces come in pairs ({{ and }} stand for braces themselves)"
        ) from None
    for _, field, spec, conversion in parts:
        if field in DISPLAY_FIELDS and (spec or conversion):
            raise sentence(
                f"{{{field}}} takes no format after a colon or an exclamation mark: write it alone"
            )
        if field is not None and field not in DISPLAY_FIELDS:
            near = nearest_word(field, DISPLAY_FIELDS)
            fields = choice([f"{{{name}}}" for name in DISPLAY_FIELDS], last="and")
            hint = f"did you mean {{{near}}}?" if near else f"the fields are {fields}"
            raise sentence(f"a field {quote(field)} is not known: {hint}")
    return value


_flag_text = _text_like("true|True|TRUE|false|False|FALSE", "write true or false")

_variable_name = _text_like(
    "[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, such as TE_TOKEN_ACME"
)

_name = _text_like(
    r"(?![. ])[^/\\*?\[\]{},]+(?<! )",
    r"a name without / \ * ? [ ] { } and commas, and not starting with a dot or space",
)

_job_name = _text_like(r"\S.*\S|\S", "a name without spaces around it")

_digits = _text_like("[0-9]{1,20}", "digits only, as in the web app's address bar")

_PLAIN, _SOME = {"type": "string"}, {"type": "string", "minLength": 1}

_DURATION = {"anyOf": [{"type": "string", "pattern": "^([0-9]+(ms|[smhd]))+$"}, _FILLED]}

ANY_TEXT = Scalar(_any_text, _PLAIN)

TEXT = Scalar(_text, _SOME)

NAME = Scalar(lambda value: _name(_text(value)), _SOME)

JOB_NAME = Scalar(lambda value: _job_name(_text(value)), _SOME)

DISPLAY_NAME = Scalar(_display_name, _SOME)

DIGITS = Scalar(
    lambda value: _digits(_any_text(value)),
    {
        "anyOf": [
            {"type": "string", "pattern": "^[0-9]{1,20}$"},
            {"type": "integer", "minimum": 0},
            _FILLED,
        ]
    },
)

TEXT_OR_DIGITS = Scalar(_text, {"type": ["string", "integer"]})

FLAG = Scalar(_flag, {"anyOf": [{"type": "boolean"}, _FILLED]})

DURATION = Scalar(_seconds, _DURATION)

AGE = Scalar(_age, _DURATION)

PERIOD = Scalar(_over_zero, _DURATION)

VERSION = Scalar(_text_like("1", "this version of tesnap reads `version: 1`"), {"const": 1})

FILE_PATH = Scalar(_file_path, _SOME)

OWN_PATH = Scalar(_own_path, _SOME)
"""A path in which `{organization}` stands for an organization's name."""

TOKEN_PATH = Scalar(_token_path, _SOME)

VARIABLE = Scalar(_variable, _PLAIN)

BASE_URL = Scalar(read_base_url, _PLAIN)

PROXY = Scalar(_proxy, _PLAIN)

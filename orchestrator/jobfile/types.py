"""The scalar types of a job file, lists of them, and how each is read from text: for the entries of `schema`.

A reader raises an error with a phrase, which goes on with what was written (`digits only, not 'x'`), or with a
sentence of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain, islice
from string import Formatter
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from orchestrator.core import choice, is_plain, is_unencrypted, looks_secret, nearest_word, quote
from orchestrator.windows import parse_duration

TestType = Literal[
    "api", "agent-to-agent", "agent-to-server", "bgp", "http-server", "page-load", "web-transactions",
    "ftp-server", "dns-trace", "dns-server", "dnssec", "sip-server", "voice",
]  # fmt: skip
"""The test types of ThousandEyes' version 7 API (`GET /tests`), all of which can be snapshotted."""

DISPLAY_FIELDS = ("test", "test_id", "start", "end", "duration", "key", "job", "organization")
"""The fields that a `display_name` may have in braces."""

PHRASE: Final = "phrase"
"""Type of an error whose text goes on with what was written: `digits only, not 'x'`."""

SENTENCE: Final = "sentence"
"""Type of an error whose text is complete, and may itself quote what was written."""

TOO_MANY = 1000
"""Errors of a list or mapping after which it is given up."""

_AT_ONCE = 50  # entries of a list or mapping that are read in one go

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


def _phrase(text: str) -> PydanticCustomError:
    return PydanticCustomError(PHRASE, "{text}", {"text": text})


def _sentence(text: str) -> PydanticCustomError:
    return PydanticCustomError(SENTENCE, "{text}", {"text": text})


def _text_like(pattern: str, text: str) -> Any:
    """A text that the pattern describes whole; otherwise the phrase says what to write."""

    def read(value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise _phrase(text)
        return value

    return read


def _read_pieces(value: Any, read: Callable[[Any], Any]) -> Any:
    """The entries as `read` makes them of all together, or of the errors as many as anybody wants to see.

    A file with a wrong entry in every line would otherwise cost more memory in errors than it has in bytes.
    """
    if not isinstance(value, list | dict) or len(value) <= _AT_ONCE:
        return read(value)
    wrong: list[InitErrorDetails] = []
    results: list[Any] = []
    entries = iter(value if isinstance(value, list) else value.items())
    for start in range(0, len(value), _AT_ONCE):
        some = list(islice(entries, _AT_ONCE))
        try:
            results.append(read(some if isinstance(value, list) else dict(some)))
        except ValidationError as error:
            wrong += [_move_error(issue, start) for issue in error.errors(include_url=False)]
        if len(wrong) >= TOO_MANY:
            break
    if wrong:
        raise ValidationError.from_exception_data("entries", wrong)
    if isinstance(value, list):
        return tuple(chain.from_iterable(results))
    return {key: entry for result in results for key, entry in result.items()}


def _move_error(issue: ErrorDetails, start: int) -> InitErrorDetails:
    """The error with its place in the whole list."""
    kind: str | PydanticCustomError = issue["type"]
    if kind in (PHRASE, SENTENCE):
        kind = PydanticCustomError(PHRASE if kind == PHRASE else SENTENCE, "{text}", issue["ctx"])
    first, *rest = issue["loc"]
    place = first + start if isinstance(first, int) else first
    return InitErrorDetails(type=kind, loc=(place, *rest), input=None, ctx=issue.get("ctx", {}))


IN_PIECES = WrapValidator(_read_pieces)
"""A list or mapping of many entries, read a few at a time, and given up when too much is wrong with it."""


class OneOrMany:
    """One value, or a list of them: both become a tuple."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, list) else [value], handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


def _text(value: str) -> str:
    if not value.strip():
        raise _sentence("an empty text: write something, or leave the key out")
    if len(value) > _LONGEST_TEXT:
        raise _phrase(f"at most {_LONGEST_TEXT} characters")
    if not is_plain(value):
        raise _phrase("one line of printable characters only")
    return value


def whole_number(low: int, high: int) -> Any:
    """Annotations of a whole number between the two."""
    digits = _text_like("[0-9]{1,9}", "write a whole number, in digits only")

    def read(value: Any) -> int:
        number = int(digits(value))
        if not low <= number <= high:
            raise _phrase(f"a number from {low} to {high}")
        return number

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return (BeforeValidator(read), WithJsonSchema({"anyOf": [schema, _FILLED]}))


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise _phrase("write a duration such as 90s, 5m or 1h30m")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise _sentence(str(error)) from None


def _over_zero(seconds: float) -> float:
    if not seconds:
        raise _phrase("a duration over zero")
    return seconds


def _variable(value: str) -> str:
    if looks_secret(value):
        raise _sentence(_NOT_HERE)
    return value


def _token_path(value: str) -> str:
    if "/" not in value and looks_secret(value):
        raise _sentence(_NOT_HERE)
    return _path(value, ("organization",))


def _path(value: str, fields: tuple[str, ...] = ()) -> str:
    if "://" in value:
        raise _sentence("this is an address, not a path: write it into a file, and that file's path here")
    for written in re.findall(r"\{[^{}]*\}?|\}", value):
        if written[1:-1] not in fields:
            allowed = "only {organization} is allowed in braces" if fields else "braces mean nothing here"
            raise _phrase(f"a path in which {allowed}")
    return value


def read_base_url(value: str) -> str:
    """The URL as written, without a trailing slash and with scheme and host in lower case."""
    match = _URL.fullmatch(value)
    if match is None or "/../" in f"{match['path']}/" or int(match["port"] or 1) not in range(1, 65536):
        raise _sentence(
            "not a base URL: write https://HOST/PATH, without user, password, query and fragment, such as"
            " https://api.thousandeyes.com/v7"
        )
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if is_unencrypted(scheme, host):
        raise _sentence("the token would be sent unencrypted: write https:// (http:// is for loopback only)")
    port = f":{int(match['port'])}" if match["port"] else ""
    return f"{scheme}://{host}{port}{match['path'].rstrip('/')}"


def _proxy(value: str) -> str:
    if not _PROXY.fullmatch(value):
        raise _sentence("not the URL of a proxy: write http://HOST:PORT")
    return value


def _display_name(value: str) -> str:
    try:
        parts = list(Formatter().parse(value))
    except ValueError:
        raise _phrase(
            "a template whose braces come in pairs ({{ and }} stand for braces themselves)"
        ) from None
    for _, field, spec, conversion in parts:
        if field in DISPLAY_FIELDS and (spec or conversion):
            raise _sentence(
                f"{{{field}}} takes no format after a colon or an exclamation mark: write it alone"
            )
        if field is not None and field not in DISPLAY_FIELDS:
            near = nearest_word(field, DISPLAY_FIELDS)
            fields = choice([f"{{{name}}}" for name in DISPLAY_FIELDS], last="and")
            hint = f"did you mean {{{near}}}?" if near else f"the fields are {fields}"
            raise _sentence(f"a field {quote(field)} is not known: {hint}")
    return value


Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"minLength": 1})]

Name = Annotated[
    Text,
    AfterValidator(
        _text_like(
            r"(?![. ])[^/\\*?\[\]{},]+(?<! )",
            r"a name without / \ * ? [ ] { } and commas, and not starting with a dot or space",
        )
    ),
]

JobName = Annotated[Text, AfterValidator(_text_like(r"\S.*\S|\S", "a name without spaces around it"))]

DisplayName = Annotated[Text, AfterValidator(_display_name)]

Digits = Annotated[
    str,
    AfterValidator(_text_like("[0-9]{1,20}", "digits only, as in the web app's address bar")),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,20}$"},
                {"type": "integer", "minimum": 0},
                _FILLED,
            ]
        }
    ),
]

TextOrDigits = Annotated[Text, WithJsonSchema({"type": ["string", "integer"]})]

Flag = Annotated[
    bool,
    BeforeValidator(_text_like("true|True|TRUE|false|False|FALSE", "write true or false")),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, _FILLED]}),
]

Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^([0-9]+(ms|[smhd]))+$"}, _FILLED]}),
]

Period = Annotated[Duration, AfterValidator(_over_zero)]

Version = Annotated[
    Literal["1"],
    BeforeValidator(_text_like("1", "this version of tesnap reads `version: 1`")),
    WithJsonSchema({"const": 1}),
]

FilePath = Annotated[Text, AfterValidator(_path)]

TokenPath = Annotated[Text, AfterValidator(_token_path)]

Variable = Annotated[
    str,
    AfterValidator(_variable),
    AfterValidator(
        _text_like("[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, such as TE_TOKEN_ACME")
    ),
]

BaseUrl = Annotated[str, AfterValidator(read_base_url)]

Proxy = Annotated[str, AfterValidator(_proxy)]

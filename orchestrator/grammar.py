"""The job file's grammar as types: what each key may hold, what an error says of it, and its JSON Schema.

Everything arrives as text, lists and mappings (see `orchestrator.yamlcore`); numbers, durations and
`true`/`false` are read here, where they are wanted. Only what can be told from one value alone is checked
here; what keys and entries mean to each other is `orchestrator.jobfile`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain, islice
from string import Formatter
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from orchestrator.addresses import unencrypted
from orchestrator.durations import parse_duration
from orchestrator.model import MOST_SLOTS, Fit, OnUncertain, Pace
from orchestrator.secrecy import looks_secret
from orchestrator.wording import choice, is_plain, nearest, quote

__all__ = ["FileEntry", "JobEntry", "LimitEntry", "OrganizationEntry", "ValidationError", "WindowEntry"]

TestType = Literal[
    "api", "agent-to-agent", "agent-to-server", "bgp", "http-server", "page-load", "web-transactions",
    "ftp-server", "dns-trace", "dns-server", "dnssec", "sip-server", "voice",
]  # fmt: skip
"""The test types of ThousandEyes' version 7 API (`GET /tests`), all of which can be snapshotted."""

DISPLAY_FIELDS = ("test", "test_id", "start", "end", "duration", "key", "job", "organization")
"""What a `display_name` may have in braces."""

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

_T = TypeVar("_T")
Maybe: TypeAlias = _T | None


def _phrase(text: str) -> PydanticCustomError:
    return PydanticCustomError(PHRASE, "{text}", {"text": text})


def _sentence(text: str) -> PydanticCustomError:
    return PydanticCustomError(SENTENCE, "{text}", {"text": text})


class _Patient:
    """A list or mapping of many entries, read a few at a time, and given up when too much is wrong with it.

    A file with a wrong entry in every line would otherwise cost more memory in errors than it has in bytes.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_read_patiently, handler(source))


def _read_patiently(value: Any, read: Callable[[Any], Any]) -> Any:
    """What `read` makes of all entries together, or of the errors as many as anybody wants to see."""
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
            wrong += [_moved(issue, start) for issue in error.errors(include_url=False)]
        if len(wrong) >= TOO_MANY:
            break
    if wrong:
        raise ValidationError.from_exception_data("entries", wrong)
    if isinstance(value, list):
        return tuple(chain.from_iterable(results))
    return {key: entry for result in results for key, entry in result.items()}


def _moved(issue: ErrorDetails, start: int) -> InitErrorDetails:
    """The error with its place in the whole list."""
    kind: str | PydanticCustomError = issue["type"]
    if kind in (PHRASE, SENTENCE):
        kind = PydanticCustomError(PHRASE if kind == PHRASE else SENTENCE, "{text}", issue["ctx"])
    first, *rest = issue["loc"]
    place = first + start if isinstance(first, int) else first
    return InitErrorDetails(type=kind, loc=(place, *rest), input=None, ctx=issue.get("ctx", {}))


class _Listed:
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


def _name(value: str) -> str:
    if re.search(r"[/\\*?\[\]{},]", value) or value[0] in ". " or value[-1] == " ":
        raise _phrase(r"a name without / \ * ? [ ] { } and commas, and not starting with a dot or space")
    return value


def _job_name(value: str) -> str:
    if value != value.strip():
        raise _phrase("a name without spaces around it")
    return value


def _digits(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise _phrase("digits only, as in the web app's address bar")
    return value


def _whole(low: int, high: int) -> Any:
    """Annotations of a whole number between the two."""

    def read(value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,9}", value):
            raise _phrase("write a whole number, in digits only")
        if not low <= int(value) <= high:
            raise _phrase(f"a number from {low} to {high}")
        return int(value)

    number = {"type": "integer", "minimum": low, "maximum": high}
    return (BeforeValidator(read), WithJsonSchema({"anyOf": [number, _FILLED]}))


def _flag(value: Any) -> bool:
    if not isinstance(value, str) or value not in ("true", "True", "TRUE", "false", "False", "FALSE"):
        raise _phrase("write true or false")
    return value.lower() == "true"


def _seconds(*, over_zero: bool) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if not isinstance(value, str):
            raise _phrase("write a duration such as 90s, 5m or 1h30m")
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise _sentence(str(error)) from None
        if over_zero and not seconds:
            raise _phrase("a duration over zero")
        return seconds

    return read


def _variable(value: str) -> str:
    if looks_secret(value):
        raise _sentence(_NOT_HERE)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise _phrase("the name of an environment variable, such as TE_TOKEN_ACME")
    return value


def _token_path(value: str) -> str:
    if "/" not in value and looks_secret(value):
        raise _sentence(_NOT_HERE)
    return _path(value, ("organization",))


def _path(value: str, fields: tuple[str, ...] = ()) -> str:
    for written in re.findall(r"\{[^{}]*\}?|\}", value):
        if written[1:-1] not in fields:
            allowed = "only {organization} can stand in braces" if fields else "braces mean nothing here"
            raise _phrase(f"a path in which {allowed}")
    return value


_NOT_HERE = (
    "this looks like a token itself: tokens are never written into a job file; put it into a file or a variable and"
    " write where it is"
)


def checked_base_url(value: str) -> str:
    """The URL as written, without a trailing slash and with scheme and host in lower case."""
    match = _URL.fullmatch(value)
    if match is None or "/../" in f"{match['path']}/" or int(match["port"] or 1) not in range(1, 65536):
        raise _sentence(
            "not a base URL: write https://HOST/PATH, without user, password, query and fragment, such as"
            " https://api.thousandeyes.com/v7"
        )
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if unencrypted(scheme, host):
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
            near = nearest(field, DISPLAY_FIELDS)
            fields = choice([f"{{{name}}}" for name in DISPLAY_FIELDS], last="and")
            hint = f"did you mean {{{near}}}?" if near else f"the fields are {fields}"
            raise _sentence(f"a field {quote(field)} is not known: {hint}")
    return value


def _version(value: Any) -> int:
    if value != "1":
        raise _phrase("this version of tesnap reads `version: 1`")
    return 1


def _shape(value: Any) -> str:
    return "<mapping>" if isinstance(value, dict) else "<text>"


Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"minLength": 1})]
Name = Annotated[Text, AfterValidator(_name)]
Digits = Annotated[
    str,
    AfterValidator(_digits),
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
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"anyOf": [{"type": "boolean"}, _FILLED]})]
_DURATION = {"anyOf": [{"type": "string", "pattern": "^([0-9]+(ms|[smhd]))+$"}, _FILLED]}
Duration = Annotated[float, BeforeValidator(_seconds(over_zero=False)), WithJsonSchema(_DURATION)]
Period = Annotated[float, BeforeValidator(_seconds(over_zero=True)), WithJsonSchema(_DURATION)]
Version = Annotated[Literal[1], BeforeValidator(_version), WithJsonSchema({"const": 1})]
FilePath = Annotated[Text, AfterValidator(_path)]


class _Closed(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _not_too_many(cls, value: Any) -> Any:
        """Let a thousand unknown keys stand for all of them."""
        if not isinstance(value, dict) or len(value) <= TOO_MANY:
            return value
        known = {key: value[key] for key in cls.model_fields if key in value}
        return dict(islice(value.items(), TOO_MANY)) | known


def _about(text: str) -> Any:
    """A key that may be left out, and what the JSON Schema says of it."""
    return Field(default=None, description=text)


class LimitEntry(_Closed):
    """The snapshot limit of an organization, and how much of it to use."""

    snapshots: Maybe[Annotated[int, *_whole(1, MOST_SLOTS)]] = _about("Snapshots allowed in a period (5).")
    per: Maybe[Period] = _about("The period (5m).")
    guard: Maybe[Duration] = _about("Added to the period against rounding (1s).")
    grace: Maybe[Duration] = _about("How long a server may still act on an aborted request (30s).")
    use: Maybe[Annotated[int, *_whole(1, MOST_SLOTS)]] = _about("How many of the snapshots to use (all).")
    pace: Maybe[Pace] = _about("burst: as soon as slots are free; even: spread over the period (burst).")


class OrganizationEntry(_Closed):
    """A ThousandEyes organization and where its API token is read from."""

    token_file: Maybe[Annotated[Text, AfterValidator(_token_path)]] = _about(
        "File that holds the API token; {organization} stands for the organization's name here."
    )
    token_env: Maybe[Annotated[str, AfterValidator(_variable)]] = _about(
        "Name of the environment variable that holds the API token."
    )
    account_group: Maybe[Digits] = _about("Account group (aid) that the tests are in.")
    org_id: Maybe[Digits] = _about("Checked against the API before anything is sent.")
    base_url: Maybe[Annotated[str, AfterValidator(checked_base_url)]] = _about(
        "The API's address, used as written (https://api.thousandeyes.com/v7)."
    )
    limit: Maybe[LimitEntry] = _about("The snapshot limit.")


class HttpEntry(_Closed):
    """How the API is reached."""

    timeout: Maybe[Period] = _about("Total time for one attempt (60s).")
    proxy: Maybe[Annotated[str, AfterValidator(_proxy)]] = _about("The proxy's URL.")
    ca_bundle: Maybe[FilePath] = _about("File with the certificate authorities to trust.")


class RetryEntry(_Closed):
    """How often and for how long one snapshot is attempted."""

    attempts: Maybe[Annotated[int, *_whole(1, 100)]] = _about("Attempts for one snapshot (8).")
    within: Maybe[Period] = _about("Time for all of them, counted from the first request (1h).")


class NotifyEntry(_Closed):
    """Somebody to tell when a run ends."""

    format: Literal["slack", "webex", "teams", "json"] = Field(description="What the receiver understands.")
    url_file: FilePath = Field(description="File that holds the address; the address itself is a secret.")
    on: Maybe[Literal["always", "failure"]] = _about("When to tell (always).")


class SelectEntry(_Closed):
    """Which tests are meant: every key has to hold, of a list any value."""

    test_name: Maybe[Annotated[tuple[Text, ...], _Patient(), _Listed()]] = _about(
        "A part of the name, or a pattern with * and ?."
    )
    type: Maybe[Annotated[tuple[TestType, ...], _Patient(), _Listed()]] = _about("The test's type.")
    tag: Maybe[Annotated[tuple[Text, ...], _Patient(), _Listed()]] = _about(
        "A tag of the test, as key:value."
    )
    alerting: Maybe[Flag] = _about("Whether an alert was active at any moment of the window.")
    enabled: Maybe[Flag] = _about("Whether the test is enabled.")


class TestEntry(_Closed):
    """A test by its id, and the name it must have before anything is sent."""

    __test__ = False  # not a pytest class

    id: Digits = Field(description="The test's id.")
    test_name: Maybe[Text] = _about("Nothing is sent if the test is called otherwise.")


class WindowEntry(_Closed):
    """A time window: start and end, one of them and a duration, last (with until), or around and duration."""

    start: Maybe[Text] = _about("Its start: 2026-11-20T14:00:00Z, or wall-clock time in the file's timezone.")
    end: Maybe[Text] = _about("Its end.")
    duration: Maybe[Duration] = _about(
        "Its length: 1h, 2h, 4h, 6h, 12h, 24h or 48h unless fit says otherwise."
    )
    last: Maybe[Duration] = _about("The time up to the last full minute, or up to until.")
    until: Maybe[Text] = _about("The latest such time of day (HH:MM) is the end.")
    around: Maybe[Text] = _about("The middle of the window.")
    fit: Maybe[Fit] = _about(
        "What becomes of a length that the API does not take: exact refuses it, cover moves the start back,"
        " split tiles it (exact)."
    )


_TextOrDigits: TypeAlias = Annotated[Text, WithJsonSchema({"type": ["string", "integer"]})]


class _WrittenTest:
    """A test as an id alone, or as a mapping with one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: {"id": value} if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [*TypeAdapter(Digits).json_schema()["anyOf"], handler(schema)]}


_WrittenWindow: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[WindowEntry, Tag("<mapping>")], Discriminator(_shape)
]


class JobEntry(_Closed):
    """Which tests to snapshot over which windows, and how; `defaults` has the same keys."""

    name: Maybe[Annotated[Text, AfterValidator(_job_name)]] = _about("What records and reports call the job.")
    organization: Maybe[Annotated[tuple[Text, ...], _Patient(), _Listed()]] = _about(
        "An organization's name, a list of names, or a pattern with * and ?; required when there are several."
    )
    account_group: Maybe[Digits] = _about("Another account group (aid) of the same organization.")
    tests: Maybe[Annotated[tuple[Annotated[TestEntry, _WrittenTest()], ...], _Patient()]] = _about(
        "Tests by id."
    )
    select: Maybe[SelectEntry] = _about("Tests by what they are; with `tests`, both are meant.")
    exclude: Maybe[Annotated[tuple[_TextOrDigits, ...], _Patient()]] = _about(
        "Test ids or name patterns that are not meant after all."
    )
    max_tests: Maybe[Annotated[int, *_whole(1, 1_000_000)]] = _about(
        "Refuse to send if more tests are meant."
    )
    windows: Maybe[Annotated[tuple[_WrittenWindow, ...], _Patient()]] = _about(
        "Time windows, each by its name or written out."
    )
    priority: Maybe[Literal["incident", "normal", "batch"]] = _about("Which job goes first (normal).")
    display_name: Maybe[Annotated[Text, AfterValidator(_display_name)]] = _about(
        "What a snapshot is called, with fields in braces: " + ", ".join(DISPLAY_FIELDS) + "."
    )
    is_public: Maybe[Flag] = _about("The API's isPublic, sent exactly as written (false).")
    expect_saved_event: Maybe[Flag] = _about("Stop an organization whose first answer contradicts this.")
    on_uncertain: Maybe[OnUncertain] = _about(
        "What to do when nobody knows whether a snapshot was made: hold, or resend once (hold)."
    )
    data_delay: Maybe[Duration] = _about("How long after a window's end its data is complete (60s).")


class FileEntry(_Closed):
    """A job file for tesnap."""

    model_config = ConfigDict(
        json_schema_extra={
            "patternProperties": {"^x-": {"description": "Yours; not read."}},
            "required": ["version"],
        }
    )

    version: Maybe[Version] = _about("The grammar's version.")
    name: Maybe[Text] = _about("What the run is called (the file's name).")
    timezone: Maybe[Text] = _about("Zone of times without Z or an offset, such as Europe/Berlin.")
    organizations: Maybe[Annotated[dict[Name, OrganizationEntry | None], _Patient()]] = _about(
        "Organizations by your own names for them."
    )
    organization_defaults: Maybe[OrganizationEntry] = _about("For organizations that do not say otherwise.")
    defaults: Maybe[JobEntry] = _about("For jobs that do not say otherwise.")
    windows: Maybe[Annotated[dict[Name, WindowEntry], _Patient()]] = _about(
        "Time windows by name, for jobs to refer to."
    )
    jobs: Maybe[Annotated[tuple[JobEntry, ...], _Patient()]] = _about("The jobs.")
    http: Maybe[HttpEntry] = _about("How the API is reached.")
    retry: Maybe[RetryEntry] = _about("How often and for how long one snapshot is attempted.")
    notify: Maybe[Annotated[tuple[NotifyEntry, ...], _Patient()]] = _about("Whom to tell when a run ends.")


def keys_at(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the mapping at this path of a job file may have."""
    model: type[BaseModel] = FileEntry
    named = False
    for part in path:
        field = None if named or not isinstance(part, str) else model.model_fields.get(part)
        named = False
        if field is not None:
            model = _model_in(field.annotation) or model
            named = any(
                get_origin(option) is dict for option in (field.annotation, *get_args(field.annotation))
            )
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, in a list, a mapping or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def json_schema() -> dict[str, Any]:
    """The job file's JSON Schema (draft 2020-12), for editors."""
    schema = _plain(FileEntry.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tesnap job file", **schema}


def _plain(schema: Any) -> Any:
    """The schema without what pydantic adds for itself: titles, and null as the default of what is left out."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(part) for key, part in schema.items() if (key, type(part)) != ("title", str)}
    if "default" in plain and plain["default"] is None:
        del plain["default"]
        written = [part for part in plain.pop("anyOf") if part != {"type": "null"}]
        plain = {**written[0], **plain} if len(written) == 1 else {"anyOf": written, **plain}
    return plain

"""The job file's keys as types: what each may hold, what an error says of it, and the JSON Schema.

Everything arrives as text, lists and mappings (see `orchestrator.jobfile.yaml_document`); numbers, durations and
`true`/`false` are read here, where they are wanted. Only what can be told from one value alone is checked
here; what keys and entries mean to each other is checked in `orchestrator.jobfile.builder`.
"""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    TypeAdapter,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from orchestrator.core import MOST_SLOTS, Fit, OnUncertain, Pace
from orchestrator.jobfile.types import (
    DISPLAY_FIELDS,
    IN_PIECES,
    TOO_MANY,
    BaseUrl,
    Digits,
    DisplayName,
    Duration,
    FilePath,
    Flag,
    JobName,
    Name,
    OneOrMany,
    Period,
    Proxy,
    TestType,
    Text,
    TextOrDigits,
    TokenPath,
    Variable,
    Version,
    whole_number,
)


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

    snapshots: Annotated[int, *whole_number(1, MOST_SLOTS)] | None = _about(
        "Snapshots allowed in a period (5)."
    )
    per: Period | None = _about("The period (5m).")
    guard: Duration | None = _about("Added to the period against rounding (1s).")
    grace: Duration | None = _about("How long a server may still act on an aborted request (30s).")
    use: Annotated[int, *whole_number(1, MOST_SLOTS)] | None = _about(
        "How many of the snapshots to use (all)."
    )
    pace: Pace | None = _about("burst: as soon as slots are free; even: spread over the period (burst).")


class OrganizationEntry(_Closed):
    """A ThousandEyes organization and where its API token is read from."""

    token_file: TokenPath | None = _about(
        "File that holds the API token; {organization} stands for the organization's name here."
    )
    token_env: Variable | None = _about("Name of the environment variable that holds the API token.")
    account_group: Digits | None = _about("Account group (aid) that the tests are in.")
    org_id: Digits | None = _about("Checked against the API before anything is sent.")
    base_url: BaseUrl | None = _about("The API's address, used as written (https://api.thousandeyes.com/v7).")
    limit: LimitEntry | None = _about("The snapshot limit.")


class HttpEntry(_Closed):
    """How the API is reached."""

    timeout: Period | None = _about("Total time for one attempt (60s).")
    proxy: Proxy | None = _about("The proxy's URL.")
    ca_bundle: FilePath | None = _about("File with the certificate authorities to trust.")


class RetryEntry(_Closed):
    """How often and for how long one snapshot is attempted."""

    attempts: Annotated[int, *whole_number(1, 100)] | None = _about("Attempts for one snapshot (8).")
    within: Period | None = _about("Time for all of them, counted from the first request (1h).")


class NotifyEntry(_Closed):
    """Somebody to tell when a run ends."""

    format: Literal["slack", "webex", "teams", "json"] = Field(description="What the receiver understands.")
    url_file: FilePath = Field(description="File that holds the address; the address itself is a secret.")
    on: Literal["always", "failure"] | None = _about("When to tell (always).")


class SelectEntry(_Closed):
    """Which tests are meant: every key has to hold, of a list any value."""

    test_name: Annotated[tuple[Text, ...], IN_PIECES, OneOrMany()] | None = _about(
        "A part of the name, or a pattern with * and ?."
    )
    type: Annotated[tuple[TestType, ...], IN_PIECES, OneOrMany()] | None = _about("The test's type.")
    tag: Annotated[tuple[Text, ...], IN_PIECES, OneOrMany()] | None = _about(
        "A tag of the test, as key:value."
    )
    alerting: Flag | None = _about("Whether an alert was active at any moment of the window.")
    enabled: Flag | None = _about("Whether the test is enabled.")


class TestEntry(_Closed):
    """A test by its id, and the name it must have before anything is sent."""

    __test__ = False  # not a pytest class

    id: Digits = Field(description="The test's id.")
    test_name: Text | None = _about("Nothing is sent if the test has another name.")


class WindowEntry(_Closed):
    """A time window: start and end, one of them and a duration, last (with until), or around and duration."""

    start: Text | None = _about("Its start: 2026-11-20T14:00:00Z, or wall-clock time in the file's timezone.")
    end: Text | None = _about("Its end.")
    duration: Duration | None = _about(
        "Its length: 1h, 2h, 4h, 6h, 12h, 24h or 48h unless fit says otherwise."
    )
    last: Duration | None = _about("The time up to the last full minute, or up to until.")
    until: Text | None = _about("The latest such time of day (HH:MM) is the end.")
    around: Text | None = _about("The middle of the window.")
    fit: Fit | None = _about(
        "What becomes of a length that the API does not take: exact refuses it, cover moves the start back,"
        " split tiles it (exact)."
    )


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


def _form_of(value: Any) -> str:
    return "<mapping>" if isinstance(value, dict) else "<text>"


_WrittenWindow: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[WindowEntry, Tag("<mapping>")], Discriminator(_form_of)
]


class JobEntry(_Closed):
    """Which tests to snapshot over which windows, and how; `defaults` has the same keys."""

    name: JobName | None = _about("What records and reports call the job.")
    organization: Annotated[tuple[Text, ...], IN_PIECES, OneOrMany()] | None = _about(
        "An organization's name, a list of names, or a pattern with * and ?; required when there are several."
    )
    account_group: Digits | None = _about("Another account group (aid) of the same organization.")
    tests: Annotated[tuple[Annotated[TestEntry, _WrittenTest()], ...], IN_PIECES] | None = _about(
        "Tests by id."
    )
    select: SelectEntry | None = _about("Tests by name, type, tag or alert, in addition to `tests`.")
    exclude: Annotated[tuple[TextOrDigits, ...], IN_PIECES] | None = _about(
        "Test ids or name patterns to leave out."
    )
    max_tests: Annotated[int, *whole_number(1, 1_000_000)] | None = _about(
        "Refuse to send if more tests match."
    )
    windows: Annotated[tuple[_WrittenWindow, ...], IN_PIECES] | None = _about(
        "Time windows, each by its name or written out."
    )
    priority: Literal["incident", "normal", "batch"] | None = _about("Which job goes first (normal).")
    display_name: DisplayName | None = _about(
        "What a snapshot is called, with fields in braces: " + ", ".join(DISPLAY_FIELDS) + "."
    )
    is_public: Flag | None = _about("The API's isPublic, sent exactly as written (false).")
    expect_saved_event: Flag | None = _about("Stop an organization whose first answer contradicts this.")
    on_uncertain: OnUncertain | None = _about(
        "What to do when nobody knows whether a snapshot was made: hold, or resend once (hold)."
    )
    data_delay: Duration | None = _about("How long after a window's end its data is complete (60s).")


class FileEntry(_Closed):
    """A job file for tesnap."""

    model_config = ConfigDict(
        json_schema_extra={
            "patternProperties": {"^x-": {"description": "Yours; not read."}},
            "required": ["version"],
        }
    )

    version: Version | None = _about("The grammar's version.")
    name: Text | None = _about("What the run is called (the file's name).")
    timezone: Text | None = _about("Zone of times without Z or an offset, such as Europe/Berlin.")
    organizations: Annotated[dict[Name, OrganizationEntry | None], IN_PIECES] | None = _about(
        "Organizations by your own names for them."
    )
    organization_defaults: OrganizationEntry | None = _about("For organizations that do not say otherwise.")
    defaults: JobEntry | None = _about("For jobs that do not say otherwise.")
    windows: Annotated[dict[Name, WindowEntry], IN_PIECES] | None = _about(
        "Time windows by name, for jobs to refer to."
    )
    jobs: Annotated[tuple[JobEntry, ...], IN_PIECES] | None = _about("The jobs.")
    http: HttpEntry | None = _about("How the API is reached.")
    retry: RetryEntry | None = _about("How often and for how long one snapshot is attempted.")
    notify: Annotated[tuple[NotifyEntry, ...], IN_PIECES] | None = _about("Whom to tell when a run ends.")


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

"""The job file's grammar as types: what each key may hold, what an error says of it, and its JSON Schema.

Everything arrives as text, lists and mappings (see `orchestrator.jobfile.yaml_document`); numbers, durations and
`true`/`false` are read here, where they are wanted. Only what can be told from one value alone is checked
here; what keys and entries mean to each other is `orchestrator.jobfile`'s.
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
    TOO_MANY,
    BaseUrl,
    Digits,
    DisplayName,
    Duration,
    FilePath,
    Flag,
    InPieces,
    JobName,
    Maybe,
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

    snapshots: Maybe[Annotated[int, *whole_number(1, MOST_SLOTS)]] = _about(
        "Snapshots allowed in a period (5)."
    )
    per: Maybe[Period] = _about("The period (5m).")
    guard: Maybe[Duration] = _about("Added to the period against rounding (1s).")
    grace: Maybe[Duration] = _about("How long a server may still act on an aborted request (30s).")
    use: Maybe[Annotated[int, *whole_number(1, MOST_SLOTS)]] = _about(
        "How many of the snapshots to use (all)."
    )
    pace: Maybe[Pace] = _about("burst: as soon as slots are free; even: spread over the period (burst).")


class OrganizationEntry(_Closed):
    """A ThousandEyes organization and where its API token is read from."""

    token_file: Maybe[TokenPath] = _about(
        "File that holds the API token; {organization} stands for the organization's name here."
    )
    token_env: Maybe[Variable] = _about("Name of the environment variable that holds the API token.")
    account_group: Maybe[Digits] = _about("Account group (aid) that the tests are in.")
    org_id: Maybe[Digits] = _about("Checked against the API before anything is sent.")
    base_url: Maybe[BaseUrl] = _about("The API's address, used as written (https://api.thousandeyes.com/v7).")
    limit: Maybe[LimitEntry] = _about("The snapshot limit.")


class HttpEntry(_Closed):
    """How the API is reached."""

    timeout: Maybe[Period] = _about("Total time for one attempt (60s).")
    proxy: Maybe[Proxy] = _about("The proxy's URL.")
    ca_bundle: Maybe[FilePath] = _about("File with the certificate authorities to trust.")


class RetryEntry(_Closed):
    """How often and for how long one snapshot is attempted."""

    attempts: Maybe[Annotated[int, *whole_number(1, 100)]] = _about("Attempts for one snapshot (8).")
    within: Maybe[Period] = _about("Time for all of them, counted from the first request (1h).")


class NotifyEntry(_Closed):
    """Somebody to tell when a run ends."""

    format: Literal["slack", "webex", "teams", "json"] = Field(description="What the receiver understands.")
    url_file: FilePath = Field(description="File that holds the address; the address itself is a secret.")
    on: Maybe[Literal["always", "failure"]] = _about("When to tell (always).")


class SelectEntry(_Closed):
    """Which tests are meant: every key has to hold, of a list any value."""

    test_name: Maybe[Annotated[tuple[Text, ...], InPieces(), OneOrMany()]] = _about(
        "A part of the name, or a pattern with * and ?."
    )
    type: Maybe[Annotated[tuple[TestType, ...], InPieces(), OneOrMany()]] = _about("The test's type.")
    tag: Maybe[Annotated[tuple[Text, ...], InPieces(), OneOrMany()]] = _about(
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

    name: Maybe[JobName] = _about("What records and reports call the job.")
    organization: Maybe[Annotated[tuple[Text, ...], InPieces(), OneOrMany()]] = _about(
        "An organization's name, a list of names, or a pattern with * and ?; required when there are several."
    )
    account_group: Maybe[Digits] = _about("Another account group (aid) of the same organization.")
    tests: Maybe[Annotated[tuple[Annotated[TestEntry, _WrittenTest()], ...], InPieces()]] = _about(
        "Tests by id."
    )
    select: Maybe[SelectEntry] = _about("Tests by what they are; with `tests`, both are meant.")
    exclude: Maybe[Annotated[tuple[TextOrDigits, ...], InPieces()]] = _about(
        "Test ids or name patterns that are not meant after all."
    )
    max_tests: Maybe[Annotated[int, *whole_number(1, 1_000_000)]] = _about(
        "Refuse to send if more tests are meant."
    )
    windows: Maybe[Annotated[tuple[_WrittenWindow, ...], InPieces()]] = _about(
        "Time windows, each by its name or written out."
    )
    priority: Maybe[Literal["incident", "normal", "batch"]] = _about("Which job goes first (normal).")
    display_name: Maybe[DisplayName] = _about(
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
    organizations: Maybe[Annotated[dict[Name, OrganizationEntry | None], InPieces()]] = _about(
        "Organizations by your own names for them."
    )
    organization_defaults: Maybe[OrganizationEntry] = _about("For organizations that do not say otherwise.")
    defaults: Maybe[JobEntry] = _about("For jobs that do not say otherwise.")
    windows: Maybe[Annotated[dict[Name, WindowEntry], InPieces()]] = _about(
        "Time windows by name, for jobs to refer to."
    )
    jobs: Maybe[Annotated[tuple[JobEntry, ...], InPieces()]] = _about("The jobs.")
    http: Maybe[HttpEntry] = _about("How the API is reached.")
    retry: Maybe[RetryEntry] = _about("How often and for how long one snapshot is attempted.")
    notify: Maybe[Annotated[tuple[NotifyEntry, ...], InPieces()]] = _about("Whom to tell when a run ends.")


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

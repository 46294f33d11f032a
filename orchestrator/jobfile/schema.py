"""The job file's keys as types: what each may hold, what an error says of it, and the JSON Schema.

Everything arrives as text, lists and mappings (see `orchestrator.jobfile.yaml_document`); numbers, durations and
`true`/`false` are read here, where they are wanted. Only what can be told from one value alone is checked
here; what keys and entries mean to each other is checked in `orchestrator.jobfile.builder`.
"""

from __future__ import annotations

from typing import Any, get_args

from orchestrator.core import MOST_SLOTS, Fit, OnUncertain, Pace, PingStyle
from orchestrator.jobfile.kinds import (
    Entry,
    Issue,
    Key,
    Keyed,
    Many,
    Named,
    OneOf,
    OneOrMany,
    Path,
    Schema,
    Words,
    key,
)
from orchestrator.jobfile.types import (
    AGE,
    ANY_TEXT,
    BASE_URL,
    DIGITS,
    DISPLAY_FIELDS,
    DISPLAY_NAME,
    DURATION,
    FILE_PATH,
    FLAG,
    JOB_NAME,
    NAME,
    OWN_PATH,
    PERIOD,
    PROXY,
    TEXT,
    TEXT_OR_DIGITS,
    TOKEN_PATH,
    VARIABLE,
    VERSION,
    TestType,
    whole_number,
)


class LimitEntry(Entry):
    """The snapshot limit of an organization, and how much of it to use."""

    snapshots: int | None = key(whole_number(1, MOST_SLOTS), "Snapshots allowed in a period (5).")
    per: float | None = key(PERIOD, "The period (5m).")
    guard: float | None = key(DURATION, "Added to the period against rounding (1s).")
    grace: float | None = key(DURATION, "How long a server may still act on an aborted request (30s).")
    use: int | None = key(whole_number(1, MOST_SLOTS), "How many of the snapshots to use (all).")
    pace: Pace | None = key(
        OneOf(Pace), "burst: as soon as slots are free; even: spread over the period (burst)."
    )


class PingEntry(Entry):
    """A dead man's switch, which alarms somebody when it was not told of a success in time."""

    url_file: str = key(
        OWN_PATH,
        "File that holds the address, which is a secret; in an organization's own, {organization} stands for its name.",
        required=True,
    )
    style: PingStyle | None = key(OneOf(PingStyle), "What the receiver understands (healthchecks).")
    start: bool | None = key(FLAG, "Whether to tell it also when a run starts (true).")


class OrganizationEntry(Entry):
    """A ThousandEyes organization and where its API token is read from."""

    token_file: str | None = key(
        TOKEN_PATH, "File that holds the API token; {organization} stands for the organization's name here."
    )
    token_env: str | None = key(VARIABLE, "Name of the environment variable that holds the API token.")
    account_group: str | None = key(DIGITS, "Account group (aid) that the tests are in.")
    org_id: str | None = key(DIGITS, "Checked against the API before anything is sent.")
    base_url: str | None = key(
        BASE_URL, "The API's address, used as written (https://api.thousandeyes.com/v7)."
    )
    limit: LimitEntry | None = key(Keyed(LimitEntry), "The snapshot limit.")
    ping: PingEntry | None = key(Keyed(PingEntry), "A dead man's switch of this organization alone.")


class HttpEntry(Entry):
    """How the API is reached."""

    timeout: float | None = key(PERIOD, "Total time for one attempt (60s).")
    proxy: str | None = key(PROXY, "The proxy's URL.")
    ca_bundle: str | None = key(FILE_PATH, "File with the certificate authorities to trust.")


class RetryEntry(Entry):
    """How often and for how long one snapshot is attempted."""

    attempts: int | None = key(whole_number(1, 100), "Attempts for one snapshot (8).")
    within: float | None = key(PERIOD, "Time for all of them, counted from the first request (1h).")


class NotifyEntry(Entry):
    """Somebody to tell when a run ends."""

    format: str = key(
        Words("slack", "webex", "teams", "json"), "What the receiver understands.", required=True
    )
    url_file: str = key(
        FILE_PATH, "File that holds the address; the address itself is a secret.", required=True
    )
    on: str | None = key(Words("always", "failure"), "When to tell (always).")


class SelectEntry(Entry):
    """Which tests are meant: every key has to hold, of a list any value."""

    test_name: tuple[str, ...] | None = key(OneOrMany(TEXT), "A part of the name, or a pattern with * and ?.")
    type: tuple[TestType, ...] | None = key(OneOrMany(Words(*get_args(TestType))), "The test's type.")
    tag: tuple[str, ...] | None = key(OneOrMany(TEXT), "A tag of the test, as key:value.")
    alerting: bool | None = key(FLAG, "Whether an alert was active at any moment of the window.")
    enabled: bool | None = key(FLAG, "Whether the test is enabled.")


class TestEntry(Entry):
    """A test by its id, and the name it must have before anything is sent."""

    __test__ = False  # not a pytest class

    id: str = key(DIGITS, "The test's id.", required=True)
    test_name: str | None = key(TEXT, "Nothing is sent if the test has another name.")


class WindowEntry(Entry):
    """A time window: start and end, one of them and a duration, last (with until), or around and duration."""

    start: str | None = key(
        TEXT, "Its start: 2026-11-20T14:00:00Z, or wall-clock time in the file's timezone."
    )
    end: str | None = key(TEXT, "Its end.")
    duration: float | None = key(
        DURATION, "Its length: 1h, 2h, 4h, 6h, 12h, 24h or 48h unless fit says otherwise."
    )
    last: float | None = key(DURATION, "The time up to the last full minute, or up to until.")
    until: str | None = key(TEXT, "The latest such time of day (HH:MM) is the end.")
    around: str | None = key(TEXT, "The middle of the window.")
    fit: Fit | None = key(
        OneOf(Fit),
        "What becomes of a length that the API does not take: exact refuses it, cover moves the start back,"
        " split tiles it (exact).",
    )


class _WrittenTest(Keyed):
    """A test as an id alone, or as a mapping with one."""

    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        return super().read({"id": value} if isinstance(value, str) else value, path, issues)

    def schema(self, defined: dict[str, Schema]) -> Schema:
        return {"anyOf": [*DIGITS.schema(defined)["anyOf"], super().schema(defined)]}


class _WrittenWindow(Keyed):
    """A window by its name, or written out."""

    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        if isinstance(value, dict):
            return super().read(value, path, issues)
        return ANY_TEXT.read(value, path, issues)

    def schema(self, defined: dict[str, Schema]) -> Schema:
        return {"oneOf": [ANY_TEXT.schema(defined), super().schema(defined)]}


class JobEntry(Entry):
    """Which tests to snapshot over which windows, and how; `defaults` has the same keys."""

    name: str | None = key(JOB_NAME, "What records and reports call the job.")
    organization: tuple[str, ...] | None = key(
        OneOrMany(TEXT),
        "An organization's name, a list of names, or a pattern with * and ?; required when there are several.",
    )
    account_group: str | None = key(DIGITS, "Another account group (aid) of the same organization.")
    tests: tuple[TestEntry, ...] | None = key(Many(_WrittenTest(TestEntry)), "Tests by id.")
    select: SelectEntry | None = key(
        Keyed(SelectEntry), "Tests by name, type, tag or alert, in addition to `tests`."
    )
    exclude: tuple[str, ...] | None = key(Many(TEXT_OR_DIGITS), "Test ids or name patterns to leave out.")
    max_tests: int | None = key(
        whole_number(1, 1_000_000), "An organization in which more tests match is refused."
    )
    min_tests: int | None = key(
        whole_number(0, 1_000_000), "An organization in which fewer tests match is refused (with select: 1)."
    )
    windows: tuple[str | WindowEntry, ...] | None = key(
        Many(_WrittenWindow(WindowEntry)), "Time windows, each by its name or written out."
    )
    priority: str | None = key(Words("incident", "normal", "batch"), "Which job goes first (normal).")
    display_name: str | None = key(
        DISPLAY_NAME, "What a snapshot is called, with fields in braces: " + ", ".join(DISPLAY_FIELDS) + "."
    )
    is_public: bool | None = key(FLAG, "The API's isPublic, sent exactly as written (false).")
    expect_saved_event: bool | None = key(FLAG, "Stop an organization whose first answer contradicts this.")
    on_uncertain: OnUncertain | None = key(
        OneOf(OnUncertain),
        "What to do when nobody knows whether a snapshot was made: hold, or resend once (hold).",
    )
    data_delay: float | None = key(DURATION, "How long after a window's end its data is complete (60s).")


class FileEntry(Entry):
    """A job file for tesnap."""

    version: str | None = key(VERSION, "The grammar's version.")
    name: str | None = key(TEXT, "What the run is called (the file's name).")
    timezone: str | None = key(TEXT, "Zone of times without Z or an offset, such as Europe/Berlin.")
    organizations: dict[str, OrganizationEntry | None] | None = key(
        Named(NAME, Keyed(OrganizationEntry), may_be_empty=True), "Organizations by your own names for them."
    )
    organization_defaults: OrganizationEntry | None = key(
        Keyed(OrganizationEntry), "For organizations that do not say otherwise."
    )
    defaults: JobEntry | None = key(Keyed(JobEntry), "For jobs that do not say otherwise.")
    windows: dict[str, WindowEntry] | None = key(
        Named(NAME, Keyed(WindowEntry)), "Time windows by name, for jobs to refer to."
    )
    jobs: tuple[JobEntry, ...] | None = key(Many(Keyed(JobEntry)), "The jobs.")
    http: HttpEntry | None = key(Keyed(HttpEntry), "How the API is reached.")
    retry: RetryEntry | None = key(Keyed(RetryEntry), "How often and for how long one snapshot is attempted.")
    notify: tuple[NotifyEntry, ...] | None = key(Many(Keyed(NotifyEntry)), "Whom to tell when a run ends.")
    prune_after: float | None = key(
        AGE, "After a run, forget the job's runs that are over and older than this, 35d or more."
    )
    ping: PingEntry | None = key(
        Keyed(PingEntry), "A dead man's switch that is told when a run starts and how it ended."
    )


def keys_at(path: Path) -> tuple[str, ...]:
    """The keys that the mapping at this path of a job file may have."""
    entry: type[Entry] = FileEntry
    named = False
    for part in path:
        found: Key | None = None if named or not isinstance(part, str) else entry.keys.get(part)
        named = found is not None and isinstance(found.kind, Named)
        if found is not None:
            entry = found.kind.entry or entry
    return tuple(entry.keys)


def json_schema() -> Schema:
    """The job file's JSON Schema (draft 2020-12), for editors."""
    defined: dict[str, Schema] = {}
    top = FileEntry.schema(defined)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tesnap job file",
        **top,
        "required": ["version"],  # which is said of the whole file, and not of a part that was wrong
        "patternProperties": {"^x-": {"description": "Yours; not read."}},
        "$defs": dict(sorted(defined.items())),
    }

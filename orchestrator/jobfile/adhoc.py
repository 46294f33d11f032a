"""The words of a command line in an incident become a job file with one job, so that `snap` is a run of it.

A clock time without a date or offset is the latest such moment in the terminal's zone.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import get_args

from orchestrator import windows
from orchestrator.core import (
    DEFAULT_DISPLAY_NAME,
    SINCE_ALERT,
    Fit,
    Job,
    JobFile,
    JobFileError,
    Priority,
    Run,
    Select,
    TestRef,
    UsageError,
    WindowError,
    WindowSpec,
    choice,
    first_names,
    nearest_word,
    quote,
    utc_text,
)
from orchestrator.jobfile import reader
from orchestrator.jobfile.types import TestType
from orchestrator.windows import parse_duration

JOB_NAME = "snap"
"""The name in records of a job of the command line that has no title."""

AROUND = 3600.0
"""Seconds of a window around a moment, when no duration is given: the shortest that the API takes."""

_ALONE = "version: 1\njobs: [{name: snap, tests: ['1'], windows: [{last: 1h}]}]\n"

_OBEYED = ("Cc", "Zl", "Zp", "Cs")  # Unicode categories that a terminal obeys

_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # the reading direction

_WHEN = "write --since 14:07, --last 2h, --from … --to …, or --around 14:07"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdhocRequest:
    """The command line's words: texts as they are, durations in seconds."""

    tests: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    alerting: bool = False
    enabled: bool = False
    exclude: tuple[str, ...] = ()
    max_tests: int | None = None
    since: str | None = None
    until: str | None = None
    last: float | None = None
    around: str | None = None
    duration: float | None = None
    fit: Fit = Fit.COVER
    title: str = ""
    account_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdhocJob:
    """A job file of the command line's words, and what the user is told about its window."""

    jobfile: JobFile
    notes: tuple[str, ...] = ()


def make_adhoc_job(request: AdhocRequest, known: JobFile, *, now: float, timezone: str | None) -> AdhocJob:
    """The job that the words mean, for the organizations of a job file; `now` is epoch seconds.

    UsageError when no test or no time is named, or what is written cannot be read.
    """
    _check_texts(request)
    if not request.tests and select_of(request) is None:
        raise UsageError(
            "which tests? Name their ids, or select them with --alerting, --tag, --test-name or --type"
        )
    spec, notes = _read_window(request, now, timezone)
    return AdhocJob(jobfile=_make_jobfile(request, known, (spec,)), notes=notes)


def make_search_job(request: AdhocRequest, known: JobFile, *, now: float, timezone: str | None) -> AdhocJob:
    """As `make_adhoc_job`, to look at tests and send nothing: every test is meant and the moment is now, unless said."""
    _check_texts(request)
    timed = any(one is not None for one in (request.since, request.until, request.last, request.around))
    spec, notes = _read_window(request, now, timezone) if timed else (None, ())
    jobfile = _make_jobfile(request, known, (spec,) if spec else ())
    job = jobfile.jobs[0]
    if not job.tests:
        job = replace(job, select=job.select or Select())
    return AdhocJob(jobfile=replace(jobfile, jobs=(job,)), notes=notes)


def find_organizations(
    path: str | None, chosen: Sequence[str], *, environ: Mapping[str, str], naming: str = "with --jobfile"
) -> JobFile:
    """The organizations of a job file, or the only one that the environment names, narrowed to those chosen.

    UsageError when there is none, or more than one and none is chosen; `naming` is how the command takes a file.
    """
    jobfile = (
        reader.read_jobfiles([path], environ=environ).jobfile if path else _read_environment(environ, naming)
    )
    names = list(jobfile.organizations)
    if len(names) > 1 and not chosen:
        raise UsageError(
            f"{path} has {len(names)} organizations: choose with --organization {first_names(names, last='or')}"
        )
    kept = [name for name in names if not chosen or any(fnmatchcase(name, pattern) for pattern in chosen)]
    if not kept:
        raise UsageError(
            f"no organization matches {choice([*chosen])}: there is {first_names(names, last='or')}"
        )
    return replace(jobfile, organizations={name: jobfile.organizations[name] for name in kept}, jobs=())


def settings_without_file(run: Run, *, environ: Mapping[str, str]) -> JobFile:
    """The settings to carry on with a run that was started without a job file: the environment's organization.

    UsageError when the environment names none.
    """
    known = find_organizations(None, (), environ=environ)
    job = Job(name=run.job, organizations=tuple(known.organizations), priority=Priority.INCIDENT)
    return replace(known, name=run.job, jobs=(job,))


def select_of(request: AdhocRequest) -> Select | None:
    """The selectors among the words, None when there are none."""
    select = Select(
        test_name=request.test_names,
        type=tuple(map(_read_type, request.types)),
        tag=request.tags,
        alerting=True if request.alerting else None,
        enabled=True if request.enabled else None,
    )
    return None if select == Select() else select


def _check_texts(request: AdhocRequest) -> None:
    """Raise for an empty selector, which would mean everything, and for a title that a terminal would obey."""
    given = {
        "--test-name": request.test_names,
        "--type": request.types,
        "--tag": request.tags,
        "--exclude": request.exclude,
    }
    for name, texts in given.items():
        if any(not text.strip() for text in texts):
            does = "exclude" if name == "--exclude" else "mean"
            raise UsageError(
                f"{name} is empty: it would {does} every test or none. Write what is meant, '*' for every test, or leave"
                " the option out"
            )
    if request.account_group is not None and not (
        request.account_group.isascii() and request.account_group.isdecimal()
    ):
        raise UsageError(
            f"--account-group {quote(request.account_group)} is not an account group's id, which has digits only:"
            " `tesnap doctor` names those that the token sees"
        )
    if any(unicodedata.category(char) in _OBEYED or char in _TURNING for char in request.title):
        raise UsageError(
            f"--title {quote(request.title)} has a control character, such as the end of a line: write it without"
        )


def _read_environment(environ: Mapping[str, str], naming: str) -> JobFile:
    """The environment's organization, read as by a job file that names none."""
    if not environ.get("TE_TOKEN_FILE") and not environ.get("TE_TOKEN"):
        raise UsageError(
            f"no organization is known: set TE_TOKEN_FILE or TE_TOKEN, or name a job file that has them {naming}"
        )
    try:
        jobfile = reader.read_jobfiles([reader.STDIN], environ=environ, stdin=io.StringIO(_ALONE)).jobfile
    except JobFileError as error:
        raise UsageError("; ".join(located.text for located in error.errors)) from None
    return replace(jobfile, files=())  # nothing of it can be read again


def _make_jobfile(request: AdhocRequest, known: JobFile, specs: tuple[WindowSpec, ...]) -> JobFile:
    groups = {organization.account_group for organization in known.organizations.values()}
    job = Job(
        name=request.title or JOB_NAME,
        organizations=tuple(known.organizations),
        account_group=request.account_group,
        tests=tuple(TestRef(id=one) for one in request.tests),
        select=select_of(request),
        exclude=request.exclude,
        max_tests=request.max_tests,
        windows=specs,
        priority=Priority.INCIDENT,
        display_name=_display_name(request.title),
        everywhere=request.account_group is None and groups == {None},
    )
    return replace(known, name=job.name, title=request.title.strip(), part=True, jobs=(job,))


def _display_name(title: str) -> str:
    """The title before the usual display name; braces in it stand for themselves."""
    plain = title.strip().replace("{", "{{").replace("}", "}}")
    return f"{plain} {DEFAULT_DISPLAY_NAME}" if plain else DEFAULT_DISPLAY_NAME


def _read_type(written: str) -> str:
    types: tuple[str, ...] = get_args(TestType)
    if written in types:
        return written
    near = nearest_word(written, types)
    hint = f"did you mean {near}?" if near else f"there are {choice(types, last='and')}"
    raise UsageError(f"--type {quote(written)} is not a test type: {hint}")


def _read_window(
    request: AdhocRequest, now: float, timezone: str | None
) -> tuple[WindowSpec, tuple[str, ...]]:
    """The window that the words mean, and notes on clock times that are not plain."""
    _check_form(request)
    spec = WindowSpec(fit=request.fit, timezone=timezone)
    if request.around is not None:
        at, notes = _read_moment("--around", request.around, now, timezone)
        return _check_window(replace(spec, around=at, duration=request.duration or AROUND)), notes
    if request.last is not None and request.until is None:
        return _check_window(replace(spec, last=request.last)), ()
    end, notes = _read_end(request.until, now, timezone)
    if request.last is not None:
        return _check_window(replace(spec, end=end, duration=request.last)), notes
    if request.since == SINCE_ALERT:
        return replace(spec, start=SINCE_ALERT, end=end), notes
    _check_no_length(request.since or "")
    start, more = _read_moment("--since", request.since or "", now, timezone)
    notes = (*more, *notes)
    _check_order(start, end, request, timezone, notes)
    return _check_window(replace(spec, start=start, end=end)), notes


def _check_form(request: AdhocRequest) -> None:
    starts = {"--since or --from": request.since, "--last": request.last, "--around": request.around}
    given = [name for name, value in starts.items() if value is not None]
    if not given:
        raise UsageError(f"which time? {_WHEN[0].upper()}{_WHEN[1:]}")
    if len(given) > 1:
        raise UsageError(f"{choice(given, last='and')} say different things: {_WHEN}")
    if request.around is not None and request.until is not None:
        raise UsageError("--around has no end: write --duration for its length")
    if request.around is None and request.duration is not None:
        raise UsageError(
            "--duration goes with --around: write --last for a length up to now, or --to for an end"
        )


def _read_end(until: str | None, now: float, timezone: str | None) -> tuple[str, tuple[str, ...]]:
    """The end as written, else the last full minute whose data is there."""
    if until is not None:
        return _read_moment("--to", until, now, timezone)
    last = windows.resolve_window(WindowSpec(last=AROUND), now=now)
    return utc_text(last.windows[0].end), ()


def _read_moment(option: str, text: str, now: float, timezone: str | None) -> tuple[str, tuple[str, ...]]:
    """The moment as UTC text, fractions of a second dropped."""
    try:
        at, notes = windows.parse_moment(text, now=now, timezone=timezone)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    return utc_text(at), notes


def _check_no_length(since: str) -> None:
    """A length such as 2h30m is no moment, but plain to see what is meant."""
    with suppress(ValueError):
        parse_duration(since)
        raise UsageError(f"--since: {quote(since)} is a length of time, not a moment: write --last {since}")


def _check_order(
    start: str, end: str, request: AdhocRequest, timezone: str | None, notes: tuple[str, ...]
) -> None:
    """Raise when the window would end before it starts, and say what the words were taken for."""
    first, last = (windows.parse_instant(text, timezone=None)[0] for text in (start, end))
    if first < last:
        return
    starts, ends = (windows.local_text(at, timezone) for at in (first, last))
    what = f"the window would end at {ends}, before it starts at {starts}"
    if first == last:
        what = f"the window would start and end at {starts}"
    remedy = "a bare clock time is the latest such moment, so add the date, or 'yesterday'"
    if request.until is None:
        remedy = f"without --to it ends with the last full minute, so write an earlier start, or --last 1h; {remedy}"
    raise UsageError(". ".join((f"{what}: {remedy}", *notes)))


def _check_window(spec: WindowSpec) -> WindowSpec:
    try:
        windows.check_window(spec)
    except WindowError as error:
        raise UsageError(
            f"{error}".replace("fit: cover", "--fit cover").replace("fit: split", "--fit split")
        ) from None
    return spec

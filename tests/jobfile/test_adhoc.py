"""The words of a command line in an incident, and the job that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.core.clock import utc_text
from orchestrator.core.errors import UsageError
from orchestrator.core.jobs import (
    DEFAULT_DISPLAY_NAME,
    SINCE_ALERT,
    CredentialSource,
    Fit,
    Job,
    JobFile,
    Organization,
    Priority,
    Select,
    TestRef,
)
from orchestrator.jobfile.adhoc import (
    AdhocJob,
    AdhocRequest,
    find_organizations,
    make_adhoc_job,
    make_search_job,
)
from orchestrator.windows import windows
from orchestrator.windows.instants import parse_instant, window_text

BERLIN = "Europe/Berlin"
KNOWN = JobFile(
    name="",
    jobs=(),
    organizations={"acme": Organization(name="acme", credential=CredentialSource(env="TE_TOKEN"))},
)


def at(text: str) -> float:
    """Epoch seconds of a UTC time."""
    return parse_instant(text, timezone="UTC")[0]


NOW = at("2026-11-20T15:16:20Z")  # 16:16:20 in Berlin


def asked(*, now: float = NOW, timezone: str = BERLIN, known: JobFile = KNOWN, **words: Any) -> AdhocJob:
    """What the words mean, for one test unless they say which."""
    if not {"tests", "tags", "alerting", "test_names", "types"} & set(words):
        words["tests"] = ("202701",)
    return make_adhoc_job(AdhocRequest(**words), known, now=now, timezone=timezone)


def job_of(**words: Any) -> Job:
    """The job that the words become."""
    return asked(**words).jobfile.jobs[0]


def window_of(*, now: float = NOW, **words: Any) -> tuple[str, str]:
    """Start and end of the job's window."""
    (spec,) = job_of(now=now, **words).windows
    (window,) = windows.resolve_window(spec, now=now).windows
    return utc_text(window.start), utc_text(window.end)


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        ({"since": "12:10", "until": "14:10"}, "2026-11-20T11:10:00Z", "2026-11-20T13:10:00Z"),
        ({"since": "14:15"}, "2026-11-20T13:15:00Z", "2026-11-20T15:15:00Z"),
        ({"since": "14:07"}, "2026-11-20T11:15:00Z", "2026-11-20T15:15:00Z"),
        ({"since": "2 h ago"}, "2026-11-20T13:15:00Z", "2026-11-20T15:15:00Z"),
        (
            {"since": "yesterday 14:00", "until": "yesterday 16:00"},
            "2026-11-19T13:00:00Z",
            "2026-11-19T15:00:00Z",
        ),
        ({"since": "2026-11-20T12:00:00Z", "until": "now"}, "2026-11-20T11:16:20Z", "2026-11-20T15:16:20Z"),
        ({"last": 7200.0}, "2026-11-20T13:15:00Z", "2026-11-20T15:15:00Z"),
        ({"last": 7200.0, "until": "14:00"}, "2026-11-20T11:00:00Z", "2026-11-20T13:00:00Z"),
        ({"around": "14:30"}, "2026-11-20T13:00:00Z", "2026-11-20T14:00:00Z"),
        ({"around": "14:30", "duration": 7200.0}, "2026-11-20T12:30:00Z", "2026-11-20T14:30:00Z"),
    ],
)
def test_times_are_the_latest_such_moments_of_the_terminal(
    words: dict[str, Any], start: str, end: str
) -> None:
    """A window ends at the last full minute unless said, and covers what was asked for."""
    assert window_of(**words) == (start, end)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({}, "which time\\? Write --since 14:07, --last 2h"),
        ({"since": "14:07", "last": 60.0}, "--since or --from and --last say different things"),
        ({"since": "quarter past"}, "--since: 'quarter past' is not a time"),
        ({"since": "2h30m"}, "^--since: '2h30m' is a length of time, not a moment: write --last 2h30m$"),
        ({"last": 3600.0, "until": "25:00"}, "--to: '25:00': hours go from 00 to 23"),
        (
            {"since": "16:10", "until": "16:05"},
            "would end at 2026-11-20 16:05 CET, before it starts at 2026-11-20 16:10 CET",
        ),
        ({"since": "16:16"}, "before it starts"),
        ({"around": "14:00", "until": "15:00"}, "--around has no end"),
        ({"last": 3600.0, "duration": 60.0}, "--duration goes with --around"),
        ({"last": 300_000.0}, "--fit split"),
        ({"last": 3600.0, "types": ("htp-server",), "tests": ()}, "did you mean http-server"),
        ({"last": 3600.0, "tests": ()}, "which tests\\? Name their ids"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(words: dict[str, Any], text: str) -> None:
    """Every error names the option and shows what to write instead."""
    with pytest.raises(UsageError, match=text):
        asked(**words)


@pytest.mark.parametrize("blank", ["", " ", "\t"])
@pytest.mark.parametrize(
    ("name", "option"),
    [("test_names", "--test-name"), ("types", "--type"), ("tags", "--tag"), ("exclude", "--exclude")],
)
def test_an_empty_selector_is_refused(name: str, option: str, blank: str) -> None:
    """A variable that was not set in a script means neither everything nor nothing, with or without others."""
    for words in ({name: (blank,)}, {name: ("http-server", blank), "tests": ("202701",)}):
        for make in (make_adhoc_job, make_search_job):
            with pytest.raises(UsageError, match=f"^{option} is empty: .* or leave the option out$"):
                make(AdhocRequest(last=3600.0, **words), KNOWN, now=NOW, timezone=BERLIN)


def test_an_account_group_has_digits() -> None:
    """An empty one would mean the token's own alone."""
    for written in ("", "Main", "1 2"):
        with pytest.raises(UsageError, match=r"^--account-group .* has digits only"):
            asked(last=3600.0, account_group=written)


@pytest.mark.parametrize(
    "title", ["INC\n4711", "\x1b[31mINC", "INC\x00", "INC\u2028", "\u202eINC", "INC\ud800"]
)
def test_a_title_that_a_terminal_obeys_is_refused(title: str) -> None:
    """It goes before every display name, and from there into other people's screens."""
    with pytest.raises(UsageError, match=r"^--title .* has a control character"):
        asked(last=3600.0, title=title)


def test_a_title_may_have_any_letters() -> None:
    """Emoji with joiners and other scripts are plain text."""
    assert job_of(last=3600.0, title="INC 4711 \U0001f469\u200d\U0001f4bb 日本").name.startswith("INC 4711")


TWICE = (
    "2026-10-25 02:30 occurs twice in Europe/Berlin, where the clocks are put back: the {which} is taken,"
    " 2026-10-25T02:30:00+0{taken}:00 (for the other one write 2026-10-25T02:30:00+0{other}:00)"
)
NEVER = (
    "2027-03-28 02:30 does not exist in Europe/Berlin, where the clocks are put forward: taken as"
    " 2027-03-28 03:00 CEST"
)


@pytest.mark.parametrize(
    ("now", "start", "notes"),
    [
        pytest.param(
            "2026-10-25T00:10:00Z", "2026-10-24T00:30:00Z", (), id="back: 02:10, for the first time"
        ),
        pytest.param(
            "2026-10-25T00:50:00Z",
            "2026-10-25T00:30:00Z",
            (TWICE.format(which="first", taken=2, other=1),),
            id="back: 02:50, for the first time",
        ),
        pytest.param(
            "2026-10-25T01:40:00Z",
            "2026-10-25T01:30:00Z",
            (TWICE.format(which="second", taken=1, other=2),),
            id="back: 02:40, for the second time",
        ),
        pytest.param("2027-03-28T00:50:00Z", "2027-03-27T01:30:00Z", (), id="forward: 01:50, before the gap"),
        pytest.param("2027-03-28T01:10:00Z", "2027-03-28T01:00:00Z", (NEVER,), id="forward: 03:10, after it"),
    ],
)
def test_a_clock_time_around_a_change_of_the_clocks_is_explained(
    now: str, start: str, notes: tuple[str, ...]
) -> None:
    """`--since 02:30` is the latest that there was; one that is not plain says what it is taken as, and the way out."""
    meant = asked(since="02:30", now=at(now))
    assert meant.jobfile.jobs[0].windows[0].start == start
    assert meant.notes == notes


def test_the_window_over_a_change_of_the_clocks_is_echoed_with_both_offsets() -> None:
    """Ten minutes after the clocks were put forward, the hour before has an hour less on the wall."""
    now = at("2027-03-28T01:10:00Z")
    (spec,) = job_of(since="02:30", now=now).windows
    resolved = windows.resolve_window(spec, now=now)
    (window,) = resolved.windows
    assert window_text(window, ZoneInfo(BERLIN), now) == "00:09–01:09 UTC (01:09 CET–03:09 CEST)"
    assert resolved.notes == (
        "the start moves back from 2027-03-28 03:00 CEST to 2027-03-28 01:09 CET: 9m becomes 1h",
    )


def test_a_window_without_length_after_the_gap_says_why() -> None:
    """A minute after the change `--since 02:30` is 03:00, where the data ends, too: all of it is said."""
    with pytest.raises(UsageError) as caught:
        asked(since="02:30", now=at("2027-03-28T01:01:20Z"))
    assert str(caught.value) == (
        "the window would start and end at 2027-03-28 03:00 CEST: without --to it ends with the last full minute,"
        f" so write an earlier start, or --last 1h; {LATEST}. {NEVER}"
    )


LATEST = "a bare clock time is the latest such moment, so add the date, or 'yesterday'"


def test_a_job_of_the_command_line_is_an_incident() -> None:
    """It goes before everything else, covers odd lengths and looks in every account group."""
    made = asked(tests=("1", "2"), last=3600.0, exclude=("2",), max_tests=7)
    (job,) = made.jobfile.jobs
    assert (job.priority, job.windows[0].fit, job.everywhere) == (Priority.INCIDENT, Fit.COVER, True)
    assert (job.tests, job.exclude, job.max_tests) == ((TestRef(id="1"), TestRef(id="2")), ("2",), 7)
    assert (made.jobfile.name, job.organizations, job.display_name) == (
        "snap",
        ("acme",),
        DEFAULT_DISPLAY_NAME,
    )


def test_selectors_become_the_jobs_select() -> None:
    """What is not said is not selected by."""
    job = job_of(last=3600.0, tags=("team:*",), types=("page-load",), test_names=("pay",), alerting=True)
    assert job.select == Select(tag=("team:*",), type=("page-load",), test_name=("pay",), alerting=True)
    assert job_of(last=3600.0).select is None


def test_the_title_goes_before_the_display_name() -> None:
    """Braces in a title stand for themselves."""
    job = job_of(last=3600.0, title="INC-4711 {x}")
    assert job.name == "INC-4711 {x}"
    filled = job.display_name.format(test="Checkout", start="S", duration="1h", key="k")
    assert filled == "INC-4711 {x} Checkout S +1h [k]"


def test_one_account_group_is_looked_at_alone() -> None:
    """`--account-group`, or one that the job file names, keeps the search to it."""
    named = job_of(last=3600.0, account_group="2002")
    assert (named.account_group, named.everywhere) == ("2002", False)
    own = Organization(name="acme", credential=CredentialSource(env="T"), account_group="2001")
    filed = JobFile(name="", jobs=(), organizations={"acme": own})
    assert not job_of(last=3600.0, known=filed).everywhere


def test_since_alert_is_left_to_the_survey() -> None:
    """The window's start is the word, its end is fixed."""
    (spec,) = job_of(since=SINCE_ALERT, alerting=True).windows
    assert (spec.start, spec.end) == (SINCE_ALERT, "2026-11-20T15:15:00Z")


def test_looking_needs_neither_tests_nor_a_time() -> None:
    """Without selectors every test is meant, and alerting is now."""
    (job,) = make_search_job(AdhocRequest(), KNOWN, now=NOW, timezone=BERLIN).jobfile.jobs
    assert (job.select, job.windows) == (Select(), ())
    (timed,) = make_search_job(
        AdhocRequest(alerting=True, last=3600.0), KNOWN, now=NOW, timezone=BERLIN
    ).jobfile.jobs
    assert timed.windows[0].last == 3600.0


# -- ids and organizations -------------------------------------------------------------------------------


def test_the_only_organization_is_the_environments() -> None:
    """The variables of ThousandEyes' own command line name it, its address too."""
    environ = {"TE_TOKEN": "secret", "TE_BASE_URL": "https://api.eu.example"}
    known = find_organizations(None, (), environ=environ)
    (organization,) = known.organizations.values()
    assert organization.credential == CredentialSource(env="TE_TOKEN")
    assert organization.base_url == "https://api.eu.example/v7"
    assert known.jobs == ()


@pytest.mark.parametrize(
    ("environ", "text"),
    [({}, "set TE_TOKEN_FILE or TE_TOKEN"), ({"TE_TOKEN": "x", "TE_BASE_URL": "ftp://x"}, "TE_BASE_URL")],
)
def test_without_a_usable_organization_it_says_what_to_set(environ: dict[str, str], text: str) -> None:
    """No organization, or one with a wrong address, is an error that names the variable."""
    with pytest.raises(UsageError, match=text):
        find_organizations(None, (), environ=environ)


def test_a_job_files_organizations_are_chosen_by_name(tmp_path: Path) -> None:
    """With several of them one has to be chosen, and a name that is not there is told what is."""
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "version: 1\norganizations: {acme: {token_env: A}, globex: {token_env: B}}\n"
        "jobs: [{name: n, organization: acme, tests: [1], windows: [{last: 1h}]}]\n"
    )
    assert list(find_organizations(str(path), ("gl*",), environ={}).organizations) == ["globex"]
    with pytest.raises(UsageError, match="has 2 organizations: choose with --organization acme or globex"):
        find_organizations(str(path), (), environ={})
    with pytest.raises(UsageError, match="no organization matches initech: there is acme or globex"):
        find_organizations(str(path), ("initech",), environ={})

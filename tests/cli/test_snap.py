"""The commands of an incident as they are typed, against the simulator over HTTP on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.commands import tesnap
from orchestrator.cli.options import OutputOptions
from orchestrator.cli.process import exit_code_of
from orchestrator.cli.snap import announcement
from orchestrator.core.errors import SelectionError, UsageError
from orchestrator.core.jobs import JobFile, Limit, Window
from orchestrator.core.tasks import Task
from orchestrator.planning.preview import PlannedOrganization, PlannedSnapshot, Preview
from orchestrator.simulator import Simulator, example_world, serve
from orchestrator.simulator.world import VIEW_ALERTS, VIEW_TESTS
from tests.support.incident import (
    Gateway,
    alerting_world,
    longest_first,
    markdown_table,
    most_overtaken,
    posted,
)

pytestmark = pytest.mark.socket

PERIOD = 0.3
"""Seconds of the simulator's limit: twelve snapshots take two of them."""

Typed = Callable[..., Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and all that it said on standard error."""

    code: int
    stdout: str
    text: str


@pytest.fixture
def simulator() -> Simulator:
    """The API."""
    made = alerting_world()
    viewer = replace(made.bearers[0], token="viewer", name="viewer", permissions=(VIEW_TESTS, VIEW_ALERTS))
    made = replace(made, bearers=(*made.bearers, viewer))
    return Simulator(made, period=PERIOD, latency=(0.005, 0.0))


@pytest.fixture
def typed(simulator: Simulator, tmp_path: Path) -> Iterator[Typed]:
    """Type a command line; its exit code is the result's `return_value`."""
    with serve(simulator) as url:
        environ = {"TE_TOKEN": "token-1", "TE_BASE_URL": url, "TESNAP_STORE": f"sqlite:///{tmp_path}/t.db"}
        environ |= {"TESNAP_PER": f"{PERIOD * 1000:.0f}ms", "TESNAP_GUARD": "10ms", "TZ": "Europe/Berlin"}

        def run(*words: str, stdin: str = "", **more: str) -> Result:
            return CliRunner().invoke(tesnap, words, input=stdin, env=environ | more, standalone_mode=False)

        yield run


def ran_with(typed: Typed, *words: str, **more: str) -> Ended:
    """The command with what the program makes of an error: its exit code and its last words."""
    result = typed(*words, **more)
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        code = 0 if result.exception is None else exit_code_of(result.exception)
    code = code or result.return_value or 0
    return Ended(code=code, stdout=result.stdout, text=result.stderr + stderr.getvalue())


def records(result: Result, event: str) -> list[dict[str, Any]]:
    """The records of one kind on standard output."""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [one for one in found if one["event"] == event]


def test_everything_alerting_is_made_the_longest_first(typed: Typed, simulator: Simulator) -> None:
    """Twelve tests in two account groups, each in its own, at the limit's pace."""
    result = typed("snap", "--alerting", "--last", "3h", "--title", "INC-4711")
    assert result.return_value == 0, result.output
    made = records(result, "snapshot.created")
    assert len(made) == 12
    assert {one.get("account_group") for one in made} == {None, "2002"}
    assert all(one["display_name"].startswith("INC-4711 ") for one in made)
    assert {one["priority"] for one in made} == {"incident"}
    assert most_overtaken(posted(simulator.log), longest_first(simulator.world)) < 5
    assert "window " in result.stderr


def test_each_list_is_read_once(typed: Typed, simulator: Simulator) -> None:
    """Two account groups cost one list of tests each and the pages of their alerts."""
    typed("snap", "--alerting", "--last", "3h", "--dry-run")
    paths = [entry.path for entry in simulator.log]
    assert (paths.count("/v7/account-groups"), paths.count("/v7/tests"), paths.count("/v7/tags")) == (1, 2, 0)


def test_markdown_is_a_table(typed: Typed) -> None:
    """What goes into the channel is a head, a rule and a row for each snapshot."""
    result = typed("snap", "202701", "--last", "1h", "--format", "md")
    head, row = markdown_table(result.stdout)
    assert len(head) == len(row)
    assert any(cell.startswith("https://app.thousandeyes.com/") for cell in row)


def test_ids_from_tests_go_into_snap(typed: Typed) -> None:
    """`tests --format ids` writes what `snap -` reads, whatever account group the tests are in."""
    ids = typed("tests", "--alerting", "--type", "http-server", "--last", "3h", "--format", "ids").stdout
    assert len(ids.split()) == 4
    result = typed("snap", "-", "--last", "1h", stdin=ids)
    assert {one["test_id"] for one in records(result, "snapshot.created")} == set(ids.split())


def test_the_same_words_again_make_nothing_twice(typed: Typed, simulator: Simulator) -> None:
    """A second start finds what exists, even from another account group's test."""
    window = ("--from", "2026-01-20T10:00:00Z", "--to", "2026-01-20T11:00:00Z")
    typed("snap", "202701", "202951", *window)
    again = typed("snap", "202701", "202951", *window)
    assert len(records(again, "snapshot.existing")) == 2
    assert sum(entry.method == "POST" for entry in simulator.log) == 2


def test_alerts_on_pages_behind_a_gateway_are_all_found(typed: Typed) -> None:
    """Links that name an inside host lose no test, and the inside host is never asked."""
    inside = replace(alerting_world(), link_host="api.internal.invalid:8443")
    with serve(Simulator(inside, period=PERIOD, latency=(0.0, 0.0))) as url:
        result = typed("snap", "--alerting", "--last", "3h", TE_BASE_URL=url)
    assert result.return_value == 0, result.output
    assert len(records(result, "snapshot.created")) == 12


def test_a_list_that_is_not_whole_selects_nothing_and_says_so(typed: Typed, simulator: Simulator) -> None:
    """Less than all that is alerting must never look like all of it."""
    page = {"alerts": [], "_links": {"next": {"href": "https://elsewhere.example/v8/alarms?page=2"}}}
    changed = {"/alerts": {"body": json.dumps(page).encode()}}
    with serve(Gateway(simulator.world, changed, latency=(0.0, 0.0))) as url:
        ended = ran_with(typed, "snap", "--alerting", "--last", "3h", TE_BASE_URL=url)
    assert ended.code == 2
    assert "The list is incomplete. After 0 items its next page is at elsewhere.example" in ended.text
    assert "check base_url, and a gateway that changes the addresses in answers" in ended.text


def test_account_groups_that_cannot_be_read_are_warned_of(typed: Typed, simulator: Simulator) -> None:
    """What was found in the token's own account group is made, and what was not searched is said even with -q."""
    with serve(
        Gateway(simulator.world, {"/account-groups": BROKEN}, latency=(0.0, 0.0), period=PERIOD)
    ) as url:
        made = typed("snap", "--alerting", "--last", "3h", "-q", TE_BASE_URL=url)
        looked = typed("tests", "--alerting", "--last", "3h", TE_BASE_URL=url)
    assert made.return_value == 0
    assert len(records(made, "snapshot.created")) == 6
    for result in (made, looked):
        assert "Only the token's own account group is searched, and NOT the others" in result.stderr


BROKEN = {"status": 200, "body": b"<html><title>Log in</title></html>"}
FAILING = {"status": 500, "body": b""}
FORBIDDEN = {"status": 403, "body": b""}
USED_UP = {"status": 429, "body": b"", "headers": {"Retry-After": "400"}}


@pytest.mark.parametrize(
    "words", [("snap", "--last", "1h"), ("snap", "--last", "1h", "--dry-run"), ("tests",)]
)
@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        (BROKEN, 5, "Log in. A web page came back: a gateway or proxy answered, not the API."),
        (FAILING, 5, "Internal server error. Do this: the trouble is on ThousandEyes' side"),
        (FORBIDDEN, 4, "have an administrator add 'View alerts' to a role of the token's user"),
        (
            USED_UP,
            5,
            "Too many requests. The API asks to wait for 400 s. Do this: the limit on requests is used up",
        ),
    ],
)
def test_a_list_that_fails_says_why_and_ends_with_its_exit_code(
    typed: Typed, simulator: Simulator, words: tuple[str, ...], changes: dict[str, Any], code: int, why: str
) -> None:
    """The same of the command, of its dry run and of looking; a permission is named only where one is missing."""
    with serve(Gateway(simulator.world, {"/alerts": changes}, latency=(0.0, 0.0))) as url:
        ended = ran_with(typed, *words, "--alerting", TE_BASE_URL=url)
    assert (ended.code, ended.stdout) == (code, "")
    assert "no test can be selected: the alerts of account group 2001 (Group 2001)" in ended.text
    assert why in ended.text
    assert ("permission" in ended.text or "View" in ended.text) is (code == 4)


@pytest.mark.parametrize("words", [("snap", "--alerting", "--last", "1h"), ("tests",)])
def test_an_api_that_nobody_reaches_ends_with_its_exit_code(typed: Typed, words: tuple[str, ...]) -> None:
    """It is out of reach, which is no matter of permissions: the exit code is 5."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = ran_with(typed, *words, TE_BASE_URL=f"http://127.0.0.1:{port}/v7")
    assert (ended.code, ended.stdout) == (5, "")
    assert f"connection refused by 127.0.0.1:{port}" in ended.text.casefold()
    assert "check the network, the proxy and base_url" in ended.text


def test_a_dry_run_of_making_again_shows_what_is_made_again(typed: Typed, tmp_path: Path) -> None:
    """What exists is not in the way of `--again`, neither for snap nor for a job file."""
    jobs = tmp_path / "jobs.yaml"
    window = "{start: 2026-01-20T10:00:00Z, end: 2026-01-20T11:00:00Z}"
    jobs.write_text(
        "version: 1\norganizations: {default: {base_url: '${TE_BASE_URL}'}}\n"
        f"jobs: [{{name: n, tests: [202701], windows: [{window}]}}]\n"
    )
    typed("snap", "202701", *PAST)
    for words in (("snap", "202701", *PAST), ("run", str(jobs))):
        once, more = (
            json.loads(typed(*words, "--dry-run", "--json", *again).stdout) for again in ((), ("--again",))
        )
        assert [one.get("existing") for one in once["snapshots"]] == ["created"], words
        assert [one.get("existing") for one in more["snapshots"]] == [None], words
        assert more["snapshots"][0]["starts_at"], words


SPENT = {"X-Organization-Rate-Limit-Limit": "240", "X-Organization-Rate-Limit-Remaining": "0"}
SPENT |= {"X-Organization-Rate-Limit-Reset": "3", "Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("tests",), True),
        (("snap", "202701", "--last", "1h"), True),
        (("snap", "202701", "--last", "1h", "--dry-run"), True),
        (("snap", "202701", "--last", "1h", "-q"), False),
        (("snap", "202701", "--last", "1h", "-q", "--dry-run"), False),
    ],
)
def test_a_wait_for_the_general_limit_is_told(
    typed: Typed, simulator: Simulator, words: tuple[str, ...], told: bool
) -> None:
    """Whose limit, and when it goes on, by the clock of the zone that was asked for; not when it is to be quiet."""
    with serve(Gateway(simulator.world, {"/account-groups": {"headers": SPENT}}, latency=(0.0, 0.0))) as url:
        result = typed(*words, "--timezone", "Asia/Tokyo", TE_BASE_URL=url)
    pattern = (
        r"default: the API's limit of 240 requests a minute is used up; next \d\d:\d\d:\d\d JST \([123] s\)"
    )
    assert bool(re.search(pattern, result.stderr)) is told, result.stderr


PAST = ("--from", "2026-01-20T10:00:00Z", "--to", "2026-01-20T11:00:00Z")


@pytest.mark.parametrize(
    ("changes", "code", "why"), [(FORBIDDEN, 4, "Forbidden"), (FAILING, 5, "Internal server error")]
)
def test_since_alert_says_that_alerts_cannot_be_read(
    typed: Typed, simulator: Simulator, changes: dict[str, Any], code: int, why: str
) -> None:
    """That no test has an alert is not known then, and not said."""
    with serve(Gateway(simulator.world, {"/alerts": changes}, latency=(0.0, 0.0))) as url:
        ended = ran_with(typed, "snap", "202701", "--since", "alert", TE_BASE_URL=url)
    assert ended.code == code
    assert "since alert: nobody knows when an alert began: the alerts of account group 2001" in ended.text
    assert why in ended.text
    assert "none of the tests has an alert" not in ended.text


def test_an_account_group_of_somebody_else_names_those_of_the_token(typed: Typed) -> None:
    """The number is wrong, not a permission and not the address."""
    for words in (("snap", "--alerting", "--last", "1h"), ("tests",)):
        ended = ran_with(typed, *words, "--account-group", "99")
        assert ended.code == 2
        assert "which sees 2001 (Group 2001) and 2002 (Group 2002)" in ended.text
        assert "correct the account group, or have the token's user added to it" in ended.text
        assert "permission" not in ended.text
        assert "base_url" not in ended.text


def test_looking_does_not_say_that_nothing_was_sent(typed: Typed) -> None:
    """It never sends."""
    result = typed("tests", "--tag", "team:nobody")
    assert str(result.exception).startswith("no test matches: default has 500 tests in account group 2001")


def test_an_incident_is_no_matter_of_a_cluster(typed: Typed, tmp_path: Path) -> None:
    """A deadline for Kubernetes is for job files."""
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text("version: 1\njobs: [{name: n, tests: [202701], windows: [{last: 1h}]}]\n")
    assert "activeDeadlineSeconds" not in typed("snap", "202701", "--last", "1h", "--dry-run").stdout
    assert "activeDeadlineSeconds" in typed("plan", str(jobs)).stdout


def test_an_id_of_several_organizations_is_sent_to_its_own(typed: Typed, tmp_path: Path) -> None:
    """Neither organization is asked for the other's test; one that nobody has fails without a request."""
    jobs, other = tmp_path / "jobs.yaml", Simulator(example_world(2, 2), period=PERIOD, latency=(0.0, 0.0))
    jobs.write_text(
        "version: 1\norganization_defaults: {base_url: '${TE_BASE_URL}'}\n"
        "organizations: {acme: {token_env: ACME}, globex: {token_env: GLOBEX}}\n"
        "jobs: [{name: n, organization: acme, tests: [1], windows: [{last: 1h}]}]\n"
    )
    ids = [one.account_groups[0].tests[0].test_id for one in other.world.organizations]
    words = ("snap", *ids, "999", "--last", "1h", "--jobfile", str(jobs), "--organization", "*")
    tokens = {"ACME": "token-1", "GLOBEX": "token-2"}
    with serve(other) as url:
        result = typed(*words, TE_BASE_URL=url, **tokens)
    assert result.return_value == 3, result.output
    made = records(result, "snapshot.created")
    assert sorted((one["organization"], one["test_id"]) for one in made) == sorted(
        zip(("acme", "globex"), ids, strict=True)
    )
    (lost,) = records(result, "snapshot.failed")
    assert lost["error"]["title"].startswith("test 999 is in no list of acme and globex")
    assert sorted(posted(other.log)) == sorted(ids)


NOTHING = (
    "no test matches, so nothing was sent: default has 500 tests in account group 2001 (Group 2001) and account"
    " group 2002 (Group 2002): none {what}. `tesnap tests` lists all tests with their types and tags"
)
NOBODYS_TAG = "with tag 'team:nobody'; there is no tag 'team:nobody' among 'team:payments' and 'os:linux'"
MISSPELT = "with a name like 'chekout 1'; the nearest names are 'Checkout 1', 'Checkout 61' and 'Checkout 81'"
TOO_MANY = (
    "{found} tests match, more than the 20 that --max-tests allows, so nothing was sent: look at them with"
    " `tesnap tests`, then narrow them down by tag, type or name, or set --max-tests to {found}"
)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--tag", "team:nobody"), NOTHING.format(what=NOBODYS_TAG)),
        (("--test-name", "chekout 1"), NOTHING.format(what=MISSPELT)),
        (("--test-name", "*", "--max-tests", "20"), TOO_MANY.format(found=500)),
    ],
)
def test_a_selection_that_cannot_be_meant_sends_nothing(
    typed: Typed, simulator: Simulator, words: tuple[str, ...], text: str
) -> None:
    """The error says what was found and what to do; standard output is empty."""
    result = typed("snap", *words, "--last", "1h")
    assert isinstance(result.exception, SelectionError)
    assert str(result.exception) == text
    assert result.stdout == ""
    assert posted(simulator.log) == []


def test_three_thousand_matches_are_planned_only_as_far_as_allowed(typed: Typed) -> None:
    """Without a bound the plan shows the two days that they take; with one, nothing is planned."""
    with serve(Simulator(example_world(1, 3000), latency=(0.0, 0.0))) as url:
        every = ("snap", "--test-name", "*", "--last", "1h", "--dry-run", "--per", "5m")
        plan = json.loads(typed(*every, "--json", TE_BASE_URL=url).stdout)
        refused = typed(*every, "--max-tests", "20", TE_BASE_URL=url)
    assert len(plan["snapshots"]) == 3000
    assert plan["snapshots"][-1]["group"] == 600
    assert plan["active_deadline_seconds"] > 599 * 300
    assert str(refused.exception) == TOO_MANY.format(found=3000)


def test_a_run_without_a_job_file_is_carried_on(typed: Typed, simulator: Simulator) -> None:
    """What a token was not allowed to make is made with the environment's next one, without a file to name."""
    first = typed("snap", "202701", "202951", "--last", "1h", TE_TOKEN="viewer")
    assert first.return_value == 4, first.output
    assert records(first, "snapshot.created") == []
    second = typed("resume")
    assert second.return_value == 0, second.output
    assert {one["test_id"] for one in records(second, "snapshot.created")} == {"202701", "202951"}
    again = typed("resume")
    assert len(records(again, "snapshot.created")) == 2
    assert [entry.status for entry in simulator.log if entry.method == "POST"].count(201) == 2


def test_a_run_of_a_job_files_organization_is_carried_on_by_it(typed: Typed, tmp_path: Path) -> None:
    """`snap --jobfile` remembers the file: `resume` needs neither a variable nor an option."""
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(
        "version: 1\norganizations: {acme: {token_env: ACME, base_url: '${TE_BASE_URL}'}}\n"
        "jobs: [{name: n, tests: [1], windows: [{last: 1h}]}]\n"
    )
    named = {"TE_TOKEN": "", "ACME": "token-1"}
    made = typed("snap", "202701", "--last", "1h", "--jobfile", str(jobs), **named)
    assert made.return_value == 0, made.output
    again = typed("resume", **named)
    assert again.return_value == 0, again.exception
    assert [one["organization"] for one in records(again, "snapshot.created")] == ["acme"]


def test_a_run_without_a_job_file_needs_the_environments_organization(typed: Typed) -> None:
    """Without a token the error names the variables."""
    typed("snap", "202701", "--last", "1h")
    result = typed("resume", TE_TOKEN="")
    assert isinstance(result.exception, UsageError)
    assert "set TE_TOKEN_FILE or TE_TOKEN" in str(result.exception)


def test_an_alert_gives_the_windows_start(typed: Typed) -> None:
    """`--since alert` starts no later than the earliest alert of the tests that are alerting now."""
    result = typed("snap", "--alerting", "--since", "alert", "--dry-run", "--json")
    plan = json.loads(result.stdout)
    assert len(plan["snapshots"]) == 6
    (start,) = {one["start"] for one in plan["snapshots"]}
    earliest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600 * 11))
    assert start <= earliest


NOW = 1_795_003_200.0
HOUR = Window(start=int(NOW) - 3600, end=int(NOW))


def announced(matches: int, *, terminal: bool = True, used: bool = False) -> list[str]:
    """What is said before so many tests go, five at a time; with `used` slots that others have."""
    snapshots = []
    for at in range(matches):
        task = Task(
            organization="o",
            account_group="",
            test_id=str(at),
            window=HOUR,
            is_public=False,
            display_name="",
            job_name="j",
        )
        starts = NOW + 300 * (at // 5 + used)
        snapshots.append(PlannedSnapshot(task=task, starts_at=starts, group=at // 5 + 1))
    planned = PlannedOrganization(name="o", limit=Limit(), snapshots=tuple(snapshots))
    view = Preview(
        jobfile=JobFile(name="j", jobs=(), organizations={}),
        make=lambda: iter([planned]),
        asked=matches,
        notes=(),
        now=NOW,
    )
    return list(announcement(view, OutputOptions(timezone="Europe/Berlin"), terminal=terminal))


def test_many_matches_are_announced_on_a_terminal() -> None:
    """More than five are said with when the last goes; five, or away from a terminal, the window alone."""
    window = "window 11:00–12:00 UTC (12:00–13:00 CET)"
    assert announced(23) == [window, "23 tests match. First 5 now, last about 13:20 CET. Ctrl-C stops."]
    assert announced(3000)[1] == "3000 tests match. First 5 now, last about 20 Nov 14:55 CET. Ctrl-C stops."
    assert announced(5) == announced(23, terminal=False) == [window]
    assert announced(6, used=True)[1].startswith("6 tests match. The first at 13:05 CET: all slots are used.")


def test_looking_shows_every_column(typed: Typed) -> None:
    """`tests` has the tags, the alert's beginning and the account group of each."""
    result = typed("tests", "--test-name", "Checkout 1", "--type", "http-server", "--json")
    first = json.loads(result.stdout)[0]
    assert (first["test_id"], first["account_group"]) == ("202963", "2002")
    assert first["tags"] == ["team:payments"]
    assert first["alerting_since"].endswith("Z")


def test_a_refused_token_is_named(typed: Typed) -> None:
    """The exit code is 4, and the words say what was refused."""
    result = typed("tests", TE_TOKEN="nobodys-token")
    assert result.return_value == 4
    assert "the token was refused (401)" in result.stderr


def test_selecting_with_a_refused_token_ends_with_its_exit_code(typed: Typed, simulator: Simulator) -> None:
    """Nothing can be selected, so no run is made of it; the one request was refused."""
    result = typed("snap", "--alerting", "--last", "1h", TE_TOKEN="nobodys-token")
    assert isinstance(result.exception, click.exceptions.Exit) or result.return_value == 4
    assert result.stdout == ""
    assert "the token was refused (401)" in result.stderr
    assert len(simulator.log) == 1


@pytest.mark.parametrize(("token", "code"), [("token-1", 0), ("nobodys-token", 4)])
def test_a_plan_that_could_not_look_ends_with_the_exit_code_of_a_refusal(
    typed: Typed, simulator: Simulator, token: str, code: int
) -> None:
    """It shows what it knows, says what was refused, and a script that asks first is not told that all is well."""
    result = typed("snap", "202701", "--last", "1h", "--dry-run", TE_TOKEN=token)
    assert result.return_value == code
    assert ("the token was refused (401)" in result.stdout) is bool(code)
    assert not posted(simulator.log)


@pytest.mark.parametrize("token", ['"token-1"', "TE_TOKEN=token-1", "${TE_TOKEN}", "REPLACE_ME", "<token>"])
@pytest.mark.parametrize("words", [("snap", "202701", "--last", "1h"), ("tests",), ("doctor",)])
def test_what_can_be_no_token_is_sent_to_nobody(
    words: tuple[str, ...], token: str, typed: Typed, simulator: Simulator, tmp_path: Path
) -> None:
    """From a file as from the variable; nothing of it is quoted back."""
    path = tmp_path / "token"
    path.write_text(f"{token}\n", encoding="utf-8")
    for more in ({"TE_TOKEN": token}, {"TE_TOKEN": "", "TE_TOKEN_FILE": str(path)}):
        told = ran_with(typed, *words, **more)
        assert told.code == (
            3 if words == ("doctor",) else 2
        )  # which has found trouble, as of any other kind
        assert "token" in (told.stdout + told.text).lower()
        assert "token-1" not in told.stdout + told.text
    assert simulator.log == []


def test_without_an_organization_it_says_what_to_set(typed: Typed) -> None:
    """An empty environment is an error with the variable's name."""
    result = typed("snap", "1", "--last", "1h", TE_TOKEN="")
    assert isinstance(result.exception, UsageError)
    assert "TE_TOKEN_FILE or TE_TOKEN" in str(result.exception)


@pytest.mark.parametrize(("token", "code"), [("token-1", 0), ("nobodys-token", 4)])
def test_the_doctor_ends_with_what_is_wrong(typed: Typed, token: str, code: int) -> None:
    """The organization and the store are looked at; the worst finding is the exit code."""
    result = typed("doctor", TE_TOKEN=token)
    assert result.return_value == code
    assert "store: sqlite:////" in result.stdout
    assert token not in result.output.replace("TE_TOKEN", "")


def test_the_doctor_says_how_it_takes_a_job_file(typed: Typed) -> None:
    """It has no --jobfile, so it does not advise one."""
    result = typed("doctor", TE_TOKEN="")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).endswith(
        "name a job file that has them after the command: `tesnap doctor JOBFILE`"
    )


def test_the_doctor_finds_what_selecting_fails_of(typed: Typed) -> None:
    """A token that may not view tags is no sound one."""
    result = typed("doctor", TE_TOKEN="viewer")
    assert result.return_value == 3
    places = "account group 2001 (Group 2001) and account group 2002 (Group 2002)"
    assert result.stdout.count(f"TROUBLE  tags: the tags of {places} cannot be read: Forbidden.") == 1

"""The view: what lands on which stream, on a terminal and away from one."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest

from orchestrator.core.events import Ending, Event, Observer, Progress, Waiting
from orchestrator.core.jobs import Window
from orchestrator.core.redact import hide
from orchestrator.core.tasks import Counts, Problem, Reason, Result, Run, Snapshot, Status, Task
from orchestrator.output import records
from orchestrator.output.formats import Format, Output
from orchestrator.output.terminal import View
from tests.support.clock import VirtualClock

SECRET = "0a1b2c3d-secret-4e5f"
LINK = "https://app.example.com/view/tests/?roundId=1795183200&" + "long=" + "x" * 90
RUN = Run(id="k7f2", job="nightly-edge", created_at=1_795_183_200.0)
TASK = Task(
    organization="https://api.example.com/v7#id=1",
    account_group="1",
    test_id="202701",
    window=Window(start=1_795_183_200, end=1_795_190_400),
    is_public=False,
    organization_name="acme",
    test_name="Checkout EU",
    display_name="x",
    job_name="checkout",
)
CREATED = Result(
    task=TASK,
    status=Status.CREATED,
    snapshot=Snapshot(id="wdiac", link=LINK),
    settled_wall=1_795_183_300.0,
)
FAILED = dataclasses.replace(
    CREATED,
    status=Status.FAILED,
    snapshot=None,
    problem=Problem(title="Bad Request", detail="the start is before the test was made " * 4),
)


class Terminal(io.StringIO):
    """A terminal that keeps what it shows: both streams may write to the same one."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The lines that are left after all cursor movements."""
        rows, row, column = [""], 0, 0
        for sequence, char in re.findall(r"\x1b\[([0-9;?]*[A-Za-z])|(.)", self.getvalue(), re.DOTALL):
            if sequence.endswith("A"):
                row -= int(sequence[:-1] or 1)
            elif sequence.endswith("K"):
                rows[row] = ""
            elif char == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif char == "\r":
                column = 0
            elif char:
                rows[row] = rows[row][:column].ljust(column) + char + rows[row][column + 1 :]
                column += 1
        return rows


class Stage:
    """A view with its streams and its clock."""

    def __init__(self, *, terminal: bool = False, **fields: object) -> None:
        self.stdout: io.StringIO = Terminal() if terminal else io.StringIO()
        self.stderr: io.StringIO = self.stdout if terminal else io.StringIO()
        self.clock = VirtualClock(wall=1_795_184_810.0)
        hide(SECRET)
        output = Output(
            stdout=self.stdout,
            stderr=self.stderr,
            clock=self.clock,
            zone=ZoneInfo("Europe/Berlin"),
            name_of=lambda identity: {TASK.organization: "acme"}.get(identity, identity),
            environ={"TERM": "xterm", "COLUMNS": "80"},
        )
        self.view = View(dataclasses.replace(output, **fields))  # type: ignore[arg-type]  # fields by name

    def wait(self, *reasons: Reason, until: float | None = 252.0) -> None:
        """Report progress with one organization waiting for each of these reasons."""
        now = self.clock.wall()
        due = None if until is None else 1_795_184_810.0 + until
        whys = [
            Waiting(organization=TASK.organization if n == 0 else f"org{n}", reason=why, until=due, left=37)
            for n, why in enumerate(reasons)
        ]
        self.view.on_progress(
            Progress(
                now=now,
                counts=Counts(created=3, queued=37),
                waiting=sorted(whys, key=lambda one: one.urgency),
            )
        )

    def end(self, exit_code: int = 0, **counts: int) -> None:
        """End the run."""
        self.view.on_end(
            Ending(run=RUN, counts=Counts(**counts), pending_reasons={}, exit_code=exit_code, seconds=1.0)
        )

    def told(self) -> list[str]:
        """The lines on standard error."""
        return self.stderr.getvalue().splitlines()


class Gone(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_view_is_an_observer() -> None:
    """The worker may be given one."""
    observer: Observer = Stage().view
    observer.on_event(Event(name="plan.note", text="hello"))


def test_away_from_a_terminal_results_are_records() -> None:
    """Standard output has the records of the run and nothing else."""
    stage = Stage()
    stage.view.on_start(RUN, 2)
    stage.view.on_result(CREATED)
    stage.view.on_event(Event(name="plan.note", text="hello"))
    stage.view.on_result(FAILED)
    stage.end(3, created=1, failed=1)
    read = [json.loads(line) for line in stage.stdout.getvalue().splitlines()]
    events = ["run.started", "snapshot.created", "snapshot.failed", "run.finished"]
    assert [record["event"] for record in read] == events
    assert read[1]["organization"] == "acme"
    assert stage.told() == [
        "run k7f2 of nightly-edge: 2 snapshots",
        "hello",
        "1 created, 1 FAILED: tesnap resume k7f2 --failed",
    ]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_change_of_waiting_is_told_once_and_at_most_one_a_minute(log_format: str) -> None:
    """The same wait is one line, a new one waits for its minute, and none is forgotten."""
    stage = Stage(log_format=log_format)
    stage.wait(Reason.OWN_QUOTA)
    stage.clock.advance(30)
    stage.wait(Reason.OWN_QUOTA)
    stage.wait(Reason.FOREIGN_QUOTA)
    assert len(stage.told()) == 1
    stage.clock.advance(30)
    stage.wait(Reason.FOREIGN_QUOTA, until=253.0)
    assert len(stage.told()) == 2
    stage.clock.advance(60)
    stage.wait(Reason.FOREIGN_QUOTA, until=255.0)
    assert len(stage.told()) == 2
    stage.wait(Reason.FOREIGN_QUOTA, until=555.0)
    stage.wait()
    assert len(stage.told()) == 3


def test_the_waiting_line_is_the_sentence_and_nothing_else() -> None:
    """No stamp, no level: word for word what a user is promised."""
    stage = Stage()
    stage.wait(Reason.OWN_QUOTA)
    assert stage.told() == ["all 5 slots of acme used; next 15:31:02 CET (4 m 12 s); 37 left"]
    trouble = Stage()
    trouble.wait(Reason.FOREIGN_QUOTA)
    assert trouble.told()[0].startswith("acme: refused (429): somebody outside this store")


def test_waiting_for_machines_has_reasons_and_times() -> None:
    """A JSON log line explains five organizations one by one and counts all."""
    stage = Stage(log_format="json")
    stage.view.on_start(RUN, 40)
    stage.wait(*[Reason.OWN_QUOTA] * 6, Reason.TOKEN_REFUSED)
    told = json.loads(stage.told()[-1])
    assert (told["event"], told["level"], told["run_id"]) == ("run.waiting", "warning", "k7f2")
    assert (len(told["waiting"]), told["organizations"]) == (5, 7)
    first = told["waiting"][0]
    assert (first["organization"], first["reason"], first["left"]) == ("org6", "token_refused", 37)
    assert first["until"] == "2026-11-20T14:31:02Z"


def test_quiet_prints_only_trouble() -> None:
    """A run without trouble says nothing on standard error; its results are still there."""
    stage = Stage(quiet=True)
    stage.view.on_start(RUN, 1)
    stage.view.on_event(Event(name="plan.note", text="hello"))
    stage.wait(Reason.OWN_QUOTA)
    stage.view.on_result(CREATED)
    stage.end(0, created=1)
    assert stage.told() == []
    assert len(stage.stdout.getvalue().splitlines()) == 3


@pytest.mark.parametrize("before", range(20, 80, 3))
def test_a_secret_in_an_error_is_not_printed_in_two_lines(before: int) -> None:
    """Wherever a row of the table is broken, which may be at a hyphen."""
    hide("canary-within-row")
    problem = Problem(title="Bad Request", detail="x " * (before // 2) + "canary-within-row")
    stage = Stage(format=Format.TABLE)
    stage.view.on_result(dataclasses.replace(CREATED, status=Status.FAILED, snapshot=None, problem=problem))
    assert "[masked]" in stage.stdout.getvalue()
    assert "canary" not in stage.stdout.getvalue()


def test_quiet_does_not_hide_trouble() -> None:
    """A warning and a bad end are told, and what a run that breaks off was waiting for."""
    stage = Stage(quiet=True)
    stage.view.on_event(Event(name="attempt.retry", text="again", level="warning"))
    stage.wait(Reason.OWN_QUOTA, Reason.STORE)
    stage.view.close()
    assert [line.split(";")[0] for line in stage.told()] == [
        "warning: again",
        "org1: store does not answer, and nothing is sent without it",
    ]
    stage.end(5, queued=1)
    assert stage.told()[2:] == ["1 pending: tesnap resume k7f2"]


def test_what_quiet_leaves_out_does_not_hold_trouble_back() -> None:
    """A wait that was not told does not use up the minute, nor is it mixed into a line of trouble."""
    stage = Stage(quiet=True)
    stage.wait(Reason.OWN_QUOTA)
    stage.wait(Reason.OWN_QUOTA, Reason.STORE)
    stage.view.close()
    (told,) = stage.told()
    assert "store does not answer" in told
    assert "more" not in told


def test_an_api_out_of_reach_fills_no_log() -> None:
    """That nothing can be sent is told once a minute for each organization, however often it is tried."""
    stage = Stage()
    for _ in range(40):
        for name in ("acme", "globex"):
            text = f"{name}: connection refused; nothing was sent, next try in 3 s"
            stage.view.on_event(Event(name="attempt.unsent", text=text, level="warning"))
        stage.clock.sleep(3)
    assert len(stage.told()) == 2 * 2


def test_the_run_goes_on_when_nobody_reads_its_results() -> None:
    """A closed pipe is told once, with the way to the results."""
    stage = Stage(stdout=Gone())
    stage.view.on_start(RUN, 1)
    stage.view.on_result(CREATED)
    stage.end(0, created=1)
    assert stage.told()[1:] == [
        (
            "warning: standard output takes no more (Broken pipe); the run goes on, and "
            "`tesnap report k7f2` has its results"
        ),
        "1 created: tesnap report k7f2",
    ]


def test_a_rehearsal_leaves_no_results_to_look_at() -> None:
    """Its store goes with it."""
    stage = Stage(stdout=Gone(), rehearsal=True)
    stage.view.on_start(RUN, 1)
    stage.view.on_result(CREATED)
    assert stage.told()[1:] == ["warning: standard output takes no more (Broken pipe); the run goes on"]


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("terminal", [True, False])
def test_no_format_lets_a_secret_or_an_unwanted_link_out(form: Format, terminal: bool) -> None:
    """`--links id` and the masking hold for every way to show a result, a wait and an event."""
    stage = Stage(terminal=terminal, format=form, show_links=False, verbose=True)
    task = dataclasses.replace(TASK, test_name=f"name {SECRET}")
    stage.view.on_start(dataclasses.replace(RUN, job=SECRET), 2)
    stage.view.on_result(dataclasses.replace(CREATED, task=task))
    problem = Problem(title=f"Conflict with {LINK}", detail=f"Bearer {SECRET}")
    stage.view.on_result(dataclasses.replace(FAILED, task=task, problem=problem))
    stage.view.on_event(Event(name="attempt.sent", text=f"sent to {LINK}", fields=(("auth", SECRET),)))
    stage.view.on_progress(
        Progress(
            now=1.0,
            counts=Counts(),
            waiting=[Waiting(organization=SECRET, reason=Reason.STORE, until=None, left=1)],
        )
    )
    stage.end(0, created=1)
    shown = stage.stdout.getvalue() + stage.stderr.getvalue()
    assert SECRET not in shown
    assert "roundId" not in shown
    assert "wdiac" in shown


def test_a_table_fits_80_columns_and_wraps_no_link() -> None:
    """Whatever names there are, only a link's own line is longer."""
    long = dataclasses.replace(TASK, test_name="決済" * 40, organization_name="o" * 90)
    stage = Stage(format=Format.TABLE)
    stage.view.on_start(RUN, 2)
    for result in (CREATED, FAILED):
        stage.view.on_result(dataclasses.replace(result, task=long))
    lines = stage.stdout.getvalue().splitlines()
    assert lines[0].split() == ["status", "test", "organization", "window"]
    assert [line for line in lines if len(line) > 80] == [f"  {LINK}"]
    assert len({line.index("20 Nov 14:00–16:00 UTC") for line in lines if "UTC" in line}) == 1
    assert "\x1b" not in stage.stdout.getvalue()


HOSTILE = "[bold]x[/] \x1b[2J\x9b2J\r\n| `a` =1 \u202eb <img>"


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("terminal", [True, False])
def test_hostile_names_are_shown_harmless(form: Format, terminal: bool) -> None:
    """Markup, control characters and line breaks in names come out as text on every stream."""
    stage = Stage(terminal=terminal, format=form, no_color=True)
    task = dataclasses.replace(TASK, test_name=HOSTILE)
    stage.view.on_result(dataclasses.replace(CREATED, task=task))
    stage.view.on_event(Event(name="plan.note", text=HOSTILE))
    named = Waiting(organization=HOSTILE, reason=Reason.STORE, until=None, left=1)
    stage.view.on_progress(Progress(now=1.0, counts=Counts(), waiting=[named]))
    stage.view.close()
    shown = stage.stdout.getvalue() + stage.stderr.getvalue()
    assert "\x1b[2J" not in shown
    assert not {"\x9b", "\u202e"} & set(shown)
    if form is not Format.JSONL and not terminal:
        assert "\r" not in shown


def test_markdown_is_one_table() -> None:
    """Header first; a name's bars stay in their cell; a link is a link."""
    stage = Stage(format=Format.MD)
    stage.view.on_start(RUN, 1)
    stage.view.on_result(dataclasses.replace(CREATED, task=dataclasses.replace(TASK, test_name="a|b")))
    head, rule, row = stage.stdout.getvalue().splitlines()
    assert head.count("|") == rule.count("|") == row.replace("\\|", "").count("|") == 7
    assert row.startswith(
        r"| created | a\|b (202701) | acme | 20 Nov 14:00–16:00 UTC (15:00–17:00 CET) | <https://"
    )
    assert row.endswith("| deleted by ThousandEyes on 20 Dec 2026 |")


def test_csv_has_the_keys_of_a_record() -> None:
    """Header first, the record's keys as columns, formulas defused, an error as a sentence."""
    stage = Stage(format=Format.CSV)
    stage.view.on_start(RUN, 2)
    public = dataclasses.replace(TASK, test_name="=cmd()|'x'!A0", is_public=True)
    stage.view.on_result(dataclasses.replace(CREATED, task=public))
    stage.view.on_result(FAILED)
    made, failed = csv.DictReader(io.StringIO(stage.stdout.getvalue()))
    assert tuple(made) == records.SNAPSHOT_KEYS
    assert (made["test_name"], made["is_public"], made["link"]) == ("'=cmd()|'x'!A0", "true", LINK)
    assert failed["error"].startswith("Bad Request: the start is before")


def test_rows_and_the_live_line_do_not_tear_each_other() -> None:
    """After the run the terminal shows the rows, the events and the last line, and no remnant of the live line."""
    stage = Stage(terminal=True, no_color=True)
    stage.view.on_start(RUN, 2)
    for step in range(4):
        stage.wait(*[Reason.OWN_QUOTA] * (4 - step))
        stage.view.on_result(CREATED)
        stage.clock.advance(1)
    stage.view.on_event(Event(name="plan.note", text="hello"))
    assert "all 5 slots of acme used" in "\n".join(screen(stage))
    stage.end(0, created=4)
    lines = [line for line in screen(stage) if line]
    assert lines[0] == "run k7f2 of nightly-edge: 2 snapshots"
    assert [line.split()[0] for line in lines[1:]] == [
        "status",
        *["created", "202701", LINK] * 4,
        "hello",
        "4",
    ]
    assert lines[-1] == "4 created: tesnap report k7f2"


def test_the_live_line_counts_down() -> None:
    """Each second's progress is drawn over the last one."""
    stage = Stage(terminal=True)
    stage.view.on_start(RUN, 40)
    stage.wait(Reason.OWN_QUOTA)
    stage.clock.advance(1)
    stage.wait(Reason.OWN_QUOTA)
    shown = "\n".join(screen(stage))
    assert "run k7f2: 3 of 40 settled: 3 created" in shown
    assert "(4 m 11 s)" in shown
    assert "(4 m 12 s)" not in shown


def test_the_live_line_explains_five_organizations() -> None:
    """Trouble first, five in words, the rest as a number."""
    stage = Stage(terminal=True)
    stage.wait(*[Reason.OWN_QUOTA] * 299, Reason.TOKEN_REFUSED)
    lines = [line for line in screen(stage) if line]
    assert lines[1].startswith("org299: token refused")
    assert lines[-1] == "and 295 more"


def test_the_terminal_gets_its_cursor_back() -> None:
    """Whatever way a run ends, closing the view shows the cursor; closing twice is harmless."""
    stage = Stage(terminal=True)
    stage.wait(Reason.OWN_QUOTA)
    stage.view.close()
    stage.view.close()
    shown = stage.stderr.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


@pytest.mark.parametrize(
    "setting",
    [
        {"log_format": "json"},
        {"quiet": True},
        {"stderr": io.StringIO()},
        {"stdout": io.StringIO()},
        {"environ": {"TERM": "dumb"}},
    ],
)
def test_there_is_no_live_line_where_it_would_spoil_something(setting: dict[str, object]) -> None:
    """Machines, quiet users and streams that go to a file get lines."""
    stage = Stage(terminal=True, **setting)
    stage.wait(Reason.OWN_QUOTA)
    assert "\x1b[" not in stage.stdout.getvalue() + stage.stderr.getvalue()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_live_line_leaves_a_row_of_a_small_terminal_free(rows: int) -> None:
    """Long reasons of several organizations: what does not fit is left out, and nothing stays behind."""
    stage = Stage(terminal=True, environ={"TERM": "xterm", "COLUMNS": "30", "LINES": str(rows)})
    stage.wait(*[Reason.OWN_QUOTA] * 9)
    assert 1 <= len([line for line in screen(stage) if line.strip()]) <= max(1, rows - 1)
    stage.view.close()
    assert [line for line in screen(stage) if line.strip()] == []


def test_a_dumb_terminal_gets_no_colours() -> None:
    """It would show them as text."""
    stage = Stage(terminal=True, environ={"TERM": "dumb"})
    stage.view.on_result(CREATED)
    assert "\x1b[" not in stage.stdout.getvalue()


def test_colours_are_for_terminals_that_want_them() -> None:
    """`NO_COLOR` leaves rows plain."""
    shown: Callable[[Stage], str] = lambda stage: stage.stdout.getvalue()  # noqa: E731 - one word, used twice
    for plain in (True, False):
        stage = Stage(terminal=True, no_color=plain)
        stage.view.on_result(CREATED)
        assert ("\x1b[32mcreated" in shown(stage)) is not plain


def screen(stage: Stage) -> list[str]:
    """What the stage's terminal shows."""
    assert isinstance(stage.stdout, Terminal)
    return stage.stdout.screen()

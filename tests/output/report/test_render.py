"""Reports: what a run's results look like in each form, and what is never in them."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import tesnap
from orchestrator.cli.report import load_report, parse_made_since
from orchestrator.core.clock import VirtualClock
from orchestrator.core.errors import UsageError
from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Counts, Result, RunState, Snapshot
from orchestrator.output.report.page import Report, safe_link
from orchestrator.output.report.render import ReportFormat, render
from orchestrator.output.report.report_file import check_report_path, write_report
from orchestrator.output.report.timeline import COMPACT_LANE, LEFT, WIDTH, Timeline, draw_timeline
from orchestrator.output.snapshots import SnapshotFilter, find_snapshots, snapshots_documents, snapshots_table
from orchestrator.ratelimit.bucket import Bucket
from orchestrator.store.views import RunView, ServingProcess
from orchestrator.windows.durations import DAY
from tests.support.reports import (
    ACME,
    GLOBEX,
    NAMES,
    RUN,
    START,
    created,
    failed,
    mixed,
    paced,
    pending,
    uncertain,
)

BERLIN = ZoneInfo("Europe/Berlin")
HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd()",
    "| a |",
    "a`b",
    "](https://evil.example)",
    "<img src=x>",
    "\u202e{{ 7*7 }}",
    "' onload='x",
)


def report(results: Iterable[Result], **changes: Any) -> Report:
    """A report of these results, 25 minutes after the start, read in Berlin."""
    return Report(results=tuple(results), **{"run": RUN, "zone": BERLIN, "now": START + 1500, **changes})


class Seen(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str | None]:
        return [attributes.get("href") for tag, attributes in self.elements if tag == "a"]


def renamed(result: Result, name: str) -> Result:
    return replace(result, task=replace(result.task, test_name=name))


# -- every form --------------------------------------------------------------------------------------------


def test_failures_come_first_with_their_reason_and_the_command_that_retries_them() -> None:
    """Whoever reads from the top learns what is missing, why, and what to type."""
    text = Seen(
        render(report([created(0, 0), pending(1), uncertain(2, 1), failed(3, 2)]), ReportFormat.HTML)
    ).text
    body = text[text.index("created\n") :] if "created\n" in text else text
    order = [body.index(f" {number}") for number in ("www 04", "Frankfurt 03", "EU 01", "API 02")]
    assert order == sorted(order)
    assert "Bad Request: Validation failed: startDate: is before the test was made" in text
    assert "tesnap resume k7f2 --failed" in text
    assert "tesnap settle k7f2" in text


@pytest.mark.parametrize("kind", [ReportFormat.TABLE, ReportFormat.MD, ReportFormat.HTML])
def test_commands_are_those_that_help(kind: ReportFormat) -> None:
    """What is all made needs none, and nothing of a cancelled run is carried on."""
    assert "tesnap" not in render(report([created(0, 0)]), kind).replace("Written by tesnap", "").replace(
        '"tesnap 0', ""
    )
    cancelled = Report(
        run=replace(RUN, state=RunState.CANCELLED), results=(failed(0, 0), pending(1)), zone=BERLIN, now=START
    )
    assert "tesnap resume" not in render(cancelled, kind)


@pytest.mark.parametrize("kind", [ReportFormat.MD, ReportFormat.HTML])
def test_a_window_and_an_expiry_are_what_people_can_use(kind: ReportFormat) -> None:
    """Windows stand in UTC and local time, and the day of deletion is written out."""
    text = render(report([created(0, 0)]), kind)
    assert "20 Nov 12:00–14:00 UTC" in text
    assert "13:00–15:00 CET" in text
    assert "deleted by ThousandEyes on 20 Dec 2026" in text
    assert "If a link asks for a login" in text
    assert "13:00–15:00 CET" not in render(report([created(0, 0)], zone=ZoneInfo("UTC")), kind)


@pytest.mark.parametrize("kind", list(ReportFormat))
def test_one_customers_view_has_nothing_of_another(kind: ReportFormat) -> None:
    """No name, no id, no link and no count of another organization is in it, whatever its form."""
    theirs = [replace(one, task=replace(one.task, job_name="acme-and-globex")) for one in mixed()]
    run = replace(RUN, job="globex-acme", tasks=len(theirs), files=("globex-acme.yaml",))
    text = render(report(theirs, run=run).only("globex"), kind)
    others = [one for one in theirs if one.task.organization == ACME]
    hints = [hint for one in others for hint in (one.task.test_id, one.task.key, one.task.test_name or "")]
    assert [hint for hint in ("acme", "nightly", *hints, "tesnap resume") if hint in text] == []
    assert text.count("share.thousandeyes.com") >= 7
    if kind is ReportFormat.HTML:
        alone = [
            replace(one, task=replace(one.task, job_name=""))
            for one in theirs
            if one.task.organization == GLOBEX
        ]
        assert text == render(
            report(alone, run=run).only("globex"),
            kind,
        )


def test_a_customer_who_is_not_in_the_run_is_an_error_with_a_suggestion() -> None:
    """A misspelt name is no empty report."""
    with pytest.raises(UsageError, match="nothing of organization 'globx': it has globex"):
        report(mixed()).only("globx")


@pytest.mark.parametrize("kind", list(ReportFormat))
def test_links_and_secrets_are_kept_out(kind: ReportFormat) -> None:
    """Without links there is none, and a secret in an API's answer never passes."""
    secret = "0a1b2c3d-secret-4e5f"
    text = render(
        report(
            [created(0, 0), failed(1, 1, detail=f"bad {secret} https://a.example/view?x")],
            show_links=False,
            secrets=[secret],
        ),
        kind,
    )
    assert secret not in text
    assert "/view" not in text
    assert "snapshot s0" in text or '"s0"' in text or ",s0," in text


# -- hostile names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_text_on_the_page(name: str) -> None:
    """The page's elements are the same whatever a test, an organization or a reason is called."""
    results = [created(0, 0), failed(1, 1, detail=name)]
    plain = Seen(render(report([results[0], failed(1, 1, detail="x")]), ReportFormat.HTML))
    seen = Seen(render(report([renamed(one, name) for one in results]), ReportFormat.HTML))
    assert [tag for tag, _ in seen.elements] == [tag for tag, _ in plain.elements]
    assert seen.links() == plain.links()
    assert name.replace("\u202e", "\\u202e") in seen.text


@given(st.text(max_size=60))
def test_no_name_breaks_the_page_or_a_markdown_table(name: str) -> None:
    """Whatever a name is made of, rows keep their cells and the page its elements."""
    page = Seen(render(report([renamed(created(0, 0), name)]), ReportFormat.HTML))
    assert [tag for tag, _ in page.elements] == [
        tag for tag, _ in Seen(render(report([created(0, 0)]), ReportFormat.HTML)).elements
    ]
    rows = [
        line
        for line in render(report([renamed(created(0, 0), name)]), ReportFormat.MD).splitlines()
        if line.startswith("|")
    ]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {5}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_text_in_markdown_and_in_a_spreadsheet(name: str) -> None:
    """Nothing of a name is markup in the channel, and no cell of the CSV is a formula."""
    hostile = report([renamed(created(0, 0), name), renamed(failed(1, 1, detail=name), name)])
    text = render(hostile, ReportFormat.MD)
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    cells = [cell for row in csv.reader(io.StringIO(render(hostile, ReportFormat.CSV))) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https:///nohost",
        "https://[",
        "file:///etc/passwd",
        "//evil.example",
    ],
)
def test_only_http_links_are_links(link: str) -> None:
    """What comes back and is no web address is shown as text and cannot be followed."""
    made = report([created(0, 0, link=link)])
    seen = Seen(render(made, ReportFormat.HTML))
    assert seen.links() == []
    assert link in seen.text
    assert f"<{link}>" not in render(made, ReportFormat.MD)


def test_a_link_is_followed_as_it_came() -> None:
    """A link's own characters stay, and what would end an attribute or a cell is quoted."""
    assert safe_link("https://a.example/x?a=1&b=%20c#d") == "https://a.example/x?a=1&b=%20c#d"
    assert safe_link('https://a.example/"><b>|') == "https://a.example/%22%3E%3Cb%3E%7C"


# -- the page ----------------------------------------------------------------------------------------------


def test_the_page_asks_the_network_for_nothing() -> None:
    """No script, no address that loads by itself, and a policy that would forbid both."""
    seen = Seen(render(report(mixed()), ReportFormat.HTML))
    tags = {tag for tag, _ in seen.elements}
    assert (
        tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "use", "image"} == set()
    )
    assert [
        attributes
        for _, attributes in seen.elements
        if {"src", "style", "onclick", "xlink:href"} & set(attributes)
    ] == []
    policy = next(a["content"] for tag, a in seen.elements if tag == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "url(" not in seen.text


def test_every_snapshot_is_on_the_page_once() -> None:
    """Each task has one row, and each link that came back stands in it."""
    seen = Seen(render(report(mixed()), ReportFormat.HTML))
    assert sorted(filter(None, seen.links())) == sorted(
        one.snapshot.link or "" for one in mixed() if one.snapshot
    )
    rows = [attributes for tag, attributes in seen.elements if tag == "tr" and attributes.get("class")]
    assert len(rows) == len(mixed())


def test_what_is_pending_says_what_it_waits_for() -> None:
    """A window that is not over is named with its end."""
    text = Seen(render(report([pending(0, ready_at=START + 3600), pending(1)]), ReportFormat.HTML)).text
    assert "waits for its window, until 16:00 CET" in text
    assert "waits for its turn" in text


# -- the timeline ------------------------------------------------------------------------------------------


def drawn(results: Iterable[Result], **changes: Any) -> Timeline:
    found = draw_timeline(list(results), **{"since": START, "now": START + 1500, "zone": BERLIN, **changes})
    assert found is not None
    return found


def test_the_timeline_shows_whose_slot_each_one_waited_for() -> None:
    """Of twelve snapshots five go at once; each later one takes the slot of the one five before it."""
    (lane,) = drawn(paced(12)).lanes
    assert [row.label for row in lane.rows] == [one.task.test_name for one in paced(12)]
    ys = {row.y: number for number, row in enumerate(lane.rows)}
    assert [(ys[hand.y1], ys[hand.y2]) for hand in lane.handovers] == [
        (number, number + 5) for number in range(7)
    ]
    assert "waited 5 m 3 s for the slot of Checkout EU 01" in lane.rows[5].words
    assert {bar.kind for bar in lane.rows[0].bars} == {"sent"}
    assert {bar.kind for bar in lane.rows[5].bars} == {"slot", "sent"}


def test_the_timeline_tells_waiting_for_a_window_from_waiting_for_a_slot() -> None:
    """What could not go yet is drawn apart from what had to wait for others."""
    late = replace(created(0, 400), task=replace(created(0, 400).task, ready_at=START + 300))
    (lane,) = drawn([late]).lanes
    assert [bar.kind for bar in lane.rows[0].bars] == ["window", "slot", "sent"]
    assert "waited 5 m for its window to be complete, waited 1 m 40 s for its turn" in lane.rows[0].words


def test_a_lane_is_one_organization_and_only_what_the_run_did_itself_is_in_it() -> None:
    """Lanes are by the user's names, and what existed before has no times of this run."""
    existing = replace(created(9, 0), made_here=False)
    found = drawn([created(0, 0), created(1, 0, organization=GLOBEX), existing])
    assert [(lane.name, len(lane.rows)) for lane in found.lanes] == [("acme", 1), ("globex", 1)]
    assert draw_timeline([existing], since=START, now=START, zone=BERLIN) is None


def test_the_slot_of_an_unanswered_request_is_handed_to_nobody() -> None:
    """It comes back later than a period after anything that was seen."""
    lost = replace(created(0, 0), http_status=None)
    assert drawn([lost, created(1, 303.5)]).lanes[0].handovers == ()


def test_what_was_not_waiting_took_nobodys_slot() -> None:
    """Whose window ended after a slot had come back waited for its window alone."""
    first, second = created(0, 0), created(1, 303.5)
    late = replace(second, task=replace(second.task, ready_at=START + 303))
    assert len(drawn([first, second]).lanes[0].handovers) == 1
    assert drawn([first, late]).lanes[0].handovers == ()


def test_a_run_that_was_left_alone_keeps_its_shape() -> None:
    """What still waits days later does not squeeze the rest of the drawing into a dot."""
    found = drawn([*paced(12), pending(20)], now=START + 9 * DAY)
    (lane,) = found.lanes
    assert [row.settled for row in lane.rows][11] == pytest.approx(LEFT + WIDTH / 2, abs=1)
    assert lane.rows[12].bars[0].x2 == LEFT + WIDTH


def test_ticks_are_round_moments_of_the_readers_clock() -> None:
    """At most seven marks, on whole steps in the zone, all inside the drawing."""
    ticks = drawn(paced(12)).ticks
    assert [tick.label for tick in ticks] == ["15:00", "15:02", "15:04", "15:06", "15:08", "15:10"]
    assert all(LEFT <= tick.x <= LEFT + WIDTH for tick in ticks)


@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e7),
            st.floats(-1e6, 1e7),
            st.floats(-1e6, 1e7),
            st.sampled_from(["made", "failed", "waits"]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_timeline_stays_inside_whatever_the_clocks_did(
    times: list[tuple[float, float, float, str]],
) -> None:
    """Times out of order, as after a set clock, are drawn in order and within the width."""
    results = []
    for number, (queued, sent, settled, how) in enumerate(times):
        made = {"made": created, "failed": failed}.get(how, lambda position, _: pending(position))(
            number, 0.0
        )
        results.append(
            replace(made, queued_wall=START + queued, sent_wall=START + sent, settled_wall=START + settled)
        )
    (lane,) = drawn(results).lanes
    for row in lane.rows:
        points = [point for bar in row.bars for point in (bar.x1, bar.x2)] + (
            [row.settled] if row.settled is not None else []
        )
        assert points == sorted(points)
        assert all(LEFT <= point <= LEFT + WIDTH + 0.001 for point in points)
    assert len(drawn(results).ticks) <= 7


def test_a_lane_of_a_thousand_is_no_taller_than_a_screen() -> None:
    """Many rows become thin ones, without names and without lines between them."""
    (lane,) = drawn(paced(1000)).lanes
    assert len(lane.rows) == 1000
    assert lane.height < COMPACT_LANE + 50
    assert not lane.labelled
    assert lane.handovers == ()


def test_another_limit_hands_slots_on_at_another_time() -> None:
    """Whose slot came back is worked out from how long a slot is held."""
    quick = [created(0, 0), created(1, 4.5)]
    assert drawn(quick).lanes[0].handovers == ()
    assert len(drawn(quick, holds={ACME: Limit(per=2.0).hold}).lanes[0].handovers) == 1


# -- files -------------------------------------------------------------------------------------------------


def test_a_report_is_a_private_file_that_appears_whole(tmp_path: Path) -> None:
    """Only its owner can read it, also where a readable one stood, and nothing else is left behind."""
    path = tmp_path / "links.md"
    path.write_text("old")
    path.chmod(0o644)
    write_report(str(path), report(mixed()))
    assert path.read_text("utf-8") == render(report(mixed()), ReportFormat.MD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    """A report goes where its name points to."""
    (tmp_path / "there").mkdir()
    (tmp_path / "latest.md").symlink_to(tmp_path / "there" / "real.md")
    write_report(str(tmp_path / "latest.md"), report(mixed()))
    assert (tmp_path / "latest.md").is_symlink()
    assert (tmp_path / "there" / "real.md").is_file()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.md", ReportFormat.MD),
        ("a.HTML", ReportFormat.HTML),
        ("a.csv", ReportFormat.CSV),
        ("a.jsonl", ReportFormat.JSONL),
    ],
)
def test_the_suffix_says_what_a_report_is(tmp_path: Path, name: str, kind: ReportFormat) -> None:
    """A path that can be written is found out without leaving anything there."""
    assert check_report_path(str(tmp_path / name)) is kind
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pdf", "end it with .md"),
        ("a", "end it with .md"),
        ("no/such/a.md", "No such file"),
        ("folder.md", "no file"),
        ("file/a.md", "Not a directory"),
    ],
)
def test_a_path_that_cannot_be_written_is_found_out_before(tmp_path: Path, name: str, words: str) -> None:
    """A mistake in the path costs no snapshot."""
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=words):
        check_report_path(str(tmp_path / name))


def test_a_disk_that_refuses_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written whole is not written at all."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "links.md"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\)"):
        write_report(str(path), report(mixed()), ReportFormat.MD)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("links.md", "old")]


def test_what_is_no_file_is_never_replaced_by_one(tmp_path: Path) -> None:
    """A pipe is written into, as is a device; a folder is refused, whatever kind of report is meant."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_report(str(pipe), report(mixed()), ReportFormat.CSV)
        assert os.read(reader, 1_000_000).decode() == render(report(mixed()), ReportFormat.CSV)
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    write_report("/dev/null", report(mixed()), ReportFormat.CSV)
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UsageError, match="that is no file"):
        write_report(str(tmp_path), report(mixed()), ReportFormat.CSV)


@pytest.mark.process
@pytest.mark.parametrize("stream", ["/dev/stdout", "/dev/fd/1", "/dev/stderr"])
def test_a_report_goes_into_a_stream_of_the_shell(tmp_path: Path, stream: str) -> None:
    """Also where that is a file by now, whose beginning stays."""
    program = f"from tests.output.report.test_render import *; write_report({stream!r}, report(mixed()), ReportFormat.CSV)"
    seen = tmp_path / "seen"
    with seen.open("w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run([sys.executable, "-c", program], check=True, stdout=file, stderr=file)
    assert seen.read_text("utf-8") == "before\n" + render(report(mixed()), ReportFormat.CSV)


def test_records_are_those_of_the_run() -> None:
    """A JSON Lines report has the run's first record and one for each settled task."""
    found = [json.loads(line) for line in render(report(mixed()), ReportFormat.JSONL).splitlines()]
    assert found[0]["event"] == "run.started"
    assert found[0]["tasks"] == RUN.tasks or found[0]["tasks"] == len(mixed())
    assert len(found) == 1 + sum(one.status.settled for one in mixed())


# -- the commands ------------------------------------------------------------------------------------------


class Shelf:
    """As much of a store as the commands read."""

    def __init__(self, made: Iterable[tuple[str, Result]], now: float) -> None:
        self.made, self.clock = list(made), VirtualClock(wall=now)
        self.asked: dict[str, object] = {}
        self.views = self.organizations = self  # the parts of a store; no two of their methods share a name

    def find_run(self, text: str) -> object:
        return RUN

    def results(self, run_id: str) -> Iterable[Result]:
        return (result for _, result in self.made)

    def run(self, run_id: str) -> RunView:
        return RunView(run=RUN, counts={ACME: Counts(created=len(self.made))})

    def serving_processes(self, run_id: str) -> dict[str, list[ServingProcess]]:
        return {}

    def bucket(self, organization: str) -> Bucket:
        return Bucket(tokens=(), held={}, last_limit=Limit(per=3.0, guard=0.01))

    def epoch(self) -> float:
        return self.clock.wall()

    def names(self) -> dict[str, str]:
        return NAMES

    def snapshots(self, *, settled_since: float | None = None) -> Iterable[tuple[str, Result]]:
        self.asked = {"settled_since": settled_since}
        return iter(self.made)


def shelf(*days_ago: float) -> Shelf:
    """A store whose snapshots were made so long ago."""
    now = START + 40 * DAY
    made = []
    for number, days in enumerate(days_ago):
        plain = created(number, 0)
        snapshot = Snapshot(
            id=f"s{number}", link=plain.snapshot.link if plain.snapshot else None, shared_at=now - days * DAY
        )
        made.append(("k7f2", replace(plain, snapshot=snapshot)))
    return Shelf(made, now)


def found(store: Shelf, **wanted: Any) -> list[str]:
    return [one.result.task.test_id for one in find_snapshots(store, SnapshotFilter(**wanted))]  # type: ignore[arg-type]  # as much as is read


def test_a_report_is_made_of_what_the_store_has_now() -> None:
    """The command's report has the store's results, calendar and limits."""
    with click.Context(tesnap):
        made = load_report(shelf(1), "last", zone=BERLIN, show_links=True)  # type: ignore[arg-type]  # as above
    assert (made.run, made.now, len(made.results)) == (RUN, START + 40 * DAY, 1)
    assert made.holds == {ACME: 3.01}


def test_a_list_has_what_still_exists_and_ends_first_on_top() -> None:
    """What ThousandEyes has deleted by now is not listed."""
    assert found(shelf(1, 31, 29, 5)) == ["202703", "202704", "202701"]


def test_a_list_is_narrowed_by_when_and_until_when() -> None:
    """By when they were made, and by how soon they are deleted."""
    now = START + 40 * DAY
    assert found(shelf(1, 29, 5), made_since=now - 6 * DAY) == ["202703", "202701"]
    assert found(shelf(1, 29, 5), within=7 * DAY) == ["202702"]


@pytest.mark.parametrize("test", ["202702", "payments", "PAY", "pay*2"])
def test_a_list_is_narrowed_by_test(test: str) -> None:
    """By id, by a part of the name, or by a pattern, whatever the case."""
    assert found(shelf(1, 2, 3), test=test) == ["202702"]


def test_a_bracket_in_a_tests_name_is_a_bracket() -> None:
    """As in every other pattern for names: only * and ? stand for anything."""
    store = shelf(1, 2)
    run_id, first = store.made[0]
    store.made[0] = (run_id, replace(first, task=replace(first.task, test_name="Checkout [EU]")))
    assert found(store, test="*[eu]") == [first.task.test_id]
    assert found(store, test="*[a-z]") == []


def test_a_list_asks_the_store_for_no_more_than_it_needs() -> None:
    """Nothing that is long gone; an organization is called what it was called in the run that made them."""
    store = shelf(1)
    assert found(store, organization="acm*") == ["202701"]
    assert store.asked == {"settled_since": START + 9 * DAY}
    assert found(store, organization="globex") == []
    with pytest.raises(UsageError, match="knows no organization 'acem': it has acme"):
        found(store, organization="acem")


def test_a_list_is_text_or_records() -> None:
    """Each has the run, the link and when it is deleted."""
    store = shelf(1)
    rows = find_snapshots(store, SnapshotFilter())  # type: ignore[arg-type]  # as above
    text = "\n".join(snapshots_table(rows, store.epoch(), BERLIN))
    assert "k7f2" in text
    assert "deleted by ThousandEyes on" in text
    assert "https://s0.share.thousandeyes.com" in text
    (record,) = snapshots_documents(rows, show_links=False)
    assert record["snapshot_id"] == "s0"
    assert not {"link", "job_name", "priority", "event"} & set(record)
    assert list(snapshots_table([], 0.0, BERLIN)) == ["no such snapshots"]


def test_made_since_is_a_moment_or_so_long_ago() -> None:
    """`7d`, `2h ago` and a clock time are all understood, and nonsense is named."""
    assert parse_made_since(None, START, None) is None
    assert parse_made_since("7d", START, None) == START - 7 * DAY
    assert parse_made_since("2h ago", START, "UTC") == START - 7200
    assert parse_made_since("13:30", START, "UTC") == START - 1800
    with pytest.raises(UsageError, match="--made-since: 'whenever' is not a time"):
        parse_made_since("whenever", START, None)

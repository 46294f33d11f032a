"""Reports: what a run's results look like in each form, what is never in them, and that a file is whole and private."""

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
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import UsageError
from orchestrator.core.redact import hide
from orchestrator.core.tasks import Result, RunState
from orchestrator.output.report.page import MOST_ON_A_PAGE, Report, safe_link
from orchestrator.output.report.render import (
    ReportFormat,
    check_report_path,
    render,
    write_report,
)
from tests.support.reports import (
    ACME,
    GLOBEX,
    RUN,
    START,
    created,
    failed,
    mixed,
    pending,
    report,
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


def test_a_cause_that_several_share_is_said_once() -> None:
    """As the head of theirs; a single one stands in its row."""
    why = "Bad Request: Validation failed: startDate: is before the test was made"
    together = Seen(render(report([failed(0, 0), failed(1, 0), failed(2, 0)]), ReportFormat.HTML)).text
    alone = Seen(render(report([failed(0, 0), uncertain(1, 1)]), ReportFormat.HTML)).text
    assert (together.count(why), alone.count(why)) == (1, 1)


def test_the_legend_has_the_signs_that_are_drawn() -> None:
    """Of what came out: as many as there are, and no other."""
    every = Seen(render(report([created(0, 0), uncertain(2, 1), failed(3, 2)]), ReportFormat.HTML)).text
    some = Seen(render(report([created(0, 0)]), ReportFormat.HTML)).text
    assert "uncertain: it may have been made" in every
    assert "uncertain: it may have been made" not in some


@pytest.mark.parametrize(
    ("reason", "first"),
    [
        ("token_refused", "replace the token"),
        ("permission_refused", "Create snapshot shares"),
        ("backoff", ""),
    ],
)
def test_a_run_is_carried_on_when_its_cause_is_mended(reason: str, first: str) -> None:
    """Until then the command would end the same way, and the report says so."""
    run = replace(RUN, state=RunState.ACTIVE)
    said = Report(run=run, results=(pending(1),), zone=BERLIN, now=START, reasons={ACME: reason}).commands
    assert said[0][1] == "tesnap resume k7f2"
    assert said[0][0].startswith("to make what is pending")
    assert first in said[0][0]
    assert (" first" in said[0][0]) is bool(first)


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
    hide(secret)
    text = render(
        report(
            [created(0, 0), failed(1, 1, detail=f"bad {secret} https://a.example/view?x")],
            show_links=False,
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


def test_records_are_those_of_the_run() -> None:
    """A JSON Lines report has the run's first record and one for each settled task."""
    found = [json.loads(line) for line in render(report(mixed()), ReportFormat.JSONL).splitlines()]
    assert found[0]["event"] == "run.started"
    assert found[0]["tasks"] == RUN.tasks or found[0]["tasks"] == len(mixed())
    assert len(found) == 1 + sum(one.status.settled for one in mixed())


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
        ("a.pdf", "use .md"),
        ("a", "use .md"),
        ("no/such/a.md", "No such file"),
        ("folder.md", "not a file"),
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
    with pytest.raises(UsageError, match="that is not a file"):
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


@pytest.mark.parametrize("kind", ReportFormat)
def test_a_page_has_a_bound_and_rows_have_none(kind: ReportFormat) -> None:
    """Nobody looks through a million rows in a browser: the error says what to write instead."""
    many = report([created(1, 1.0)] * (MOST_ON_A_PAGE + 1))
    if kind in (ReportFormat.HTML, ReportFormat.MD):
        with pytest.raises(UsageError, match=r"run \w+ has 20,001 snapshots, .* write a \.csv file"):
            render(many, kind)
    else:
        assert len(render(many, kind).splitlines()) > MOST_ON_A_PAGE


def test_what_is_written_is_what_is_printed(tmp_path: Path) -> None:
    """Rows go into the file one by one."""
    results = report(mixed())
    for suffix, kind in (
        (".csv", ReportFormat.CSV),
        (".jsonl", ReportFormat.JSONL),
        (".md", ReportFormat.MD),
    ):
        path = tmp_path / f"run{suffix}"
        write_report(str(path), results)
        assert path.read_text(encoding="utf-8") == render(results, kind)

"""An incident: five hundred tests, twelve of them alerting, and the command as a process of its own."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

import orchestrator
from orchestrator.api.catalog import Query
from orchestrator.api.response import Answer
from orchestrator.simulator import LoggedRequest, Reply, Simulator, TenantAlert, World, example_world
from orchestrator.simulator.api import Exchange
from tests.support.clock import VirtualClock

LONGEST = 300.0
"""Seconds after which a process that a test started is given up."""


def alerting_world(*, now: float | None = None) -> World:
    """Five hundred tests in two account groups, six of each alerting: the longest in the second group.

    Half of the alerts are over; alerts come four to a page.
    """
    made, now = example_world(1, 250, account_groups=2), time.time() if now is None else now
    (organization,) = made.organizations
    groups = []
    for first, group in enumerate(organization.account_groups):
        tests = group.tests[:18:3]
        starts = [now - 600 * (6 * first + at + 1) for at in range(6)]
        ends = [None, now - 300]
        alerts = (
            TenantAlert(
                alert_id=f"{group.aid}-{at}", test_id=test.test_id, start=starts[at], end=ends[at % 2]
            )
            for at, test in enumerate(tests)
        )
        groups.append(replace(group, alerts=tuple(alerts)))
    return replace(made, organizations=(replace(organization, account_groups=tuple(groups)),), page_size=4)


class Gateway(Simulator):
    """The API behind something that answers some paths otherwise: the path's end, and what changes in the reply."""

    def __init__(self, world: World, changes: Mapping[str, Mapping[str, Any]], **settings: Any) -> None:
        super().__init__(world, **settings)
        self.changes = dict(changes)

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        """The reply, changed."""
        reply = super().process(exchange, at)
        changes = self.changes.get(exchange.request.path.removeprefix("/v7"))
        return reply if reply is None or changes is None else replace(reply, **changes)


class Script:
    """A getter with its answers written down: the status and headers of each, the last one again and again."""

    base_url = "https://api.thousandeyes.com/v7"

    def __init__(
        self, clock: VirtualClock, *answers: tuple[int | None, Mapping[str, str]], offset: float = 0.0
    ) -> None:
        self.times: list[float] = []
        self._clock, self._answers, self._offset = clock, list(answers), offset

    def get(self, path: str, query: Query = ()) -> Answer:
        """The next answer."""
        self.times.append(self._clock.boot() - 1000.0)
        status, headers = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Answer(sent=True, status=status, headers=headers, body=b"{}", date_offset=self._offset)


def longest_first(world: World) -> list[str]:
    """The ids of all tests with alerts, the one that has been alerting for the longest first."""
    alerts = [
        alert
        for organization in world.organizations
        for group in organization.account_groups
        for alert in group.alerts
    ]
    return [alert.test_id for alert in sorted(alerts, key=lambda alert: alert.start)]


def posted(log: list[LoggedRequest]) -> list[str]:
    """The tests whose snapshots were asked for, in the order of arrival."""
    posts = sorted((entry for entry in log if entry.method == "POST"), key=lambda entry: entry.arrived)
    return [post.path.split("/")[3] for post in posts]


def most_overtaken(sent: Sequence[str], order: Sequence[str]) -> int:
    """How many of those before it in the order one has overtaken at most.

    Less than a limit has tokens, if they are granted in that order, however late any request arrives: whoever
    is on its way keeps its token.
    """
    assert sorted(sent) == sorted(order)
    return max(len(set(order[: order.index(one)]) - set(sent[:at])) for at, one in enumerate(sent))


def markdown_table(markdown: str) -> list[list[str]]:
    """The rows of the one table that a Markdown text is, the head first, as a renderer reads them."""
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    assert [token.type for token in tokens if token.level == 0] == ["table_open", "table_close"]
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            links = [child.attrGet("href") for child in token.children or () if child.type == "link_open"]
            rows[-1].append(str(links[0]) if links else token.content)
    return rows


def install(folder: Path) -> Path:
    """A copy of the program with its byte code, as an installation leaves it; a folder to start it in."""
    source = Path(orchestrator.__file__).parent
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(folder / source.name, quiet=1)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A command that has ended: its lines on standard output, each with seconds since the process was started."""

    code: int
    lines: tuple[tuple[float, str], ...]
    stderr: str

    @property
    def stdout(self) -> str:
        """All of standard output."""
        return "".join(f"{line}\n" for _, line in self.lines)


def start(folder: Path, *words: str, environ: Mapping[str, str]) -> Started:
    """Start `tesnap` where it is installed and note when it prints what; its state is kept in that folder."""
    command = [sys.executable, "-m", "orchestrator", *words]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TE_", "TESNAP_"))}
    kept |= {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "TZ": "Europe/Berlin"}
    with (folder / "stderr").open("w+", encoding="utf-8") as stderr:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env={**kept, **environ}, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        with process:
            lines = tuple((time.monotonic() - began, line.rstrip("\n")) for line in process.stdout or ())
            code = process.wait(LONGEST)
        stderr.seek(0)
        return Started(code=code, lines=lines, stderr=stderr.read())

"""A run's results at one moment, and what a report says of them: rows, sentences and commands, failures first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from urllib.parse import quote, urlsplit

from orchestrator.core import (
    Counts,
    Ending,
    Reason,
    Result,
    Run,
    RunState,
    Start,
    Status,
    UsageError,
    harmless,
    nearest_words,
    without_links,
)
from orchestrator.output import sentences
from orchestrator.output.formats import URL_CHARACTERS
from orchestrator.store import Views
from orchestrator.windows import clock_time, day_text, window_texts

MOST_REFUSED = 20
"""Refused organizations that a report explains; the others are counted."""

MOST_ON_A_PAGE = 20_000
"""Snapshots on a page: of more a browser is slow to make one, and nobody reads them."""


class Results(Sized, Iterable[Result], Protocol):
    """Results in the order of the plan, which can be looked through more than once."""


@dataclass(frozen=True, slots=True)
class StoredResults:
    """A run's results as the store has them each time they are looked through: none is kept."""

    views: Views
    run: Run

    def __len__(self) -> int:
        return self.run.tasks

    def __iter__(self) -> Iterator[Result]:
        return self.views.results(self.run.id)


def load_results(views: Views, run: Run) -> Results:
    """A run's results, kept if a page can have all of them: of a million only those that are looked at take memory."""
    stored = StoredResults(views, run)
    return stored if len(stored) > MOST_ON_A_PAGE else tuple(stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run's results at one moment; `now` is epoch seconds. Of a large run they are read when they are looked through.

    `start` is what is remembered of its last process, `earlier` are the other runs of one incident, whose results are
    among these. Without `show_links` no link is in it. By organization identity, `reasons` are why its tasks are pending, and
    `holds` how many seconds a slot stays used after an answer. `live`: a process is working on the run. `where`
    is the option that names the store in a command, with a space before it.
    """

    run: Run
    results: Results
    zone: tzinfo
    now: float
    show_links: bool = True
    ending: Ending | None = None
    start: Start | None = None
    earlier: tuple[Report, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    holds: Mapping[str, float] = field(default_factory=dict)
    live: bool = False
    where: str = ""

    def only(self, organization: str) -> Report:
        """One customer's view: neither a result, a job's name nor a file's in it says anything of another one.

        UsageError when the run has nothing of that organization.
        """
        own = [one for one in self.results if one.task.organization_name == organization]
        refused = tuple(one for one in self.run.refused if one.name == organization)
        if not own and not refused:
            near = nearest_words(organization, sorted({one.task.organization_name for one in self.results}))
            there = f"it has {near}" if near else "it has no snapshots at all"
            raise UsageError(f"run {self.run.id} has nothing of organization {organization!r}: {there}")
        results = tuple(replace(one, task=replace(one.task, job_name="")) for one in own)
        run = replace(self.run, job=organization, files=(), tasks=len(results), refused=refused)
        return replace(self, run=run, results=results, ending=None, start=None)

    def failures_first(self, *, settled: bool = False) -> Iterator[Result]:
        """The results in the order of a reader's interest: what failed or is uncertain, is pending, is made.

        `settled`: without what is pending. Each comes once, though a live run may change between the two looks; what is
        made is not kept.
        """
        unmade = sorted((one for one in self._look(settled) if _place(one) < _MADE), key=_place)
        told = {one.task.key for one in unmade}
        yield from unmade
        yield from (one for one in self._look(settled) if one.task.key not in told)

    def _look(self, settled: bool) -> Iterator[Result]:
        return (one for one in self.results if one.status.settled or not settled)

    @property
    def counts(self) -> Counts:
        """The counts of these results."""
        return sum(map(_count, self.results), Counts())

    @property
    def pending_reasons(self) -> Counter[str]:
        """The reasons of what is pending with their numbers, as far as they are known."""
        if not self.reasons:
            return Counter()
        pending = (result.task.organization for result in self.results if not result.status.settled)
        return Counter(self.reasons[one] for one in pending if one in self.reasons)

    @property
    def headline(self) -> str:
        """The counts in words, the reasons of what is pending, and if anybody is at it."""
        words = sentences.outcome_text(self.run, self.counts, self.pending_reasons)
        return f"{words}; a process is working on it" if self.live else words

    @property
    def banner(self) -> tuple[str, ...]:
        """Sentences that stand above all results: whom nothing is planned for, and how the run's process ended if not well."""
        refused = [sentences.left_out_text(one) for one in self.run.refused]
        more = len(refused) - MOST_REFUSED
        told = (*refused[:MOST_REFUSED], *([f"and {more} more organizations"] if more > 0 else []))
        if self.live or self.start is None or self.start.exit_code == 0:
            return told
        cancelled = self.run.state is RunState.CANCELLED
        ended = sentences.process_text(self.start, self.now, self.zone, live=False, cancelled=cancelled)
        return (*told, ended)

    @property
    def commands(self) -> tuple[tuple[str, str], ...]:
        """The commands to type next, each after its purpose."""
        steps = sentences.next_steps(
            self.run, self.counts, live=self.live, where=self.where, reasons=self.pending_reasons
        )
        own = tuple((_purpose(step), harmless(step.command)) for step in steps)
        return tuple(dict.fromkeys((*own, *(one for report in self.earlier for one in report.commands))))


def join_reports(reports: Sequence[Report]) -> Report:
    """The runs of one incident, the oldest first, as one report under the name of the latest: each snapshot once."""
    *earlier, latest = reports
    if not earlier:
        return latest
    results = {one.task.key: one for report in reports for one in report.results}
    return replace(
        latest,
        run=replace(latest.run, created_at=reports[0].run.created_at, tasks=len(results)),
        results=tuple(results.values()),
        earlier=tuple(earlier),
        reasons={name: why for report in reports for name, why in report.reasons.items()},
        holds={name: hold for report in reports for name, hold in report.holds.items()},
        live=any(report.live for report in reports),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEntry:
    """One snapshot as a report shows it; `link` only where it may be followed, `about` what else there is to say."""

    row: sentences.SnapshotRow
    test_id: str
    account_group: str
    link: str | None
    about: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCause:
    """Neighbours in a report that there is the same to say about: it is said once, if they are several."""

    about: str
    status: str
    entries: tuple[ReportEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The number of results in one state, and their part of a bar in percent of its width."""

    word: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The words and rows that templates and messages have besides the report's own."""

    title: str
    run_id: str
    started: str
    written: str
    shares: tuple[Share, ...]
    troubled: tuple[ReportEntry, ...]
    made: tuple[ReportEntry, ...]
    pending: tuple[ReportEntry, ...]
    several: bool
    public: str
    zone: str
    expiry: str
    expiries: bool
    unknown_end: str
    linked: bool

    @property
    def trouble_causes(self) -> tuple[SharedCause, ...]:
        """The failed and uncertain ones by what is said about them."""
        return tuple(_by_cause(self.troubled))

    @property
    def pending_causes(self) -> tuple[SharedCause, ...]:
        """The pending ones by what they wait for."""
        return tuple(_by_cause(self.pending))


def make_page(report: Report) -> Page:
    """The report in the words and rows that people read."""
    results = list(report.failures_first())
    settled = [result for result in results if result.status.settled]
    made = [result for result in settled if result.status is Status.CREATED]
    entries = tuple(_entry(report, result) for result in made)
    ends = {sentences.end_text(one, report.zone) for one in made}
    unknown = [one for one in made if one.may_expire_at is not None]
    return Page(
        title=harmless(report.run.job),
        run_id=harmless(report.run.id),
        started=_moment(report.run.created_at, report.zone),
        written=_moment(report.now, report.zone),
        shares=tuple(_shares(report.counts)),
        troubled=tuple(_entry(report, result) for result in settled if result.status is not Status.CREATED),
        made=entries,
        pending=tuple(_entry(report, result) for result in results if not result.status.settled),
        several=len({result.task.organization_name for result in report.results}) > 1,
        public=_public(made),
        zone=clock_time(report.now, None, report.zone).partition(" ")[2],
        expiry=sentences.ends_text(made, report.zone),
        expiries=len(ends) > 1 or ends == {""},
        unknown_end=sentences.ends_text(unknown, report.zone),
        linked=any(entry.link for entry in entries),
    )


def _shares(counts: Counts) -> Iterator[Share]:
    """The counts that are not zero, trouble first."""
    before = 0
    for word in ("failed", "uncertain", "pending", "created", "existing"):
        count = getattr(counts, word)
        if count:
            part = 100 / counts.total
            yield Share(word=word, count=count, x=round(before * part, 3), width=round(count * part, 3))
        before += count


def _entry(report: Report, result: Result) -> ReportEntry:
    row = sentences.snapshot_row(result, report.zone, show_links=report.show_links)
    link = safe_link(row.about) if row.linked else None
    about = _pending_words(report, result) if not result.status.settled else "" if link else row.about
    return ReportEntry(
        row=row,
        test_id=harmless(result.task.test_id),
        account_group=harmless(result.task.account_group),
        link=link,
        about=about if report.show_links else without_links(about),
        notes=tuple(_notes(result)),
    )


def _by_cause(entries: Iterable[ReportEntry]) -> Iterator[SharedCause]:
    """The entries in groups of one status and one cause, in the order of each one's first."""
    groups: dict[tuple[str, str], list[ReportEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.row.status, entry.about), []).append(entry)
    for (status, about), them in groups.items():
        yield SharedCause(about=about, status=status, entries=tuple(them))


def _notes(result: Result) -> Iterable[str]:
    """Remarks that a reader of the link needs."""
    if result.duplicate_possible:
        yield "there may be a second one like it: an earlier attempt went unanswered"
    if result.test_returned is not None:
        yield f"it is of test {harmless(result.test_returned)}, which was not asked for"
    if result.misses_window and result.window_returned is not None:
        yield f"it shows {window_texts(result.window_returned, UTC)[0]} instead"
    if result.task.unverified:
        yield "made over 30 days ago; whether it still exists could not be checked"
    if result.found:
        yield "its answer was lost and the snapshot found again"


def safe_link(link: str) -> str | None:
    """The link as it may stand where a click follows it: http or https with a host, else None."""
    try:
        parts = urlsplit(link)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    return quote(link, safe=URL_CHARACTERS) if usable else None


def _pending_words(report: Report, result: Result) -> str:
    if result.status is not Status.QUEUED:
        return "being sent"
    if result.task.ready_at > report.now:
        return f"waits for its window, until {clock_time(result.task.ready_at, report.now, report.zone)}"
    reason = report.reasons.get(result.task.organization, Reason.OWN_QUOTA.value)
    what = "waits for its turn" if reason == Reason.OWN_QUOTA else sentences.reason_text(reason)
    why = f", after: {harmless(sentences.problem_text(result.problem))}" if result.problem else ""
    return f"{what}{why}"


def _purpose(step: sentences.Step) -> str:
    return f"{step.purpose}: {step.first} first" if step.first else step.purpose


def _public(made: Iterable[Result]) -> str:
    """The value that was sent as is_public, in the file's own word."""
    sent = {result.task.is_public for result in made}
    return "both true and false" if len(sent) > 1 else str(sent.pop()).lower() if sent else ""


def _moment(at: float, zone: tzinfo) -> str:
    """`20 Nov 2026, 15:02 UTC (16:02 CET)`."""
    utc = datetime.fromtimestamp(at, UTC)
    there = datetime.fromtimestamp(at, zone)
    day = day_text(utc.date())
    if not there.utcoffset():
        return f"{day}, {utc:%H:%M} UTC"
    other = "" if there.date() == utc.date() else f"{day_text(there.date(), there.date())} "
    return f"{day}, {utc:%H:%M} UTC ({other}{clock_time(at, None, zone)})"


def _count(result: Result) -> Counts:
    """The counts of this result alone."""
    refused = result.status is Status.FAILED and result.attempts == 0
    return Counts(**{sentences.status_word(result).lower(): 1}, refused=int(refused))


_MADE = 3
"""The place of what is made."""


def _place(result: Result) -> int:
    """The place of a result in a report: trouble first."""
    trouble = {Status.FAILED: 0, Status.UNCERTAIN: 1}
    return trouble.get(result.status, _MADE if result.status.settled else 2)

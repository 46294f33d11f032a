"""Sentences that people read of a run, and its rows in a table: made of values, without reading or writing.

Times are epoch seconds, `now` among them; every clock time has its zone, and its date when not today.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import NamedTuple

from orchestrator.api import Pause
from orchestrator.core import (
    Counts,
    Ending,
    Problem,
    Progress,
    Reason,
    RefusedOrganization,
    Result,
    Run,
    RunState,
    Start,
    Status,
    Waiting,
    choice,
    first_names,
    harmless,
    plural,
    without_links,
)
from orchestrator.store import Holder, Loss
from orchestrator.windows import clock_time, day_text, window_texts

_WHY = {
    Reason.OTHER_RUN: "{name}: other run goes first, or has the same snapshot; {next}",
    Reason.WINDOW_NOT_OVER: "{name}: window not over, or its data not complete; {next}",
    Reason.BACKOFF: "{name}: backoff before another attempt; {next}",
    Reason.EVIDENCE: "{name}: looking for evidence of snapshots whose answer was lost; {next}",
    Reason.API_UNREACHABLE: "{name}: API unreachable; {next}",
    Reason.STORE: "{name}: store does not answer, and nothing is sent without it; {next}",
    Reason.TOKEN_REFUSED: "{name}: token refused; {next}",
    Reason.TOKEN_MISSING: "{name}: token missing, or what is there cannot be one; {next}",
    Reason.PERMISSION_REFUSED: "{name}: permission refused (403); {next}",
    Reason.CONNECTION_REFUSED: "{name}: connection refused by a proxy, a certificate or TLS; {next}",
    Reason.NOT_THE_API: "{name}: not the API, something else answers in its place; {next}",
    Reason.UNEXPECTED_SNAPSHOT: "{name}: unexpected snapshot, of another test or not what expect_saved_event says; {next}",
    Reason.NOBODY_RUNNING: "{name}: nobody running; {next}",
    Reason.TOO_FEW_TESTS: "{name}: too few tests are selected; {next}",
    Reason.TOO_MANY_TESTS: "{name}: too many tests are selected; {next}",
}

_OPEN_END = {
    Reason.OWN_QUOTA: "next when one is free",
    Reason.OTHER_RUN: "next when it is done",
    Reason.WINDOW_NOT_OVER: "next when it is",
    Reason.BACKOFF: "next when it is over",
    Reason.EVIDENCE: "next when the list of tests is read",
    Reason.API_UNREACHABLE: "next when it answers",
    Reason.STORE: "next when it answers",
    Reason.TOKEN_REFUSED: "next when the token is replaced and the run resumed",
    Reason.TOKEN_MISSING: "next when there is one and the run resumed",
    Reason.PERMISSION_REFUSED: "next when it is granted and the run resumed",
    Reason.CONNECTION_REFUSED: "next when the connection works (tesnap doctor says how) and the run resumed",
    Reason.NOT_THE_API: "next when network, proxy or base_url are right and the run resumed",
    Reason.UNEXPECTED_SNAPSHOT: "next when is_public and expect_saved_event agree and the file is run again",
    Reason.NOBODY_RUNNING: "next when the run is resumed",
    Reason.TOO_FEW_TESTS: "next when the job file is run again",
    Reason.TOO_MANY_TESTS: "next when the job file is run again",
}
"""Words for what the next one depends on where no time can be given."""

_TWO_ENDS = "30 days or never, ThousandEyes' documents disagree"

_TO_DO_BEFORE = {
    Reason.TOKEN_REFUSED: "replace the token",
    Reason.TOKEN_MISSING: "put the token in its place",
    Reason.PERMISSION_REFUSED: "have the permission 'Create snapshot shares' added to the user's role",
    Reason.CONNECTION_REFUSED: "correct the proxy or the certificate",
    Reason.TOO_FEW_TESTS: "correct the selection",
    Reason.TOO_MANY_TESTS: "correct the selection",
}
"""Words for what somebody has to do before a run can be carried on, or be started again for whom it leaves out."""


class SnapshotRow(NamedTuple):
    """One settled task as a table shows it; `about` is its link if `linked`, else what there is to say.

    Two tests may have one name: `test_id` tells them apart, empty where `test` is the id. `unknown_end` is the short
    form of an `expiry` that nobody knows.
    """

    status: str
    test: str
    test_id: str
    organization: str
    window: str
    local: str
    about: str
    expiry: str
    unknown_end: str = ""
    linked: bool = False


class Step(NamedTuple):
    """Something to type, and what for; `first` is what somebody has to do before."""

    command: str
    purpose: str
    first: str = ""

    def __str__(self) -> str:
        return f"{self.first}, then {self.command}" if self.first else self.command


def duration_text(seconds: float) -> str:
    """A length of time in its two largest units, `4 m 12 s`; begun seconds count."""
    rest = max(0, math.ceil(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        parts.append((number, unit))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    shown = [f"{number} {unit}" for number, unit in parts[first : first + 2] if number]
    return " ".join(shown) or "0 s"


def expiry_text(at: float, zone: tzinfo) -> str:
    """`deleted by ThousandEyes on 20 Dec 2026`."""
    return f"deleted by ThousandEyes on {_day(at, zone)}"


def unknown_end_text(at: float, zone: tzinfo, *, them: str = "it") -> str:
    """The sentence about a saved event's end, of which nobody outside ThousandEyes knows."""
    return f"end unknown: {_TWO_ENDS}; save {them} by {_day(at, zone)}"


def end_text(result: Result, zone: tzinfo) -> str:
    """When a snapshot is deleted, or that this is not known; empty where there is none."""
    if result.expires_at is not None:
        return expiry_text(result.expires_at, zone)
    return "" if result.may_expire_at is None else unknown_end_text(result.may_expire_at, zone)


def ends_text(made: Sequence[Result], zone: tzinfo) -> str:
    """When several snapshots are deleted, or the first of them; those of which it is not known in words of their own."""
    known = sorted(one.expires_at for one in made if one.expires_at is not None)
    unknown = sorted(one.may_expire_at for one in made if one.may_expire_at is not None)
    texts = []
    if known:
        days = [expiry_text(at, zone) for at in known]
        every = "All" if len(set(days)) == 1 and not unknown else "The first"
        texts.append(f"{every} will be {days[0]}")
    if unknown:
        how_many = "all" if len(unknown) == len(made) else str(len(unknown))
        first = "them" if len({_day(at, zone) for at in unknown}) == 1 else "the first"
        texts.append(
            f"The end of {how_many} is unknown: {_TWO_ENDS}; save {first} by {_day(unknown[0], zone)}"
        )
    return ". ".join(texts)


def _day(at: float, zone: tzinfo) -> str:
    return day_text(datetime.fromtimestamp(at, zone).date())


def waiting_text(why: Waiting, now: float, zone: tzinfo) -> str:
    """The sentence about one organization's tasks: the reason they wait for, and until when."""
    name = harmless(why.organization)
    left = f"; {why.left} left" + _end_text(why, now, zone)
    if why.reason is Reason.FOREIGN_QUOTA:
        return f"{refusal_text(why.organization, why.until, zone, now)} {left.removeprefix('; ')}"
    coming = _coming(why, now, zone)
    if why.reason is Reason.OWN_QUOTA:
        slots = "the only slot" if why.slots == 1 else f"all {why.slots} slots"
        return f"{slots} of {name} used; {coming}{left}"
    return _WHY[why.reason].replace("{next}", coming).replace("{name}", name) + left


def waitings_text(progress: Progress, zone: tzinfo) -> str:
    """All waits of a run on one line: the most urgent sentence, and the reasons of the other organizations."""
    first, *rest = progress.waiting
    text, more = waiting_text(first, progress.now, zone), Counter(why.reason for why in rest)
    more.update(progress.others)
    return f"{text}; and {more.total()} more: {_reasons_text(more, more.total())}" if more else text


def refusal_text(organization: str, until: float | None, zone: tzinfo, now: float | None = None) -> str:
    """The sentence about a 429: its meaning to the user, and when the single try after it is."""
    when = "later" if until is None else f"at {clock_time(until, now, zone)}"
    return (
        f"{harmless(organization)}: refused (429): somebody outside this store used the quota "
        f"(web app, another token or machine). Nothing was made. One try {when}."
    )


def loss_text(loss: Loss, now: float, zone: tzinfo, *, until: float | None = None) -> str:
    """The sentence about a store that was lost: why, and what is done about it; `until` when all slots are out."""
    held = (
        f"all slots are held until {clock_time(until, now, zone)}; "
        if until is not None and until > now
        else ""
    )
    return (
        f"the store was replaced or has lost data: {loss.cause} (noticed {clock_time(loss.at, now, zone)}); {held}what is sent may"
        " exist already and is marked duplicate_possible until a run has ended with everything made"
        + ("" if loss.is_wanted else "; if you have the right file, stop and put it back")
    )


def holder_text(holder: Holder | None, now: float, zone: tzinfo) -> str:
    """The sentence about a store that is waited for: the process that has it to itself, what for, and since when."""
    if holder is None:
        return "waiting for the store: another process has it to itself while it opens it or writes it anew"
    since = clock_time(holder.since, now, zone, seconds=True)
    return f"waiting for the store: process {holder.pid} of {holder.host} {holder.does}, since {since}"


def reason_text(reason: str) -> str:
    """A reason as a sentence has it: `token refused`."""
    return " ".join("API" if word == "api" else word for word in reason.split("_"))


def counts_text(counts: Counts) -> str:
    """`42 created, 3 existing, 2 FAILED, 1 UNCERTAIN, 12 pending`, what is zero left out."""
    words = (
        (counts.created, "created"),
        (counts.existing, "existing"),
        (counts.failed, "FAILED"),
        (counts.uncertain, "UNCERTAIN"),
        (counts.pending, "pending"),
    )
    return ", ".join(f"{number} {word}" for number, word in words if number)


def progress_text(run_id: str, counts: Counts, *, live: bool = True) -> str:
    """The state of a run: `run k7f2: 45 of 60 settled: 42 created, 3 existing; 4 being sent`.

    Without a live process nothing is being sent: what was, the next one finds out.
    """
    settled = counts_text(replace(counts, queued=0, leased=0, sending=0))
    sending = counts.leased + counts.sending
    return (
        f"run {run_id}: {counts.settled} of {counts.total} settled"
        + (f": {settled}" if settled else "")
        + (f"; {sending} {'being sent' if live else 'under way when its process ended'}" if sending else "")
    )


def last_line(ending: Ending, *, store: str = "", rehearsal: bool = False) -> str:
    """The outcome of the run, and what to type next; `store` is where to look if that is not the usual place."""
    words = outcome_text(ending.run, ending.counts, ending.pending_reasons)
    if ending.unread:
        words += (
            f" ({ending.unread} not looked for: the list of tests cannot be read; the next start looks again)"
        )
    if rehearsal:
        return (
            f"{words} in the rehearsal, {duration_text(ending.seconds)} of its time; nothing was really made"
        )
    return f"{words}: {_next_command(ending, f' --store {shlex.quote(store)}' if store else '')}"


def _refused_text(run: Run) -> str:
    """How many organizations are left out, and why."""
    if not run.refused:
        return ""
    reasons = Counter(one.reason for one in run.refused)
    named = first_names([harmless(one.name) for one in run.refused])
    organizations = "organization" if len(run.refused) == 1 else "organizations"
    return (
        f", {len(run.refused)} {organizations} REFUSED: {named} ({_reasons_text(reasons, len(run.refused))})"
    )


def outcome_text(run: Run, counts: Counts, pending_reasons: Mapping[str, int]) -> str:
    """The counts in words, the reasons of what is pending, and whom the plan leaves out: `2 created, 12 pending (token refused)`."""
    pending = _pending_why(run, counts, pending_reasons)
    return f"{counts_text(counts) or 'nothing to do'}{pending}{_refused_text(run)}"


def next_steps(
    run: Run, counts: Counts, *, live: bool = False, where: str = "", reasons: Collection[str] = ()
) -> list[Step]:
    """The commands after a run or during it: one that carries it on goes before one that clears up after it.

    `where` is the option that names the store, with a space before it. Nothing of a cancelled run is carried on.
    With the `reasons` of what is pending, the first command says what has to be done before.
    """
    if live:
        return [Step(command=f"tesnap status {run.id}{where}", purpose="to see how far it is")]
    active, files = run.state is not RunState.CANCELLED, shlex.join(("tesnap", "run", *run.files))
    resume = Step(
        command=f"tesnap resume {run.id}{where}",
        purpose="to make what is pending",
        first=_what_to_do(reasons),
    )
    runs = Step(command=f"tesnap runs{where}", purpose="to see which other run makes what is pending")
    settle = Step(command=f"tesnap settle {run.id}{where}", purpose="to settle what is uncertain")
    again = Step(command=f"tesnap resume {run.id} --failed{where}", purpose="to try again what failed")
    anew = Step(
        command=files, purpose="to make what was refused", first="correct those tests in the job file"
    )
    left_out = Step(
        command=files,
        purpose="to serve whom this run leaves out",
        first=_what_to_do({one.reason for one in run.refused}),
    )
    steps = (
        (counts.pending and active, runs if run.state is RunState.FINISHED else resume),
        (counts.uncertain, settle),
        (counts.failed > counts.refused and active, again),
        (counts.refused and run.files and active, anew),
        (run.refused and run.files and active, left_out),
    )
    return [step for due, step in steps if due]


def _what_to_do(reasons: Collection[str]) -> str:
    """The words for what somebody has to do about these reasons."""
    words = [words for reason, words in _TO_DO_BEFORE.items() if reason in reasons]
    return choice(list(dict.fromkeys(words)), last="and")


def start_text(job: str, run_id: str, tasks: int) -> str:
    """The first words of a run."""
    return f"run {run_id} of {harmless(job)}: {plural(tasks, 'snapshot')}"


def process_text(start: Start, now: float, zone: tzinfo, *, live: bool, cancelled: bool = False) -> str:
    """The sentence about the last process of a run: who started it where, and how it ended.

    Its last line may say how to carry on: it is left out once the run was `cancelled`, which nobody carries on.
    """
    who = f"tesnap {start.command} of {harmless(start.user)} on {harmless(start.host)}"
    began = clock_time(start.began_at, now, zone)
    if start.ended_at is not None:
        lasted = duration_text(start.ended_at - start.began_at)
        ended = clock_time(start.ended_at, now, zone)
        line = f": {harmless(start.last_line)}" if start.last_line and not cancelled else ""
        return f"{who} ended {ended} after {lasted} with exit code {start.exit_code}{line}"
    if live:
        return f"{who} is at work since {began} (process {start.pid})"
    return f"{who} began {began} and was killed, or its machine went down: nothing is known of its end"


def left_out_text(one: RefusedOrganization) -> str:
    """The sentence about an organization that a plan leaves out, or that cannot be served."""
    return f"{harmless(one.name)} is refused ({reason_text(one.reason)}): {harmless(one.text)}"


def match_text(matches: int, first: int, done: float, now: float, zone: tzinfo) -> str:
    """`23 tests match. First 5 now, last about 15:41 CET. Ctrl-C stops.`: `first` go at once."""
    match = f"{plural(matches, 'test')} {'matches' if matches == 1 else 'match'}."
    if matches <= first:
        return f"{match} {'It goes' if matches == 1 else 'All go'} now. Ctrl-C stops."
    return f"{match} First {first} now, last about {clock_time(done, now, zone)}. Ctrl-C stops."


def snapshot_row(result: Result, zone: tzinfo, *, show_links: bool = True) -> SnapshotRow:
    """A settled task as a table shows it."""
    name = result.task.test_name
    window, local = window_texts(result.task.window, zone)
    may_end = result.may_expire_at
    return SnapshotRow(
        status=status_word(result),
        test=harmless(name) if name else f"test {harmless(result.task.test_id)}",
        test_id=harmless(result.task.test_id) if name else "",
        organization=harmless(result.task.organization_name),
        window=window,
        local=local,
        about=harmless(_about(result, show_links=show_links)),
        expiry=end_text(result, zone),
        unknown_end="" if may_end is None else f"end unknown, save it by {_day(may_end, zone)}",
        linked=show_links
        and result.status is Status.CREATED
        and bool(result.snapshot and result.snapshot.link),
    )


def status_word(result: Result) -> str:
    """The state of a task in one word, trouble in capitals."""
    if result.status is Status.CREATED:
        return "created" if result.made_here else "existing"
    trouble = result.status in (Status.FAILED, Status.UNCERTAIN)
    return result.status.upper() if trouble else result.status.value


def problem_text(problem: Problem) -> str:
    """A problem on one line: title, detail, and each field with its message."""
    fields = "; ".join(f"{field}: {message}" for field, message in problem.fields)
    return ": ".join(part.strip() for part in (problem.title, problem.detail, fields) if part.strip())


def pause_text(pause: Pause, zone: tzinfo) -> str:
    """The sentence about a pause in reading from the API; a clock time has its zone."""
    name = f"{harmless(pause.organization)}: " if pause.organization else ""
    if pause.until is None:
        return f"{name}still waiting for {pause.what}, for {duration_text(pause.seconds)} now"
    if not pause.spent:
        return _refusal_of_reading(pause, zone)
    limit = "limit on requests" if pause.most is None else f"limit of {pause.most} requests a minute"
    at = clock_time(pause.until, None, zone, seconds=True)
    return f"{name}the API's {limit} is used up; next {at} ({duration_text(pause.seconds)})"


def _refusal_of_reading(pause: Pause, zone: tzinfo) -> str:
    """The sentence about a list for which the API says 429: until when, and if that is waited for."""
    of = f" of {harmless(pause.organization)}" if pause.organization else ""
    until = "" if pause.until is None else f" until {clock_time(pause.until, None, zone, seconds=True)}"
    end = "; that is too long to wait, so it is left out" if pause.skipped else ""
    return f"reading {pause.what}{of}: the API asks to wait{until} ({duration_text(pause.seconds)}){end}"


def _end_text(why: Waiting, now: float, zone: tzinfo) -> str:
    """When a wait is over, as the end of its sentence; empty where nobody knows."""
    if why.done is None:
        return ""
    end = clock_time(why.done, now, zone)
    return (
        f"; given up at {end}, until the next start"
        if why.reason is Reason.EVIDENCE
        else f"; done about {end}"
    )


def _coming(why: Waiting, now: float, zone: tzinfo) -> str:
    """The moment when the next one can go, or what it depends on."""
    if why.until is None:
        return _OPEN_END[why.reason]
    if why.until <= now:
        return "next now"
    at = f"{clock_time(why.until, now, zone, seconds=True)} ({duration_text(why.until - now)})"
    if why.reason is Reason.TOKEN_REFUSED:
        return f"next when its token file has a new one; it is read again until {at}"
    return f"next {at}"


def _pending_why(run: Run, counts: Counts, pending_reasons: Mapping[str, int]) -> str:
    """The reasons of what is pending, in brackets."""
    if not counts.pending:
        return ""
    if run.state is RunState.CANCELLED:
        return " (cancelled)"
    words = _reasons_text(pending_reasons, counts.pending)
    return f" ({words})" if words else ""


def _reasons_text(numbers: Mapping[str, int] | Mapping[Reason, int], total: int) -> str:
    """The reasons with their numbers, and alone the one that holds for all of the `total`."""
    reasons = {reason: number for reason, number in numbers.items() if number}
    if list(reasons.values()) == [total]:
        return reason_text(*reasons)
    return ", ".join(f"{number} {reason_text(reason)}" for reason, number in reasons.items())


def _next_command(ending: Ending, where: str) -> str:
    """The commands to type next: while something is pending, the one that makes it alone."""
    counts, run = ending.counts, ending.run
    if not (counts.total or run.refused):
        return shlex.join(("tesnap", "plan", *run.files)) if run.files else "tesnap tests"
    if ending.pending_reasons.keys() == {Reason.UNEXPECTED_SNAPSHOT.value}:
        return f"look at the first snapshot and at is_public, then tesnap cancel {run.id}{where}"
    steps = next_steps(run, counts, where=where)
    shown = steps[:1] if counts.pending and run.state is not RunState.CANCELLED else steps
    return ", then ".join(map(str, shown)) or f"tesnap report {run.id}{where}"


def _about(result: Result, *, show_links: bool) -> str:
    """The link or the snapshot's id; of a task without a snapshot, why."""
    made = result.snapshot
    if result.status is not Status.CREATED:
        unknown = "nobody knows what became of the request" if result.status is Status.UNCERTAIN else ""
        text = problem_text(result.problem) if result.problem else unknown
        if result.status is Status.UNCERTAIN and result.possible_event is not None:
            seen = f"a saved event with its name is listed, which may be it: {result.possible_event.id}"
            text = f"{text.rstrip('.')}; {seen}"
        return text if show_links else without_links(text)
    if made is None:
        return "no link came back"
    link = made.link if show_links else f"snapshot {made.id}"
    return link or f"snapshot {made.id}, no link came back"

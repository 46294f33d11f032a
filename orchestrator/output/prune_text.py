"""What is said before runs are forgotten, and after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import tzinfo

from orchestrator.core import plural, utc_text
from orchestrator.output.records import Record
from orchestrator.store import Forgotten, RunSummary, Size
from orchestrator.windows import clock_time

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size_text(size: int) -> str:
    """A size as people read it: `1.3 GB`, by thousands."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {UNITS[unit]}" if unit else f"{size} {UNITS[0]}"


def old_runs_lines(old: Sequence[RunSummary], before: float, now: float, zone: tzinfo) -> Iterator[str]:
    """The runs that are to be forgotten, summed up by job."""
    since = clock_time(before, now, zone)
    if not old:
        yield f"nothing to forget: no run that is over, and that nothing needs, began before {since}"
        return
    yield f"{_runs_text(old)} began before {since}, {'is' if len(old) == 1 else 'are'} over, and will be forgotten:"
    jobs: dict[str, list[RunSummary]] = defaultdict(list)
    for one in old:
        jobs[one.run.job].append(one)
    for job, runs in sorted(jobs.items()):
        first, last = (clock_time(runs[at].run.created_at, now, zone) for at in (0, -1))
        yield f"  {job}: {_runs_text(runs)}, {first}{f' to {last}' if len(runs) > 1 else ''}"
    if uncertain := sum(one.total.uncertain for one in old):
        them = (
            "1 snapshot is uncertain and stays with its run"
            if uncertain == 1
            else f"{uncertain} snapshots are uncertain and stay with their runs"
        )
        yield f"{them}: `tesnap settle RUN`"


def _runs_text(runs: Sequence[RunSummary]) -> str:
    return f"{plural(len(runs), 'run')} of {plural(sum(one.run.tasks for one in runs), 'snapshot')}"


def forgotten_lines(forgotten: Forgotten, before: Size, after: Size, hindrance: str) -> Iterator[str]:
    """What was forgotten, and the room that it took; `hindrance` is why the store did not become smaller."""
    yield f"forgotten: {forgotten_text(forgotten)}"
    if after.total < before.total:
        yield f"the store took {size_text(before.total)} and takes {size_text(after.total)} now"
        return
    free = f", of which {size_text(after.free)} are free for what comes" if after.free else ""
    yield f"the store takes {size_text(after.total)}{free}"
    if hindrance:
        yield f"it did not become smaller: {hindrance}"


def forgotten_text(forgotten: Forgotten) -> str:
    """What was forgotten, in a part of a sentence."""
    text = f"{plural(forgotten.runs, 'run')}, {plural(forgotten.tasks, 'snapshot')}"
    if forgotten.stubs:
        text += f"; {forgotten.stubs} of them may exist still: key and name stay, so that none is made again unsaid"
    if forgotten.private:
        text += f"; {plural(forgotten.private, 'private snapshot')} may exist still and would be made again"
    if forgotten.kept:
        text += f"; left, as uncertain or changed since: {plural(forgotten.kept, 'snapshot')}"
    return text


def forgotten_document(forgotten: Forgotten, since: float, before: Size, after: Size) -> Record:
    """The same for programs; sizes are bytes."""
    return {
        "before": utc_text(since),
        "runs": forgotten.runs,
        "snapshots": forgotten.tasks,
        "stubs": forgotten.stubs,
        "private": forgotten.private,
        "kept": forgotten.kept,
        "size_before": before.total,
        "size": after.total,
        "free": after.free,
    }

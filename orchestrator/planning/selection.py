"""Tests as the lists of an account group say them, and those of them that a job means. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.api import Alert, ConfiguredTest, Tag
from orchestrator.core import Job, SelectionError, Window
from orchestrator.planning.unreadable import UnreadableList, unreadable_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The lists of one account group; None for one that was not, or could not be, read.

    `aid` is what a request names, empty for the credential's own group; `label` is what people read, and
    `unreadable` says why lists are missing.
    """

    aid: str = ""
    label: str = ""
    tests: Mapping[str, ConfiguredTest] | None = None
    tags: tuple[Tag, ...] | None = None
    alerts: tuple[Alert, ...] | None = None
    unreadable: tuple[UnreadableList, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedTest:
    """A test that is meant; `refusal` says why it must not be sent after all. Times are epoch seconds.

    `alerting_since` is when the earliest of its alerts began, None without one or where that is unknown.
    """

    id: str
    account_group: str = ""
    name: str | None = None
    test: ConfiguredTest | None = None
    tags: tuple[str, ...] = ()
    alerting: bool = False
    alerting_since: float | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tests that a job means in one organization.

    `incomplete` says why selectors could not be compared with everything, and `unreadable` are the lists that
    this is due to, none where nobody tried to read them. `unreadable_alerts` are the lists of alerts that are
    missing. `searched` is what the selectors were compared with when they found nothing.
    """

    tests: tuple[SelectedTest, ...] = ()
    incomplete: str = ""
    unreadable: tuple[UnreadableList, ...] = ()
    unreadable_alerts: tuple[UnreadableList, ...] = ()
    searched: str = ""
    notes: tuple[str, ...] = ()


class ListedTests:
    """The tests of one account group, each with what the group's other lists say of it.

    `moments` are the windows in which an alert makes a test an alerting one.
    """

    def __init__(self, listing: Listing, moments: Sequence[Window]) -> None:
        self.listing = listing
        self._tags: dict[str, list[str]] = defaultdict(list)
        self._alerts: dict[str, list[Alert]] = defaultdict(list)
        for tag in listing.tags or ():
            for test_id in tag.test_ids:
                self._tags[test_id].append(tag.text)
        for alert in listing.alerts or ():
            if any(alert.within(moment) for moment in moments):
                self._alerts[alert.test_id].append(alert)

    def find(self, test_id: str) -> SelectedTest | None:
        """The test with this id, None where the group has none, or its tests were not read."""
        test = (self.listing.tests or {}).get(test_id)
        return None if test is None else self._with_facts(test)

    def candidates(self) -> list[SelectedTest]:
        """The tests that selectors choose from: saved events are none."""
        tests = (self.listing.tests or {}).values()
        return [self._with_facts(test) for test in tests if not test.saved_event]

    def _with_facts(self, test: ConfiguredTest) -> SelectedTest:
        alerts = self._alerts.get(test.id, ())
        starts = [one.started_at for one in alerts if one.started_at is not None]
        return SelectedTest(
            id=test.id,
            account_group=self.listing.aid,
            name=test.name,
            test=test,
            tags=tuple(self._tags.get(test.id, ())),
            alerting=bool(alerts),
            alerting_since=min(starts, default=None),
        )


def check_selection(job: Job, selections: Mapping[str, Selection], *, looking: bool = False) -> None:
    """Raise SelectionError when a job means no test although everything was read, or more than `max_tests`.

    Whoever is only `looking` sends nothing anyway, which is not said then.
    """
    total = sum(len(one.tests) for one in selections.values())
    place, unsent = f"{job.place}: " if job.place else "", "" if looking else ", so nothing was sent"
    if job.max_tests is not None and total > job.max_tests:
        limit = "max_tests" if job.place else "--max-tests"
        raise SelectionError(
            f"{place}{total} tests match, more than the {job.max_tests} that {limit} allows{unsent}:"
            f" look at them with `tesnap tests`, then narrow them down by tag, type or name, or set {limit} to {total}"
        )
    if total or not selections or any(one.incomplete for one in selections.values()):
        return
    start = f"{place}no test is meant{unsent}"
    if job.select is None:
        raise SelectionError(f"{start}: every test that is named is also excluded")
    reasons = "; ".join(one.searched for one in selections.values())
    end = "" if reasons.endswith("?") else "."
    raise SelectionError(f"{start}: {reasons}{end} `tesnap tests` lists all tests with their types and tags")


def check_lists(selections: Iterable[Selection]) -> None:
    """Raise when all that is meant could not be selected, since lists could not be read; the kind says why."""
    known = list(selections)
    missing = [one for selection in known for one in selection.unreadable]
    if missing and not any(selection.tests for selection in known):
        raise unreadable_error("no test can be selected", missing)

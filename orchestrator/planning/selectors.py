"""Tests found by a job's selectors, or else what the selectors were compared with and what is near. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator import core
from orchestrator.api import Tag
from orchestrator.core import Job, Select, Window, choice, first_names, plural, quote
from orchestrator.planning.selection import ListedTests, SelectedTest, Selection
from orchestrator.planning.unreadable import describe_missing


def select_by_selectors(
    job: Job, groups: Sequence[ListedTests], moments: Sequence[Window], organization: str
) -> Selection:
    """The tests that the job's selectors find, `exclude` taken out, in the order in which they go.

    No test without selectors. `groups` are the account groups to look in, `moments` the windows in which an
    alert matters.
    """
    if job.select is None:
        return Selection()
    search = _Search(job.select, groups, moments)
    matching = search.matching()
    kept = [one for one in matching if not _is_excluded(job, one)]
    notes = [*search.notes_on_tags(), *_notes_on_disabled(kept)]
    incomplete = search.describe_unread()
    if incomplete:
        notes.append(f"not every test can be selected: {incomplete}")
    searched = "" if kept or not search.groups else search.describe(matching)
    return Selection(
        tests=tuple(sorted(kept, key=_urgency)),
        incomplete=incomplete,
        unreadable=tuple(search.unreadable),
        searched=f"{organization} has {searched}" if searched else "",
        notes=tuple(f"{organization}: {note}" for note in notes),
    )


def _is_excluded(job: Job, one: SelectedTest) -> bool:
    """True if an id or a name pattern of `exclude` is meant for this test; digits are always an id."""
    return any(
        one.id == entry if entry.isdecimal() else core.is_like(one.name or "", entry) for entry in job.exclude
    )


def _urgency(one: SelectedTest) -> tuple[bool, bool, float, str, str]:
    """Tests with alerts first, the longest alerting before the others, then by name."""
    since = one.alerting_since
    return (not one.alerting, since is None, since or 0.0, (one.name or "").casefold(), one.id)


def _notes_on_disabled(kept: Sequence[SelectedTest]) -> Iterator[str]:
    disabled = [f"{one.id} ({one.name})" for one in kept if one.test and not one.test.enabled]
    if disabled:
        verb = "is disabled and has" if len(disabled) == 1 else "are disabled and have"
        yield f"of the selected tests {first_names(disabled)} {verb} no fresh data"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """One key of the selectors that is set: as a sentence has it, and if it is true of a test."""

    text: str
    is_true_of: Callable[[SelectedTest], bool]


def _keys(select: Select, moments: Sequence[Window]) -> Iterator[_Key]:
    if select.test_name:
        yield _Key(
            text=f"with a name like {_quoted_choice(select.test_name)}",
            is_true_of=lambda one: any(core.is_like(one.name or "", name) for name in select.test_name),
        )
    if select.type:
        yield _Key(
            text=f"of type {_quoted_choice(select.type)}",
            is_true_of=lambda one: one.test is not None and one.test.type in select.type,
        )
    if select.tag:
        yield _Key(
            text=f"with tag {_quoted_choice(select.tag)}",
            is_true_of=lambda one: any(
                core.matches(tag, wanted) for tag in one.tags for wanted in select.tag
            ),
        )
    if select.alerting is not None:
        yield _Key(
            text=f"with {'an' if select.alerting else 'no'} alert active {_span_text(moments)}",
            is_true_of=lambda one: one.alerting is select.alerting,
        )
    if select.enabled is not None:
        yield _Key(
            text="enabled" if select.enabled else "disabled",
            is_true_of=lambda one: one.test is not None and one.test.enabled is select.enabled,
        )


def _quoted_choice(texts: Sequence[str]) -> str:
    return choice([quote(text) for text in texts])


def _span_text(moments: Sequence[Window]) -> str:
    first, last = min(one.start for one in moments), max(one.end for one in moments)
    to = core.utc_text(last)
    return f"at {to}" if first == last else f"between {core.utc_text(first)} and {to}"


class _Search:
    """Selectors and the tests they are compared with: those of the account groups whose needed lists were read."""

    def __init__(self, select: Select, groups: Sequence[ListedTests], moments: Sequence[Window]) -> None:
        needed = [
            "tests",
            *(["tags"] if select.tag else []),
            *(["alerts"] if select.alerting is not None else []),
        ]
        self.groups = [one for one in groups if all(getattr(one.listing, of) is not None for of in needed)]
        self._unread = [one.listing for one in groups if one not in self.groups]
        self.unreadable = [one for listing in self._unread for one in listing.unreadable if one.of in needed]
        self._select, self._keys = select, tuple(_keys(select, moments))
        self._candidates = [one for group in self.groups for one in group.candidates()]
        self._tags = [tag for group in self.groups for tag in group.listing.tags or ()]

    def matching(self) -> list[SelectedTest]:
        """The candidates of which every key is true."""
        return [one for one in self._candidates if all(key.is_true_of(one) for key in self._keys)]

    def describe_unread(self) -> str:
        """The reason why not everything was searched: errors, or nobody has looked, as offline; empty when all was."""
        if self.unreadable:
            return describe_missing(self.unreadable)
        labels = [listing.label or "its account group" for listing in self._unread]
        return f"the lists of {first_names(labels)} were not read" if labels else ""

    def notes_on_tags(self) -> Iterator[str]:
        """Tags that select no test, or fewer than one would think."""
        wanted = self._select.tag if self.groups else ()
        yield from filter(None, (_describe_tag(pattern, self._tags) for pattern in wanted))

    def describe(self, matching: Sequence[SelectedTest]) -> str:
        """The tests that were searched, how many of them each key alone is true of, and the names that are near."""
        groups = first_names([group.listing.label for group in self.groups if group.listing.label])
        number = plural(len(self._candidates), "test") if self._candidates else "no test"
        where = f"{number} in {groups}" if groups else number
        if not self._candidates:
            return where
        if matching:
            return f"{where}, of which {len(matching)} match, and all of these are excluded"
        counts = [f"{sum(map(key.is_true_of, self._candidates)) or 'none'} {key.text}" for key in self._keys]
        together = ["none with all of these"] if len(counts) > 1 else []
        texts = [f"{where}: {', '.join([*counts, *together])}", self._nearest_names(), *self.notes_on_tags()]
        return "; ".join(filter(None, texts))

    def _nearest_names(self) -> str:
        """The names that may have been meant by those that match nothing."""
        names = [one.name or "" for one in self._candidates]
        lost = [
            wanted
            for wanted in self._select.test_name
            if not any(core.is_like(name, wanted) for name in names)
        ]
        near = dict.fromkeys(name for wanted in lost for name in core.nearest_names(wanted, names))
        return f"the nearest names are {choice([quote(name) for name in near], last='and')}" if near else ""


def _describe_tag(pattern: str, known: Sequence[Tag]) -> str:
    """The reason why a tag selects no test, or fewer than one would think; empty when it does not."""
    matching = [tag for tag in known if core.matches(tag.text, pattern)]
    dynamic = list(dict.fromkeys(quote(tag.text) for tag in matching if tag.dynamic))
    if dynamic:
        verb = "is a dynamic tag" if len(dynamic) == 1 else "are dynamic tags"
        return f"{first_names(dynamic)} {verb}, whose tests the API does not list, and so selects none"
    if matching and not any(tag.test_ids for tag in matching):
        return f"tag {quote(pattern)} is assigned to no test"
    return "" if matching else _describe_unknown_tag(pattern, known)


def _describe_unknown_tag(pattern: str, known: Sequence[Tag]) -> str:
    """The sentence that there is no such tag, and what may have been meant."""
    start = f"there is no tag {quote(pattern)}"
    if pattern.partition(":")[0].casefold() in ("label", "labels"):
        return f"{start}: version 7 of the API has tags, not test labels; write the tag as key:value"
    near = core.nearest_names(pattern, (tag.text for tag in known))
    if near:
        return f"{start}: did you mean {_quoted_choice(near)}?"
    if not known:
        return f"{start}, and no other tag either"
    return f"{start} among {first_names(list(dict.fromkeys(quote(tag.text) for tag in known)))}"

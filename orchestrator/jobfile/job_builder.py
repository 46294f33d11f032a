"""A file's entries under `jobs` become jobs, with the tests, organizations and windows that they refer to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from typing import Any, TypeVar, cast

from orchestrator.core import Job, Priority, Select, TestRef, WindowSpec, first_names, quote, word
from orchestrator.jobfile.builder import FileBuilder, entry_values
from orchestrator.jobfile.document import Path as Where
from orchestrator.jobfile.document import StopReading
from orchestrator.jobfile.schema import JobEntry, TestEntry, WindowEntry

_MOST_COMPARED = 1_000_000  # names with patterns in one file: a fraction of a second

_PLAIN_KEYS = (
    "account_group", "exclude", "max_tests", "display_name", "is_public", "expect_saved_event", "on_uncertain",
    "data_delay",
)  # fmt: skip

_T = TypeVar("_T")


class JobBuilder:
    """One file's jobs over the organizations that they see; not `whole`: some of these are unknown."""

    def __init__(self, file: FileBuilder, organizations: Iterable[str], *, whole: bool) -> None:
        self._file, self._document, self._whole = file, file.document, whole
        self._known = tuple(organizations)
        self._names = frozenset(self._known)
        self._matches: dict[str, tuple[str, ...]] = {}
        self._shared: dict[str, tuple[Any, ...]] = {}
        self._compared = 0

    def jobs(self) -> list[Job]:
        """The file's jobs, in its order; a warning where two have one name."""
        jobs = [self._job(at, entry) for at, entry in enumerate(self._file.entry.jobs or ())]
        first: dict[str, int] = {}
        for at, job in enumerate(jobs):
            line, _ = self._document.place(("jobs", first.setdefault(job.name, at)))
            if job.name and first[job.name] != at:
                text = f"a second job is called {quote(job.name)}, as the one in line {line}"
                self._document.warn(self._own_place(at, "name") or ("jobs", at), text)
        return jobs

    def _job(self, at: int, own: JobEntry) -> Job:
        given = entry_values(self._file.entry.defaults) | entry_values(own)
        if "name" not in given and self._place_of_key(at, "name") is None:
            self._document.error(("jobs", at), "`name` is missing: records and reports need one")
        self._check_tests(at, given)
        return Job(
            name=given.get("name", ""),
            organizations=self._once(
                at, "organization", lambda: self._organizations(at, given.get("organization"))
            ),
            tests=self._once(at, "tests", lambda: self._tests(at, given.get("tests", ()))),
            select=Select(**entry_values(given["select"])) if "select" in given else None,
            windows=self._once(at, "windows", lambda: self._windows(at, given.get("windows"))),
            priority=Priority[given.get("priority", "normal").upper()],
            place=self._document.locate(("jobs", at)),
            **{key: given[key] for key in _PLAIN_KEYS if key in given},
        )

    def _own_place(self, at: int, key: str) -> Where | None:
        """The place of a key in the job itself, None where it is not written there."""
        return ("jobs", at, key) if self._document.has(("jobs", at, key)) else None

    def _place_of_key(self, at: int, key: str) -> Where | None:
        """The place of a key in the job or in the defaults, None where it is in neither."""
        return self._own_place(at, key) or (
            ("defaults", key) if self._document.has(("defaults", key)) else None
        )

    def _origin(self, at: int, key: str) -> Where:
        """The place of a job's value for this key: in the job, or in the defaults."""
        return self._own_place(at, key) or ("defaults", key)

    def _is_lost(self, at: int, key: str) -> bool:
        return self._document.is_lost(self._origin(at, key))

    def _once(self, at: int, key: str, make: Callable[[], tuple[_T, ...]]) -> tuple[_T, ...]:
        """The values of a job's own key as `make` makes them; those of the defaults are made once, for all jobs."""
        if self._place_of_key(at, key) != ("defaults", key):
            return make()
        if key not in self._shared:
            self._shared[key] = make()
        return cast("tuple[_T, ...]", self._shared[key])

    def _check_tests(self, at: int, given: Mapping[str, Any]) -> None:
        """A job has to mean some tests."""
        select = entry_values(given.get("select"))
        where = self._origin(at, "select")
        if "select" in given and not select and not self._document.lost_keys(where):
            text = "`select` selects nothing: write test_name, type, tag, alerting or enabled"
            self._document.error(where, text)
        for key, value in select.items():
            if value == ():
                text = f"`{key}` is an empty list: write what is meant, or leave the key out"
                self._document.error((*where, key), text)
        if (
            given.get("tests")
            or "select" in given
            or self._is_lost(at, "tests")
            or self._is_lost(at, "select")
        ):
            return
        where = self._origin(at, "tests") if "tests" in given else ("jobs", at)
        self._document.error(where, "no tests: write test ids as `tests`, or `select` them")

    def _tests(self, at: int, written: Iterable[TestEntry]) -> tuple[TestRef, ...]:
        """The tests that are named, each once: a name that is expected of one holds wherever it stands."""
        names: dict[str, str | None] = {}
        for position, test in enumerate(written):
            known = names.setdefault(test.id, test.test_name)
            if known is None:
                names[test.id] = test.test_name
            elif test.test_name not in (None, known):
                where = (*self._origin(at, "tests"), position)
                text = f"test {test.id} is to be called {quote(test.test_name or '')} here and {quote(known)} above: write one name"
                self._document.error(where, text)
        return tuple(TestRef(id=key, test_name=name) for key, name in names.items())

    def _organizations(self, at: int, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """The organizations that a job means, in the order of the file."""
        lost = self._is_lost(at, "organization")
        if wanted is None:
            if len(self._known) > 1 and not lost:
                text = f"`organization` is missing: there are {_first(self._known)}"
                self._document.error(("jobs", at), text)
            return self._known[:1]
        where = self._origin(at, "organization")
        if not wanted and not lost:
            self._document.error(where, '`organization` is an empty list: name one, or write "*" for all')
        found = [self._find_matches((*where, position), pattern) for position, pattern in enumerate(wanted)]
        if len(found) == 1:
            return found[0]
        self._count_compared(where)
        meant = set().union(*found)
        return tuple(name for name in self._known if name in meant)

    def _find_matches(self, where: Where, pattern: str) -> tuple[str, ...]:
        """The organizations of that name, or that match that pattern."""
        if pattern not in self._matches:
            names: tuple[str, ...] = (pattern,) if pattern in self._names else ()
            if not names and any(sign in pattern for sign in "*?["):
                self._count_compared(where)
                match = re.compile(translate(pattern)).match
                names = tuple(name for name in self._known if match(name))
            self._matches[pattern] = names
        if not self._matches[pattern] and self._whole and self._known:
            self._document.error(where, self._unknown("organization", where, pattern, self._known))
        return self._matches[pattern]

    def _count_compared(self, where: Where) -> None:
        """Count the organizations that are compared, and give up where it takes too long."""
        self._compared += len(self._known)
        if self._compared > _MOST_COMPARED:
            self._document.error(where, "too many patterns over too many organizations: split the file")
            raise StopReading

    def _windows(self, at: int, wanted: tuple[str | WindowEntry, ...] | None) -> tuple[WindowSpec, ...]:
        where = self._origin(at, "windows")
        if wanted is None and self._place_of_key(at, "windows") is None:
            self._document.error(("jobs", at), "`windows` is missing: a job needs at least one")
        if wanted == () and not self._document.is_lost(where):
            self._document.error(where, "`windows` is an empty list: a job needs at least one")
        specs = [self._window((*where, position), window) for position, window in enumerate(wanted or ())]
        return tuple(dict.fromkeys(spec for spec in specs if spec is not None))

    def _window(self, where: Where, window: str | WindowEntry) -> WindowSpec | None:
        if isinstance(window, WindowEntry):
            return self._file.window(window, where)
        known, lost = self._file.windows, self._document.is_lost(("windows",))
        if window not in known and not lost and not self._document.lost_keys(("windows",)):
            self._document.error(where, self._unknown("window", where, window, tuple(known)))
        return known.get(window)

    def _unknown(self, kind: str, where: Where, text: str, known: tuple[str, ...]) -> str:
        quoted = self._document.quote_value(where)
        if any(sign in text for sign in "*?["):
            return (
                f"no {kind} matches {quoted}: there are {_first(known)}" if known else f"there is no {kind}"
            )
        others = f": there are {_first(known)}" if known else f": the file has no `{kind}s`"
        return f"unknown {kind} {quoted}{self._document.nearest(text, known) or others}"


def _first(names: Iterable[str]) -> str:
    return first_names([*map(word, names)])

"""A file's entries become organizations, windows, settings and jobs, with the file's defaults filled in.

The grammar has checked each value alone; here is what they mean to each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from orchestrator import windows
from orchestrator.core import (
    DEFAULT_BASE_URL,
    CredentialSource,
    Http,
    Job,
    Limit,
    Notify,
    Organization,
    Ping,
    Priority,
    RetryRules,
    Select,
    TestRef,
    WindowError,
    WindowSpec,
    first_names,
    quote,
    word,
)
from orchestrator.jobfile.document import Document, StopReading
from orchestrator.jobfile.kinds import Entry, Wrong
from orchestrator.jobfile.kinds import Path as Where
from orchestrator.jobfile.schema import (
    FileEntry,
    JobEntry,
    LimitEntry,
    OrganizationEntry,
    PingEntry,
    TestEntry,
    WindowEntry,
)
from orchestrator.jobfile.types import read_base_url

_AS_FILLED = "not valid with its variables filled in"

_MOST_COMPARED = 1_000_000  # names with patterns in one file: a fraction of a second

_PLAIN_KEYS = (
    "account_group", "exclude", "max_tests", "min_tests", "display_name", "is_public", "expect_saved_event", "on_uncertain",
    "data_delay",
)  # fmt: skip

_T = TypeVar("_T")


class FileBuilder:
    """One file's organizations, windows and settings; what is wrong with them goes to its document."""

    def __init__(
        self, document: Document, entry: FileEntry, *, folder: Path, environ: Mapping[str, str]
    ) -> None:
        self.document, self.entry = document, entry
        self._folder, self._environ = folder, environ
        self._window_error = cache(_window_error)
        self._defaults = entry.organization_defaults or OrganizationEntry()
        self.timezone = self._timezone()
        self.organizations = {
            name: self.organization(name, own) for name, own in (entry.organizations or {}).items()
        }
        self.windows = {
            name: self.window(written, ("windows", name), name)
            for name, written in (entry.windows or {}).items()
        }

    @property
    def http(self) -> Http:
        """The file's way to the API."""
        values = _entry_values(self.entry.http)
        if "ca_bundle" in values:
            values["ca_bundle"] = self._path(values["ca_bundle"])
        return Http(**values)

    @property
    def retry(self) -> RetryRules:
        """The file's rules for how often a task is attempted."""
        return RetryRules(**_entry_values(self.entry.retry))

    @property
    def notify(self) -> tuple[Notify, ...]:
        """Those whom the file wants to be told."""
        return tuple(
            Notify(**(_entry_values(entry) | {"url_file": self._path(entry.url_file)}))
            for entry in self.entry.notify or ()
        )

    @property
    def prune_after(self) -> float | None:
        """The age from which the file wants runs of its job to be forgotten, in seconds."""
        return self.entry.prune_after

    @property
    def ping(self) -> Ping | None:
        """The dead man's switch of the file as a whole."""
        entry = self.entry.ping
        if entry is not None and "{organization}" in entry.url_file:
            text = "`url_file`: {organization} means nothing here: it is for the `ping` of organizations"
            self.document.error(("ping", "url_file"), text)
        return self._ping(entry)

    def _ping(self, entry: PingEntry | None, name: str = "") -> Ping | None:
        if entry is None:
            return None
        path = self._path(entry.url_file.replace("{organization}", name) if name else entry.url_file)
        return Ping(**(_entry_values(entry) | {"url_file": path}))

    def organization(self, name: str, own: OrganizationEntry | None = None) -> Organization:
        """The organization with the file's defaults; one without a token in the file has an empty source."""
        own = own or OrganizationEntry()
        given = _entry_values(self._defaults) | _entry_values(own)
        return Organization(
            name=name,
            credential=self._credential(name, own),
            base_url=given.get("base_url") or self._base_url(("organizations", name)),
            account_group=given.get("account_group"),
            org_id=given.get("org_id"),
            limit=self._limit(name, own.limit),
            ping=self._ping(given.get("ping"), name),
        )

    def has_credential(self, name: str) -> bool:
        """True if the file says where the token is, even if what it said was wrong."""
        places: tuple[Where, ...] = (("organizations", name), ("organization_defaults",))
        return any(self.document.is_lost(where) for where in places) or any(
            self.document.means((*where, key)) for where in places for key in ("token_file", "token_env")
        )

    def window(self, written: WindowEntry, where: Where, name: str | None = None) -> WindowSpec:
        """The window as `orchestrator.windows` reads it; it says itself what is wrong with it."""
        spec = WindowSpec(**_entry_values(written), timezone=self.timezone)
        error = self._window_error(spec)
        if error is not None and not self.document.lost_keys(where):
            key = error.key if error.key and self.document.has((*where, error.key)) else None
            about = f"`{key}`: " if key else ""
            text = _AS_FILLED if self.document.from_environment(where) else str(error)
            self.document.error((*where, key) if key else where, about + text)
        return replace(spec, name=name)

    def _timezone(self) -> str | None:
        where: Where = ("timezone",)
        try:
            there = windows.zone(self.entry.timezone)
        except ValueError as error:
            filled = self.document.from_environment(where)
            self.document.error(where, f"`timezone`: {_AS_FILLED if filled else error}")
            return "UTC"  # stands in, so that windows are checked all the same
        if self.entry.timezone and (note := windows.zone_note(self.entry.timezone, there)):
            self.document.warn(where, f"`timezone`: {note}")
        return "UTC" if self.document.is_lost(where) else self.entry.timezone

    def _base_url(self, where: Where) -> str:
        """The base URL of an organization that has none in the file: the environment's, or the default."""
        written = self._environ.get("TE_BASE_URL", "").strip()
        if not written:
            return DEFAULT_BASE_URL
        try:
            url = read_base_url(written)
        except Wrong as wrong:
            self.document.error(where, f"the variable TE_BASE_URL: {wrong.text}", key=True)
            return DEFAULT_BASE_URL
        return f"{url}/v7" if url.count("/") == 2 else url  # as ThousandEyes' own command line does

    def _credential(self, name: str, own: OrganizationEntry) -> CredentialSource:
        """Where the organization's token is; an empty source when the file does not say."""
        places: list[tuple[Where, OrganizationEntry]] = [
            (("organizations", name), own),
            (("organization_defaults",), self._defaults),
        ]
        for where, entry in places:
            if entry.token_file is not None and entry.token_env is not None:
                text = "`token_file` and `token_env` exclude each other: delete one"
                self.document.error((*where, "token_env"), text, key=True)
            if entry.token_file is not None:
                return CredentialSource(file=self._path(entry.token_file.replace("{organization}", name)))
            if entry.token_env is not None:
                return CredentialSource(env=entry.token_env)
        return CredentialSource()

    def _limit(self, name: str, own: LimitEntry | None) -> Limit:
        """The limit, the organization's own keys over those of the defaults; unless said, all of it is used."""
        given = _entry_values(self._defaults.limit) | _entry_values(own)
        limit = Limit(**({"use": given.get("snapshots", Limit().use)} | given))
        if limit.use > limit.snapshots:
            places: list[Where] = [("organizations", name, "limit"), ("organization_defaults", "limit")]
            keys: list[Where] = [(*where, key) for where in places for key in ("use", "snapshots")]
            text = f"`use` ({limit.use}) is more than `snapshots` ({limit.snapshots}): use at most that many"
            self.document.error(next(filter(self.document.has, keys), keys[-1]), text)
        return limit

    def _path(self, written: str) -> str:
        """The path, from the home folder for `~/`, otherwise from the folder of the job file."""
        home = self._environ.get("HOME", "")
        if written.startswith("~/") and home:
            return str(Path(home, written[2:]))
        return str(self._folder / written)


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
                self._document.warn(("jobs", at, "name"), text)
        return jobs

    def _job(self, at: int, own: JobEntry) -> Job:
        given = _entry_values(self._file.entry.defaults) | _entry_values(own)
        if not self._is_written(at, "name"):
            self._document.error(("jobs", at), "`name` is missing: records and reports need one")
        self._check_tests(at, given)
        return Job(
            name=given.get("name", ""),
            organizations=self._once(
                at, "organization", lambda: self._organizations(at, given.get("organization"))
            ),
            tests=self._once(at, "tests", lambda: self._tests(at, given.get("tests", ()))),
            select=Select(**_entry_values(given["select"])) if "select" in given else None,
            windows=self._once(at, "windows", lambda: self._windows(at, given.get("windows"))),
            priority=Priority[given.get("priority", "normal").upper()],
            place=self._document.locate(("jobs", at)),
            **{key: given[key] for key in _PLAIN_KEYS if key in given},
        )

    def _origin(self, at: int, key: str) -> Where:
        """The place of a job's value for this key: in the job where it is written there, else in the defaults."""
        own = ("jobs", at, key)
        return own if self._document.has(own) else ("defaults", key)

    def _is_written(self, at: int, key: str) -> bool:
        """True if the key is in the job or in the defaults, even if what it held was wrong."""
        return self._document.has(self._origin(at, key))

    def _is_lost(self, at: int, key: str) -> bool:
        return self._document.is_lost(self._origin(at, key))

    def _once(self, at: int, key: str, make: Callable[[], tuple[_T, ...]]) -> tuple[_T, ...]:
        """The values of a job's own key as `make` makes them; those of the defaults are made once, for all jobs."""
        if self._document.has(("jobs", at, key)) or not self._is_written(at, key):
            return make()
        if key not in self._shared:
            self._shared[key] = make()
        return cast("tuple[_T, ...]", self._shared[key])

    def _check_tests(self, at: int, given: Mapping[str, Any]) -> None:
        """A job has to mean some tests."""
        select = _entry_values(given.get("select"))
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
                text = f"test {test.id} has the name {quote(test.test_name or '')} here and {quote(known)} above: write the same name"
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
        if not self._is_written(at, "windows"):
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


def _entry_values(entry: Entry | None) -> dict[str, Any]:
    """The keys of an entry that were written, with their values."""
    return {} if entry is None else entry.written()


def _window_error(spec: WindowSpec) -> WindowError | None:
    try:
        windows.check_window(spec)
    except WindowError as error:
        return error
    return None


def _first(names: Iterable[str]) -> str:
    return first_names([*map(word, names)])

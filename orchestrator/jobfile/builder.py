"""What a job file's entries come to: organizations, jobs and windows, with what they refer to looked up.

The grammar has checked each value alone; here is what they mean to each other, with the file's defaults
filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import translate
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
from orchestrator.jobfile.document import Draft, Enough
from orchestrator.jobfile.document import Path as Where
from orchestrator.jobfile.schema import (
    FileEntry,
    JobEntry,
    LimitEntry,
    OrganizationEntry,
    TestEntry,
    WindowEntry,
)
from orchestrator.jobfile.types import checked_base_url

_MOST_COMPARED = 1_000_000  # names with patterns in one file: a fraction of a second

_T = TypeVar("_T")


class Assembly:
    """One file's entries on their way to the model; what is wrong with them goes to its draft."""

    def __init__(self, draft: Draft, entry: FileEntry, *, folder: Path, environ: Mapping[str, str]) -> None:
        self.draft, self.entry = draft, entry
        self._folder, self._environ = folder, environ
        self._checked: dict[WindowSpec, WindowError | None] = {}
        self._whole, self._seen = True, frozenset[str]()
        self._matches: dict[str, tuple[str, ...]] = {}
        self._shared: dict[str, tuple[Any, ...]] = {}
        self._compared = 0
        self.timezone = self._timezone()
        self.organizations = {
            name: self.organization(name, own) for name, own in (entry.organizations or {}).items()
        }
        self.windows = {
            name: self._window(written, ("windows", name), name)
            for name, written in (entry.windows or {}).items()
        }

    @property
    def http(self) -> Http:
        """How this file wants the API to be reached."""
        values = _given(self.entry.http)
        if "ca_bundle" in values:
            values["ca_bundle"] = self._path(values["ca_bundle"])
        return Http(**values)

    @property
    def retry(self) -> RetryRules:
        """How often this file wants a task to be attempted."""
        return RetryRules(**_given(self.entry.retry))

    @property
    def notify(self) -> tuple[Notify, ...]:
        """Whom this file wants to be told."""
        return tuple(
            Notify(**(_given(entry) | {"url_file": self._path(entry.url_file)}))
            for entry in self.entry.notify or ()
        )

    def jobs(self, organizations: Iterable[str], *, whole: bool) -> tuple[Job, ...]:
        """The file's jobs over the organizations that they see; not `whole`: some of these are unknown."""
        seen, self._whole = tuple(organizations), whole
        self._shared = {}
        self._seen = frozenset(seen)
        jobs = [self._job(at, entry, seen) for at, entry in enumerate(self.entry.jobs or ())]
        first: dict[str, int] = {}
        for at, job in enumerate(jobs):
            line, _ = self.draft.place(("jobs", first.setdefault(job.name, at)))
            if job.name and first[job.name] != at:
                where = ("jobs", at, "name") if self.draft.has(("jobs", at, "name")) else ("jobs", at)
                self.draft.warn(where, f"a second job is called {quote(job.name)}, as the one in line {line}")
        return tuple(jobs)

    def _timezone(self) -> str | None:
        try:
            windows.zone(self.entry.timezone)
        except ValueError as error:
            where: Where = ("timezone",)
            filled = self.draft.from_environment(where)
            self.draft.error(where, f"`timezone`: {_AS_FILLED if filled else error}")
            return "UTC"  # stands in, so that windows are checked all the same
        return "UTC" if self.draft.lost(("timezone",)) else self.entry.timezone

    def organization(self, name: str, own: OrganizationEntry | None = None) -> Organization:
        """The organization with the file's defaults; one without a token in the file has an empty source."""
        own = own or OrganizationEntry()
        given = _given(self.entry.organization_defaults) | _given(own)
        return Organization(
            name=name,
            credential=self._credential(name, own),
            base_url=given.get("base_url") or self._base_url(("organizations", name)),
            account_group=given.get("account_group"),
            org_id=given.get("org_id"),
            limit=self._limit(name, own.limit),
        )

    def _base_url(self, where: Where) -> str:
        """The base URL of an organization that has none in the file: the environment's, or the default."""
        written = self._environ.get("TE_BASE_URL", "").strip()
        if not written:
            return DEFAULT_BASE_URL
        try:
            url = checked_base_url(written)
        except ValueError as error:
            text = error.message() if hasattr(error, "message") else "not a base URL"
            self.draft.error(where, f"the variable TE_BASE_URL: {text}", key=True)
            return DEFAULT_BASE_URL
        return f"{url}/v7" if url.count("/") == 2 else url  # as ThousandEyes' own command line does

    def _credential(self, name: str, own: OrganizationEntry) -> CredentialSource:
        """Where the organization's token is; an empty source when the file does not say."""
        defaults = self.entry.organization_defaults or OrganizationEntry()
        places: list[tuple[Where, OrganizationEntry]] = [
            (("organizations", name), own),
            (("organization_defaults",), defaults),
        ]
        for where, entry in places:
            if entry.token_file is not None and entry.token_env is not None:
                text = "`token_file` and `token_env` exclude each other: delete one"
                self.draft.error((*where, "token_env"), text, key=True)
            if entry.token_file is not None:
                return CredentialSource(file=self._path(entry.token_file.replace("{organization}", name)))
            if entry.token_env is not None:
                return CredentialSource(env=entry.token_env)
        return CredentialSource()

    def has_credential(self, name: str) -> bool:
        """Whether the file says where the token is, even if what it said was wrong."""
        places: tuple[Where, ...] = (("organizations", name), ("organization_defaults",))
        wrong = any(self.draft.lost(where) for where in places)
        return wrong or any(
            self.draft.meant((*where, key)) for where in places for key in ("token_file", "token_env")
        )

    def _limit(self, name: str, own: LimitEntry | None) -> Limit:
        """The limit, the organization's own keys over those of the defaults; unless said, all of it is used."""
        defaults = self.entry.organization_defaults
        given = _given(defaults.limit if defaults else None) | _given(own)
        limit = Limit(**({"use": given.get("snapshots", Limit().use)} | given))
        if limit.use > limit.snapshots:
            where: Where = ("organizations", name, "limit")
            if not self.draft.has((*where, "use")) and not self.draft.has((*where, "snapshots")):
                where = ("organization_defaults", "limit")
            where = (*where, "use" if self.draft.has((*where, "use")) else "snapshots")
            text = f"`use` ({limit.use}) is more than `snapshots` ({limit.snapshots}): use at most that many"
            self.draft.error(where, text)
        return limit

    def _job(self, at: int, own: JobEntry, organizations: tuple[str, ...]) -> Job:
        where: Where = ("jobs", at)
        given = _given(self.entry.defaults) | _given(own)
        if "name" not in given and not self._wrote(at, "name"):
            self.draft.error(where, "`name` is missing: records and reports need one")
        self._check_tests(at, given)
        plain = {key: given[key] for key in _PLAIN_KEYS if key in given}
        return Job(
            name=given.get("name", ""),
            organizations=self._once(
                at, "organization", lambda: self._organizations(at, given.get("organization"), organizations)
            ),
            tests=self._once(at, "tests", lambda: self._tests(at, given.get("tests", ()))),
            select=Select(**_given(given["select"])) if "select" in given else None,
            windows=self._once(at, "windows", lambda: self._windows(at, given.get("windows"))),
            priority=Priority[given.get("priority", "normal").upper()],
            place=self.draft.located(where),
            **plain,
        )

    def _once(self, at: int, key: str, make: Callable[[], tuple[_T, ...]]) -> tuple[_T, ...]:
        """What a job's own value for this key comes to; what the defaults' does is made once, for all jobs."""
        if self.draft.has(("jobs", at, key)) or not self.draft.has(("defaults", key)):
            return make()
        if key not in self._shared:
            self._shared[key] = make()
        return cast("tuple[_T, ...]", self._shared[key])

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
                self.draft.error(where, text)
        return tuple(TestRef(id=key, test_name=name) for key, name in names.items())

    def _wrote(self, at: int, key: str) -> bool:
        return self.draft.has(("jobs", at, key)) or self.draft.has(("defaults", key))

    def _origin(self, at: int, key: str) -> Where:
        """Where a job's value for this key stands: in the job, or in the defaults."""
        return ("jobs", at, key) if self.draft.has(("jobs", at, key)) else ("defaults", key)

    def _check_tests(self, at: int, given: Mapping[str, Any]) -> None:
        """A job has to mean some tests."""
        if "select" in given and not _given(given["select"]):
            where = self._origin(at, "select")
            if not self.draft.lost_keys(where):
                self.draft.error(
                    where, "`select` selects nothing: write test_name, type, tag, alerting or enabled"
                )
        for key, value in _given(given.get("select")).items():
            if value == ():
                where = (*self._origin(at, "select"), key)
                self.draft.error(
                    where, f"`{key}` is an empty list: write what is meant, or leave the key out"
                )
        if given.get("tests") or "select" in given or self._lost(at, "tests") or self._lost(at, "select"):
            return
        where = self._origin(at, "tests") if "tests" in given else ("jobs", at)
        self.draft.error(where, "no tests: write test ids as `tests`, or `select` them")

    def _lost(self, at: int, key: str) -> bool:
        return self.draft.lost(self._origin(at, key))

    def _organizations(
        self, at: int, wanted: tuple[str, ...] | None, known: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The organizations that a job means, in the order of the file."""
        if wanted is None:
            if len(known) > 1 and not self._lost(at, "organization"):
                text = f"`organization` is missing: there are {_names(known)}"
                self.draft.error(("jobs", at), text)
            return known[:1]
        where = self._origin(at, "organization")
        if not wanted and not self._lost(at, "organization"):
            self.draft.error(where, '`organization` is an empty list: name one, or write "*" for all')
        found = [
            self._matching((*where, position), pattern, known) for position, pattern in enumerate(wanted)
        ]
        if len(found) == 1:
            return found[0]
        meant = set().union(*found)
        self._look_through(where, len(known))
        return tuple(name for name in known if name in meant)

    def _matching(self, where: Where, pattern: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """The organizations of that name, or that match that pattern."""
        if pattern not in self._matches:
            names: tuple[str, ...] = (pattern,) if pattern in self._seen else ()
            if not names and any(sign in pattern for sign in "*?["):
                self._look_through(where, len(known))
                match = re.compile(translate(pattern)).match
                names = tuple(name for name in known if match(name))
            self._matches[pattern] = names
        if not self._matches[pattern] and self._whole and known:
            self.draft.error(where, self._unknown("organization", self.draft.quoted(where), pattern, known))
        return self._matches[pattern]

    def _look_through(self, where: Where, number: int) -> None:
        """Count the organizations that are compared, and give up where it takes too long."""
        self._compared += number
        if self._compared > _MOST_COMPARED:
            self.draft.error(where, "too many patterns over too many organizations: split the file")
            raise Enough

    def _windows(self, at: int, wanted: tuple[str | WindowEntry, ...] | None) -> tuple[WindowSpec, ...]:
        where = self._origin(at, "windows")
        if not wanted:
            if wanted is None and not self._wrote(at, "windows"):
                self.draft.error(("jobs", at), "`windows` is missing: a job needs at least one")
            elif wanted is not None and not self.draft.lost(where):
                self.draft.error(where, "`windows` is an empty list: a job needs at least one")
            return ()
        specs = [self._job_window((*where, position), window) for position, window in enumerate(wanted)]
        return tuple(dict.fromkeys(spec for spec in specs if spec is not None))

    def _job_window(self, where: Where, window: str | WindowEntry) -> WindowSpec | None:
        if isinstance(window, WindowEntry):
            return self._window(window, where, None)
        if (
            window not in self.windows
            and not self.draft.lost_keys(("windows",))
            and not self.draft.lost(("windows",))
        ):
            self.draft.error(
                where, self._unknown("window", self.draft.quoted(where), window, tuple(self.windows))
            )
        return self.windows.get(window)

    def _window(self, written: WindowEntry, where: Where, name: str | None) -> WindowSpec:
        """The window as `orchestrator.windows` reads it; it says itself what is wrong with it."""
        spec = WindowSpec(**_given(written), timezone=self.timezone)
        if spec not in self._checked:
            self._checked[spec] = _window_error(spec)
        error = self._checked[spec]
        if error is not None and not self.draft.lost_keys(where):
            key = error.key if error.key and self.draft.has((*where, error.key)) else None
            about = f"`{key}`: " if key else ""
            text = _AS_FILLED if self.draft.from_environment(where) else str(error)
            self.draft.error((*where, key) if key else where, about + text)
        return replace(spec, name=name)

    def _unknown(self, kind: str, quoted: str, text: str, known: tuple[str, ...]) -> str:
        if any(sign in text for sign in "*?["):
            return (
                f"no {kind} matches {quoted}: there are {_names(known)}" if known else f"there is no {kind}"
            )
        hint = self.draft.nearest(text, known)
        if not hint:
            hint = f": there are {_names(known)}" if known else f": the file has no `{kind}s`"
        return f"unknown {kind} {quoted}{hint}"

    def _path(self, written: str) -> str:
        """The path, from the home folder for `~/`, otherwise from the folder of the job file."""
        home = self._environ.get("HOME", "")
        if written.startswith("~/") and home:
            return str(Path(home, written[2:]))
        return str(self._folder / written)


_PLAIN_KEYS = (
    "account_group", "exclude", "max_tests", "display_name", "is_public", "expect_saved_event", "on_uncertain",
    "data_delay",
)  # fmt: skip

_AS_FILLED = "not right as filled in from the environment"


def _given(entry: Any) -> dict[str, Any]:
    """The keys of an entry that were written, with their values."""
    return {} if entry is None else {key: getattr(entry, key) for key in entry.model_fields_set}


def _window_error(spec: WindowSpec) -> WindowError | None:
    try:
        windows.check_window(spec)
    except WindowError as error:
        return error
    return None


def _names(names: tuple[str, ...]) -> str:
    return first_names([*map(word, names)])

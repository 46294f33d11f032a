"""A file's entries become organizations, windows and settings, with the file's defaults filled in.

The grammar has checked each value alone; here is what they mean to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import windows
from orchestrator.core import (
    DEFAULT_BASE_URL,
    CredentialSource,
    Http,
    Limit,
    Notify,
    Organization,
    RetryRules,
    WindowError,
    WindowSpec,
)
from orchestrator.jobfile.document import Document
from orchestrator.jobfile.document import Path as Where
from orchestrator.jobfile.schema import FileEntry, LimitEntry, OrganizationEntry, WindowEntry
from orchestrator.jobfile.types import read_base_url

_AS_FILLED = "not right as filled in from the environment"


class FileBuilder:
    """One file's organizations, windows and settings; what is wrong with them goes to its document."""

    def __init__(
        self, document: Document, entry: FileEntry, *, folder: Path, environ: Mapping[str, str]
    ) -> None:
        self.document, self.entry = document, entry
        self._folder, self._environ = folder, environ
        self._checked: dict[WindowSpec, WindowError | None] = {}
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
        values = entry_values(self.entry.http)
        if "ca_bundle" in values:
            values["ca_bundle"] = self._path(values["ca_bundle"])
        return Http(**values)

    @property
    def retry(self) -> RetryRules:
        """The file's rules for how often a task is attempted."""
        return RetryRules(**entry_values(self.entry.retry))

    @property
    def notify(self) -> tuple[Notify, ...]:
        """Those whom the file wants to be told."""
        return tuple(
            Notify(**(entry_values(entry) | {"url_file": self._path(entry.url_file)}))
            for entry in self.entry.notify or ()
        )

    def organization(self, name: str, own: OrganizationEntry | None = None) -> Organization:
        """The organization with the file's defaults; one without a token in the file has an empty source."""
        own = own or OrganizationEntry()
        given = entry_values(self._defaults) | entry_values(own)
        return Organization(
            name=name,
            credential=self._credential(name, own),
            base_url=given.get("base_url") or self._base_url(("organizations", name)),
            account_group=given.get("account_group"),
            org_id=given.get("org_id"),
            limit=self._limit(name, own.limit),
        )

    def has_credential(self, name: str) -> bool:
        """True if the file says where the token is, even if what it said was wrong."""
        places: tuple[Where, ...] = (("organizations", name), ("organization_defaults",))
        return any(self.document.is_lost(where) for where in places) or any(
            self.document.means((*where, key)) for where in places for key in ("token_file", "token_env")
        )

    def window(self, written: WindowEntry, where: Where, name: str | None = None) -> WindowSpec:
        """The window as `orchestrator.windows` reads it; it says itself what is wrong with it."""
        spec = WindowSpec(**entry_values(written), timezone=self.timezone)
        if spec not in self._checked:
            self._checked[spec] = _window_error(spec)
        error = self._checked[spec]
        if error is not None and not self.document.lost_keys(where):
            key = error.key if error.key and self.document.has((*where, error.key)) else None
            about = f"`{key}`: " if key else ""
            text = _AS_FILLED if self.document.from_environment(where) else str(error)
            self.document.error((*where, key) if key else where, about + text)
        return replace(spec, name=name)

    def _timezone(self) -> str | None:
        where: Where = ("timezone",)
        try:
            windows.zone(self.entry.timezone)
        except ValueError as error:
            filled = self.document.from_environment(where)
            self.document.error(where, f"`timezone`: {_AS_FILLED if filled else error}")
            return "UTC"  # stands in, so that windows are checked all the same
        return "UTC" if self.document.is_lost(where) else self.entry.timezone

    def _base_url(self, where: Where) -> str:
        """The base URL of an organization that has none in the file: the environment's, or the default."""
        written = self._environ.get("TE_BASE_URL", "").strip()
        if not written:
            return DEFAULT_BASE_URL
        try:
            url = read_base_url(written)
        except ValueError as error:
            text = error.message() if hasattr(error, "message") else "not a base URL"
            self.document.error(where, f"the variable TE_BASE_URL: {text}", key=True)
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
        given = entry_values(self._defaults.limit) | entry_values(own)
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


def entry_values(entry: Any) -> dict[str, Any]:
    """The keys of an entry that were written, with their values."""
    return {} if entry is None else {key: getattr(entry, key) for key in entry.model_fields_set}


def _window_error(spec: WindowSpec) -> WindowError | None:
    try:
        windows.check_window(spec)
    except WindowError as error:
        return error
    return None

"""Job files to one `JobFile`, or every error in them at once, each with `file:line:column`.

A file's jobs see the organizations of their own file; a file without any sees those of all files. Window
names and defaults stay with their file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, TextIO

from orchestrator.core import (
    MOST_SNAPSHOTS,
    CredentialSource,
    Http,
    Job,
    JobFile,
    JobFileError,
    Located,
    Organization,
    RetryRules,
    plural,
    printable,
    read_start,
    word,
)
from orchestrator.jobfile.builder import FileBuilder, JobBuilder
from orchestrator.jobfile.document import Document, StopReading, written_values
from orchestrator.jobfile.grammar import read_entry
from orchestrator.jobfile.yaml_document import MAX_BYTES

IMPLIED = "default"
"""The name of the organization of a file that names none."""

STDIN = "-"
"""The path that stands for standard input."""

_NO_SETTINGS = ("version", "jobs", "windows")

_SUFFIXES = (".yaml", ".yml")

_LONGEST_NAME = 60  # characters of a joined name: it has to fit into a line


class CheckedJobFile(NamedTuple):
    """The request of job files, and what their author should know all the same.

    `settings` are the values that stand outside of the jobs, by their keys, each as it was written and where.
    """

    jobfile: JobFile
    warnings: tuple[Located, ...] = ()
    settings: Mapping[str, tuple[str, str]] = MappingProxyType({})


class _Part(NamedTuple):
    """One file as far as it could be read; `file` is None where nothing could."""

    path: str
    document: Document
    file: FileBuilder | None


def read_jobfiles(
    paths: Sequence[str | Path], *, environ: Mapping[str, str], stdin: TextIO | None = None
) -> CheckedJobFile:
    """Everything that the files, the YAML files of the folders, and standard input (`-`) ask for.

    JobFileError with every error of every file; nothing else is raised for any content.
    """
    contents, errors = _read_contents(paths, stdin)
    parts = [_read(path, content, environ) for path, content in contents.items()]
    try:
        jobfile = _join(parts, environ)
    except StopReading:
        jobfile = None
    for part in sorted(parts, key=lambda part: part.document.file):
        errors += part.document.shown_errors()
    if errors or jobfile is None:
        raise JobFileError(tuple(errors))
    warnings = tuple(sorted(warning for part in parts for warning in part.document.warnings))
    named = replace(jobfile, name=_run_name(paths, parts), one_name=len(_names(parts)) == 1)
    settings = {key: found for part in parts for key, found in _settings(part.document)}
    return CheckedJobFile(jobfile=named, warnings=warnings, settings=settings)


def starter() -> str:
    """A commented job file to start from."""
    from importlib.resources import files

    return files("orchestrator.jobfile").joinpath("starter.yaml").read_text(encoding="utf-8")


def _read_contents(
    paths: Sequence[str | Path], stdin: TextIO | None
) -> tuple[dict[str, bytes], list[Located]]:
    """The bytes of every file that is meant, once each, by its path, and what could not be read."""
    contents: dict[str, bytes] = {}
    errors: list[Located] = []
    seen: set[str] = set()
    for path in map(str, _expand(paths, errors)):
        identity = path if path == STDIN else str(Path(path).absolute())
        if identity in seen:
            continue
        seen.add(identity)
        try:
            contents[path] = _read_stdin(stdin) if path == STDIN else read_start(Path(path), MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            errors.append(_unreadable(path, error))
    if not paths:
        errors.append(Located(STDIN, 1, 1, "no job file is named"))
    return contents, errors


def _expand(paths: Sequence[str | Path], errors: list[Located]) -> list[str | Path]:
    """The paths, each folder replaced by the YAML files directly in it."""
    expanded: list[str | Path] = []
    for path in paths:
        shown = printable(str(path))
        if not shown:
            text = "an empty argument: name a job file, or `.` for this folder"
            errors.append(Located("''", 1, 1, text))
            continue
        try:
            if str(path) == STDIN or not Path(path).is_dir():
                expanded.append(path)
                continue
            names = sorted(entry.name for entry in Path(path).iterdir() if not entry.is_dir())
        except (OSError, ValueError) as error:
            errors.append(_unreadable(path, error))
            continue
        meant = [name for name in names if name.endswith(_SUFFIXES) and not name.startswith(".")]
        expanded += [Path(path, name) for name in meant]
        if not meant:
            errors.append(Located(shown, 1, 1, "no job file in this folder: it has no *.yaml or *.yml"))
    return expanded


def _unreadable(path: str | Path, error: Exception) -> Located:
    reason = getattr(error, "strerror", None) or str(error)
    return Located(printable(str(path)), 1, 1, f"cannot be read: {reason}")


def _read_stdin(stdin: TextIO | None) -> bytes:
    if stdin is None:
        raise ValueError("there is no standard input here")
    binary: BinaryIO | None = getattr(stdin, "buffer", None)
    if binary is not None:
        return binary.read(MAX_BYTES + 1)
    return stdin.read(MAX_BYTES + 1).encode("utf-8", "surrogateescape")


def _read(path: str, content: bytes, environ: Mapping[str, str]) -> _Part:
    document, file = Document(content, file="<stdin>" if path == STDIN else printable(path)), None
    try:
        entry = read_entry(document, environ)
        if entry is not None:
            if not document.has(("version",)):
                document.error((), "`version` is missing: write `version: 1`")
            file = FileBuilder(document, entry, folder=Path(path).parent, environ=environ)
    except StopReading:
        pass  # what has been said is enough
    return _Part(path=path, document=document, file=file)


def _join(parts: Sequence[_Part], environ: Mapping[str, str]) -> JobFile | None:
    """The files as one, as far as they could be read; what does not fit together goes to their documents."""
    read = [part.file for part in parts if part.file is not None]
    whole = len(read) == len(parts) and not any(
        file.document.is_lost(("organizations",)) or file.document.lost_keys(("organizations",))
        for file in read
    )
    organizations = _join_organizations(read, environ, whole=whole)
    jobs: list[Job] = []
    for file in read:
        own = file.organizations or organizations
        _check_jobs(file, alone=len(parts) == 1)
        jobs += JobBuilder(file, own, whole=whole).jobs()
        _check_size(file, jobs)
    if not read:
        return None
    return JobFile(
        name="",
        jobs=tuple(jobs),
        organizations=organizations,
        timezone=next((file.timezone for file in read if file.timezone), None),
        http=_one_of(read, "http", Http()),
        retry=_one_of(read, "retry", RetryRules()),
        notify=tuple(dict.fromkeys(notify for file in read for notify in file.notify)),
        prune_after=_one_of(read, "prune_after", None),
        ping=_one_of(read, "ping", None),
        files=tuple(part.path for part in parts),
        named=any(file.entry.name for file in read),
    )


def _join_organizations(
    read: Sequence[FileBuilder], environ: Mapping[str, str], *, whole: bool
) -> dict[str, Organization]:
    """All files' organizations by name, with the environment's token for one that stands alone."""
    found: dict[str, tuple[Organization, FileBuilder]] = {}
    for file in read:
        for name, organization in file.organizations.items():
            first, other = found.setdefault(name, (organization, file))
            if first != organization:
                place = other.document.locate(("organizations", name))
                text = f"the organization {word(name)} has different settings at {place}: make them equal, or rename one"
                file.document.error(("organizations", name), text, key=True)
    if not found and whole and read:
        return _default_organization(read[0], environ)
    alone = len(found) == 1 and whole
    return {
        name: _with_credential(organization, file, environ, alone=alone)
        for name, (organization, file) in found.items()
    }


def _default_organization(file: FileBuilder, environ: Mapping[str, str]) -> dict[str, Organization]:
    """The one organization of files that name none: the environment's."""
    credential = _environment_credential(environ)
    if credential is None:
        text = "no organization: write `organizations`, or set TE_TOKEN_FILE or TE_TOKEN for a single one"
        file.document.error(("organizations",), text)
        return {}
    organization = file.organization(IMPLIED)
    if organization.credential == CredentialSource():
        organization = replace(organization, credential=credential)
    return {IMPLIED: organization}


def _with_credential(
    organization: Organization, file: FileBuilder, environ: Mapping[str, str], *, alone: bool
) -> Organization:
    """The organization with the environment's token if the file does not name one and it stands alone."""
    if file.has_credential(organization.name):
        return organization
    credential = _environment_credential(environ) if alone else None
    if credential is not None:
        return replace(organization, credential=credential)
    hint = (
        "set TE_TOKEN_FILE or TE_TOKEN"
        if alone
        else "TE_TOKEN serves only a file with exactly one organization"
    )
    text = f"{word(organization.name)} has no token: write `token_file` or `token_env`{', or ' if alone else '; '}{hint}"
    file.document.error(("organizations", organization.name), text, key=True)
    return organization


def _environment_credential(environ: Mapping[str, str]) -> CredentialSource | None:
    if environ.get("TE_TOKEN_FILE"):
        return CredentialSource(file=environ["TE_TOKEN_FILE"])
    return CredentialSource(env="TE_TOKEN") if environ.get("TE_TOKEN") else None


def _check_jobs(file: FileBuilder, *, alone: bool) -> None:
    """A file has jobs, or at least organizations for the other files' jobs."""
    document = file.document
    if file.entry.jobs is None and not document.has(("jobs",)):
        if alone or not file.organizations:
            document.error((), "`jobs` is missing: a job file needs at least one")
    elif not file.entry.jobs and not document.is_lost(("jobs",)):
        document.error(("jobs",), "`jobs` is an empty list: a job file needs at least one")


def _check_size(file: FileBuilder, jobs: Sequence[Job]) -> None:
    """Jobs, tests and windows multiply: a small file can ask for more than anybody can wait for."""
    asked = sum(_count_snapshots(job) for job in jobs)
    if asked > MOST_SNAPSHOTS:
        text = (
            f"{plural(len(jobs), 'job')} ask for {asked:,} snapshots, more than the {MOST_SNAPSHOTS:,} that one run"
            " may have: name fewer tests or windows, or split the file"
        )
        file.document.error(("jobs",), text)


def _count_snapshots(job: Job) -> int:
    """The snapshots of a job as far as the file tells: a selector finds one test at least, a window is one."""
    tests = len(job.tests) + (job.select is not None)
    return len(job.organizations) * tests * len(job.windows)


def _one_of(read: Sequence[FileBuilder], key: str, default: Any) -> Any:
    """The setting that is for the run as a whole: at most one file's, or the same in all of them."""
    having = [file for file in read if file.document.has((key,))]
    values = [getattr(file, key) for file in having]
    for file, value in zip(having, values, strict=True):
        if value != values[0]:
            place = having[0].document.locate((key,))
            file.document.error(
                (key,), f"{word(key)} is for the whole run and is set differently at {place}", key=True
            )
    return values[0] if values else default


def _run_name(paths: Sequence[str | Path], parts: Sequence[_Part]) -> str:
    """The file's name, a folder's with several files, or several files' names joined and cut to a line."""
    if len(paths) == 1 and len(parts) > 1:
        return printable(Path(paths[0]).resolve().name)
    joined = "+".join(_names(parts))
    return joined if len(joined) <= _LONGEST_NAME else joined[: _LONGEST_NAME - 1] + "…"


def _settings(document: Document) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each value outside of jobs and windows, which `tesnap plan` shows, and where it stands."""
    for path, text in written_values(document, without=_NO_SETTINGS):
        yield ".".join(map(str, path)), (text, document.locate(path))


def _names(parts: Sequence[_Part]) -> list[str]:
    """The names that the files have, each once."""
    return list(dict.fromkeys(p.file.entry.name or _stem(p.path) if p.file else "" for p in parts))


def _stem(path: str) -> str:
    return "stdin" if path == STDIN else printable(Path(path).stem)

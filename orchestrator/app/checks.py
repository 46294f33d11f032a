"""The doctor's checks as values and as text, and those for which the API is not asked: the store, the webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum

from orchestrator.api import read_address
from orchestrator.core import ExitCode, Notify, StoreUnavailable, UsageError, choice, plural
from orchestrator.store import Store


class Level(IntEnum):
    """How a check came out, as the exit code that it means; the worst one of all decides."""

    FINE = ExitCode.DONE
    TROUBLE = ExitCode.NOT_ALL_MADE
    REFUSED = ExitCode.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: about what, what was found, and what to do where that is trouble."""

    about: str
    text: str
    remedy: str = ""
    level: Level = Level.FINE


def trouble(about: str, text: str, remedy: str) -> Check:
    """A check that found something to put right."""
    return Check(about=about, text=text, remedy=remedy, level=Level.TROUBLE)


def worst_code(checks: Iterable[Check]) -> int:
    """The exit code: 4 for a refused token, 3 for any other trouble, 0 when all is fine."""
    return max((check.level for check in checks), default=Level.FINE).value


def check_lines(checks: Mapping[str, Sequence[Check]]) -> Iterator[str]:
    """The checks by what they are about, trouble with its remedy on the next line."""
    for subject, found in checks.items():
        yield subject
        for check in found:
            yield f"  {'ok     ' if check.level is Level.FINE else 'TROUBLE'}  {check.about}: {check.text}"
            if check.remedy:
                yield f"           do this: {check.remedy}"
    trouble = sum(check.level is not Level.FINE for found in checks.values() for check in found)
    yield f"{trouble} to put right" if trouble else "all is fine"


def checks_document(checks: Mapping[str, Sequence[Check]]) -> list[dict[str, object]]:
    """The checks as JSON objects."""
    return [
        {"subject": subject, "about": one.about, "ok": one.level is Level.FINE, "text": one.text}
        | ({"remedy": one.remedy} if one.remedy else {})
        for subject, found in checks.items()
        for one in found
    ]


def examine_store(opened: Callable[[], AbstractContextManager[Store]]) -> list[Check]:
    """Check if the store can be written, and who else uses it."""
    try:
        with opened() as store:
            store.touch()
            where, views = store.describe(), store.views.runs()
    except (UsageError, StoreUnavailable) as error:
        remedy = (
            "put that right, or name another store with --store or TESNAP_STORE; without one nothing is sent"
        )
        return [trouble("store", str(error), remedy)]
    live = [view for view in views if view.processes]
    shared = [
        f"run {view.run.id} of {view.run.job} ({plural(view.processes, 'process', 'es')})" for view in live
    ]
    now = f"in use right now by {choice(shared, last='and')}" if shared else "used by nobody else right now"
    return [Check(about="store", text=f"{where} can be written; {now}; it holds {plural(len(views), 'run')}")]


def examine_notify(notify: Notify) -> Check:
    """Check if there is an address to tell; nothing is sent to it."""
    try:
        read_address(notify)
    except UsageError as error:
        remedy = f"write the webhook's address into {notify.url_file}, or correct url_file"
        return trouble(notify.format, f"{notify.url_file}: {error}", remedy)
    return Check(
        about=notify.format,
        text=f"{notify.url_file} holds an address; whether it is right, only a message shows",
    )

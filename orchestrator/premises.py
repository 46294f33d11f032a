"""What would go wrong on this machine, whatever the API says: the store, and the addresses of who is to be told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from orchestrator.doctor import Check, trouble
from orchestrator.errors import StoreUnavailable, UsageError
from orchestrator.model import Notify
from orchestrator.post import address_of
from orchestrator.queue import RunView
from orchestrator.wording import choice, plural


class StoreView(Protocol):
    """What a check needs of a store."""

    def describe(self) -> str:
        """Where it is, without secrets."""
        ...

    def touch(self) -> None:
        """Write something that changes nothing."""
        ...

    def runs(self) -> list[RunView]:
        """All runs, the latest first."""
        ...


def examine_store(opened: Callable[[], AbstractContextManager[StoreView]]) -> list[Check]:
    """Whether the store can be written, and who else uses it."""
    try:
        with opened() as store:
            store.touch()
            where, views = store.describe(), store.runs()
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
    """Whether there is an address to tell; nothing is sent to it."""
    try:
        address_of(notify)
    except UsageError as error:
        remedy = f"write the webhook's address into {notify.url_file}, or correct url_file"
        return trouble(notify.format, f"{notify.url_file}: {error}", remedy)
    return Check(
        about=notify.format,
        text=f"{notify.url_file} holds an address; whether it is right, only a message shows",
    )

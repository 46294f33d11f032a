"""The doctor's checks as people and programs read them, and those of the store and the webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.examine import (
    Check,
    Level,
    check_lines,
    checks_document,
    examine_notify,
    examine_store,
    unknown,
    worst_code,
)
from orchestrator.core.errors import StoreUnusable
from orchestrator.core.jobs import Notify
from orchestrator.core.tasks import Run
from orchestrator.store.history import History
from orchestrator.store.store import Store, open_store
from orchestrator.store.views import RunSummary, Views
from tests.support.clock import VirtualClock


def troubles(checks: list[Check]) -> list[tuple[str, str, str]]:
    """Each trouble: about what, the sentence, the remedy."""
    return [(check.about, check.text, check.remedy) for check in checks if check.level >= Level.TROUBLE]


# -- how it is shown -------------------------------------------------------------------------------------


def test_trouble_stands_out_and_has_its_remedy_below() -> None:
    """A sound check is one line, trouble is two, and the last line counts."""
    fine, bad = (
        Check(about="token", text="valid"),
        Check(about="clock", text="off", remedy="set it", level=Level.TROUBLE),
    )
    assert list(check_lines({"acme": [fine, bad]})) == [
        "acme",
        "  ok       token: valid",
        "  TROUBLE  clock: off",
        "           do this: set it",
        "1 problem",
    ]
    assert list(check_lines({"acme": [fine]}))[-1] == "no problems found"
    assert checks_document({"acme": [fine, bad]}) == [
        {"subject": "acme", "about": "token", "state": "ok", "text": "valid"},
        {"subject": "acme", "about": "clock", "state": "trouble", "text": "off", "remedy": "set it"},
    ]


def test_what_cannot_be_looked_up_is_neither_fine_nor_trouble() -> None:
    """It has a word of its own, is counted at the end, and is an error only where somebody wants it to be."""
    open_question = unknown("permission", "cannot be looked up")
    assert list(check_lines({"acme": [Check(about="token", text="valid"), open_question]})) == [
        "acme",
        "  ok       token: valid",
        "  unknown  permission: cannot be looked up",
        "no problems found; 1 unknown: only a run will show it",
    ]
    assert checks_document({"acme": [open_question]})[0]["state"] == "unknown"
    assert worst_code([open_question]) == 0
    assert worst_code([open_question], strict=True) == 3
    refused = Check(about="token", text="refused", level=Level.REFUSED)
    assert worst_code([open_question, refused], strict=True) == 4


def test_the_worst_check_decides_the_exit_code() -> None:
    """A refused token goes before any other trouble."""
    bad = Check(about="clock", text="off", level=Level.TROUBLE)
    assert worst_code([bad, Check(about="token", text="refused", level=Level.REFUSED)]) == 4
    assert worst_code([bad]) == 3
    assert worst_code([]) == 0


# -- the store -------------------------------------------------------------------------------------------


class ListedRuns(History):
    """Some runs, which are in no database."""

    def __init__(self, *runs: RunSummary) -> None:
        self._runs = runs

    def live_runs(self) -> list[RunSummary]:
        return [one for one in self._runs if one.processes]

    def count_runs(self, *, before: Run | None = None, most: int = 0) -> int:
        return len(self._runs)


class NoLoss(Views):
    """A store that was never lost."""

    def __init__(self) -> None:
        pass

    def loss(self) -> None:
        return None


class Shelf(Store):
    """A store with runs in it."""

    def __init__(self, *runs: RunSummary) -> None:
        self.views, self.history = NoLoss(), ListedRuns(*runs)

    def describe(self) -> str:
        return "sqlite:////srv/tesnap.db"

    def touch(self) -> None:
        pass


def test_a_store_in_use_names_who_else_uses_it() -> None:
    """Live runs of other processes are named; ended ones are only counted."""
    live = RunSummary(run=Run(id="k7f2", job="nightly-edge"), processes=2)
    (check,) = examine_store(lambda: nullcontext(Shelf(live, RunSummary(run=Run(id="aaaa", job="old")))))
    assert check.text == (
        "sqlite:////srv/tesnap.db can be written; in use right now by run k7f2 of nightly-edge (2 processes);"
        " it holds 2 runs"
    )
    assert check.level is Level.FINE


def test_a_new_store_is_fine(tmp_path: Path) -> None:
    """A store that is not there yet is made, as a run would make it."""
    clock = VirtualClock()

    @contextmanager
    def opened() -> Iterator[Any]:
        store = open_store(f"sqlite:///{tmp_path / 'tesnap.db'}", clock=clock)
        yield store
        store.close()

    (check,) = examine_store(opened)
    assert check.text.endswith("can be written; used by nobody else right now; it holds 0 runs")


def test_a_read_only_store() -> None:
    """A store that cannot be written says so, and where another one can be named; the exit code is 3."""

    def opened() -> AbstractContextManager[Shelf]:
        raise StoreUnusable(
            "sqlite:////srv/tesnap.db cannot be used: it cannot be written; check the permissions"
        )

    checks = examine_store(opened)
    ((about, text, remedy),) = troubles(checks)
    assert (about, text) == (
        "store",
        "sqlite:////srv/tesnap.db cannot be used: it cannot be written; check the permissions",
    )
    assert remedy.startswith("fix that, or name another store with --store or TESNAP_STORE")
    assert worst_code(checks) == 3


def test_a_store_that_opens_but_takes_nothing() -> None:
    """That a store can be read does not mean that it can be written: it is tried."""

    class Sealed(Shelf):
        def touch(self) -> None:
            raise StoreUnusable("it cannot be written")

    ((about, text, _),) = troubles(examine_store(lambda: nullcontext(Sealed())))
    assert (about, text) == ("store", "it cannot be written")


def test_a_store_in_a_place_that_nobody_may_write() -> None:
    """The kernel's own file system takes no file from anybody, root included."""
    clock = VirtualClock()
    checks = examine_store(lambda: nullcontext(open_store("sqlite:////proc/tesnap/tesnap.db", clock=clock)))
    ((about, text, _),) = troubles(checks)
    assert about == "store"
    assert "/proc/tesnap" in text


def test_a_store_that_was_put_back_on_purpose(tmp_path: Path) -> None:
    """There is no better file, so none is asked for; what is missing is said all the same."""
    clock = VirtualClock()
    address = f"sqlite:///{tmp_path}/store.db"
    with closing(open_store(address, clock=clock)) as store:
        store.declare_put_back(clock.wall())
    ((about, text, remedy),) = troubles(examine_store(lambda: closing(open_store(address, clock=clock))))
    assert (about, "it was put back as it was at" in text) == ("what was stored", True)
    assert remedy.startswith("run the interrupted job files again")


# -- the webhooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "the file cannot be read (No such file or directory)"),
        ("", "it holds no address: write https://HOST/PATH"),
        ("https://hooks.example.com/a\nhttps://hooks.example.com/b\n", "it holds no address"),
        ("http://hooks.example.com/hush", "its address would be sent unencrypted"),
    ],
    ids=["missing", "empty", "two lines", "not encrypted"],
)
def test_an_address_that_nobody_can_be_told_at(tmp_path: Path, content: str | None, says: str) -> None:
    """Found out before the night on which it matters; what the file holds is not said."""
    path = tmp_path / "hook"
    if content is not None:
        path.write_text(content)
    check = examine_notify(Notify(format="slack", url_file=str(path)))
    assert check.level is Level.TROUBLE
    assert check.text.startswith(f"{path}: {says}")
    assert check.remedy == f"write the webhook's address into {path}, or correct url_file"
    assert "hush" not in check.text


def test_an_address_that_may_be_right(tmp_path: Path) -> None:
    """Nothing is sent to find out."""
    (tmp_path / "hook").write_text("https://hooks.example.com/hush\n")
    check = examine_notify(Notify(format="slack", url_file=str(tmp_path / "hook")))
    assert (check.level, "hush" in check.text) == (Level.UNKNOWN, False)

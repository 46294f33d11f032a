"""A token that is refused in the middle of a run, when its file says something else by then, the same, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.api.credentials import Bearer, read_bearer
from orchestrator.core.events import Ending
from orchestrator.core.jobs import CredentialSource
from orchestrator.output.sentences import last_line
from orchestrator.simulator import LoggedRequest, Simulator
from tests.support.http import jobfile_for, run_over_http, simulated
from tests.support.virtual import Notebook

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

FIRST, SECOND = "token-1", "token-1-2"
TESTS = 4


class TokenFile(Mapping[str, Bearer]):
    """Whatever organization is asked for: the token in the file, read anew each time."""

    def __init__(self, path: Path) -> None:
        self._source = CredentialSource(file=str(path))

    def __getitem__(self, name: str) -> Bearer:
        return read_bearer(self._source, environ={})

    def __iter__(self) -> Iterator[str]:
        return iter(("whoever is asked for",))

    def __len__(self) -> int:
        return 1


def expire(simulator: Simulator, text: str) -> None:
    """The server takes a token no longer."""
    bearers = simulator._origin._bearers
    bearers[text] = replace(bearers[text], expired=True)


def interrupted(
    folder: Path, happens: Callable[[Path], object]
) -> tuple[Ending, Notebook, list[LoggedRequest]]:
    """A run whose token is refused from its first snapshot on, when this has happened to its file."""
    path = folder / "token"
    happened: list[LoggedRequest] = []
    path.write_text(f"{FIRST}\n")

    def after_the_first(entry: LoggedRequest) -> None:
        if entry.counted and not happened:
            happened.append(entry)
            happens(path)
            expire(simulator, FIRST)

    with simulated(tests=TESTS, tokens=2, on_entry=after_the_first) as (simulator, url):
        jobfile = jobfile_for(simulator, url)
        ending, notebook = run_over_http(
            simulator, jobfile, folder / "store.db", bearers=TokenFile(path), run_id="r1"
        )
        return ending, notebook, list(simulator.log)


def test_a_token_file_with_a_new_token_stops_nothing(tmp_path: Path) -> None:
    """The refused requests were no attempts; everything else is made with the new one."""
    ending, notebook, log = interrupted(tmp_path, lambda path: path.write_text(f"{SECOND}\n"))
    assert (ending.exit_code, ending.counts.created) == (0, TESTS)
    assert {result.attempts for result in notebook.results} == {1}
    assert {entry.bearer for entry in log if entry.counted} == {FIRST, SECOND}
    assert any(entry.status == 401 for entry in log)


def unreadable(path: Path) -> None:
    """What stands at the path is no file."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "happens",
    [
        lambda path: None,
        lambda path: path.write_text(f"  {FIRST}  \n"),
        lambda path: path.write_text(""),
        lambda path: path.write_text("Bearer token-1-2"),
        Path.unlink,
        unreadable,
    ],
    ids=["untouched", "other white space", "empty", "malformed", "gone", "unreadable"],
)
def test_a_token_file_without_a_new_token_stops_the_organization(
    tmp_path: Path, happens: Callable[[Path], object]
) -> None:
    """One snapshot was made, the rest stays pending for whoever replaces the token."""
    ending, notebook, log = interrupted(tmp_path, happens)
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (4, 1, TESTS - 1)
    assert ending.pending_reasons == {"token_refused": TESTS - 1}
    assert last_line(ending) == "1 created, 3 pending (token refused): tesnap resume r1"
    assert [event.name for event in notebook.events].count("organization.stopped") == 1
    assert sum(entry.status == 401 for entry in log) <= TESTS - 1
    said = [event.text for event in notebook.events]
    assert not [text for text in said if FIRST in text or SECOND in text]


def test_the_run_goes_on_when_the_token_is_replaced_later(tmp_path: Path) -> None:
    """As the last line says: resumed under its id, it makes the rest and nothing twice."""
    path, store = tmp_path / "token", tmp_path / "store.db"
    path.write_text(FIRST)

    def after_the_first(entry: LoggedRequest) -> None:
        if entry.counted:
            expire(simulator, FIRST)

    with simulated(tests=3, tokens=2, on_entry=after_the_first) as (simulator, url):
        jobfile = jobfile_for(simulator, url)
        first, _ = run_over_http(simulator, jobfile, store, bearers=TokenFile(path), run_id="r1")
        path.write_text(SECOND)
        second, _ = run_over_http(simulator, jobfile, store, bearers=TokenFile(path), run_id="r1")
    assert (first.exit_code, first.counts.pending) == (4, 2)
    assert (second.exit_code, second.counts.created) == (0, 3)
    assert sum(entry.counted for entry in simulator.log) == 3

"""Reading within the general limit, with a word about every wait that somebody may notice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from orchestrator.api.catalog import LISTS, Getter, Query
from orchestrator.api.response import Answer, general_reset, retry_after
from orchestrator.core import Clock

PATIENCE = 120.0
"""The longest that reading waits in seconds before it is answered, in all: the general limit's window is a minute."""

TRIES = 3
"""Times that a list is asked for when the general limit refuses it, the server fails or nothing answers, unless
that took long: another try would take as long."""

RETRY_WAIT = 1.0
"""Seconds before a list is asked for again after a failure: somebody may be waiting at a terminal."""

NAP = 1.0
"""Seconds slept at once: no wait keeps a program from ending for longer."""

_SOON = 0.05  # seconds: a read may be back the moment after

_LONGEST_COUNT = 16  # characters: Python refuses to read a number of some thousand digits

SLOW = 3.0
"""Seconds of waiting for an answer that nobody is left alone with."""

SLOW_AGAIN = 30.0
"""Seconds until it is said again."""


class Pause(NamedTuple):
    """A wait of reading: for an answer that is slow, or, with `until` (epoch seconds), until the API may be asked again.

    `what` is read. `seconds` is how long it has waited for an answer, or has to wait: because the general limit,
    `most` a minute, is `spent`, or because a 429 asks for it. `skipped`: that is too long, and it is not waited.
    """

    organization: str
    seconds: float
    what: str = ""
    until: float | None = None
    most: int | None = None
    spent: bool = True
    skipped: bool = False


OnPause = Callable[[Pause], None]
"""Shows a wait to whoever waits."""


class Reservation(Protocol):
    """The reads of an organization, of which several processes take."""

    def take(self) -> tuple[float, object | None]:
        """The seconds until somebody should ask again, and no ticket; or the ticket of a read that may go now."""

    def give(self, ticket: object) -> None:
        """Say that a read is answered."""

    def belong_to(self, org_id: str | None) -> None:
        """Say whose reads these are; None: nobody knows it."""


class PacedGetter:
    """A getter within the general limit: with nothing remaining it waits until the reset, and says so once.

    Any number of threads may read through it at once. With a `reservation` each read is reserved there first.

    `offset` is the API's clock minus ours in seconds, `remaining` and `most` what the last answer said of
    the general limit; None until an answer says so.
    """

    def __init__(
        self,
        getter: Getter,
        clock: Clock,
        *,
        name: str = "",
        tell: OnPause | None = None,
        patience: float = PATIENCE,
        stopped: Callable[[], bool] = lambda: False,
        reservation: Reservation | None = None,
    ) -> None:
        self.base_url, self.reservation = getter.base_url, reservation
        self.offset: float | None = None
        self.remaining: int | None = None
        self.most: int | None = None
        self.reset_in = 0.0
        self._getter, self._clock, self._patience = getter, clock, patience
        self._name, self._tell = name, tell
        self._stopped = stopped
        self._lock = threading.Lock()
        self._closed_until, self._spent = clock.boot(), False
        self._told_until = self._closed_until  # of the wait that was told last
        self._refusal: Answer | None = None
        self._waits_since: float | None = None  # when the first wait since an answer that was no 429 began

    def get(self, path: str, query: Query = ()) -> Answer:
        """Read something when the limit allows it; the answer may still be a 429 when others are quicker.

        While the API asks to wait for longer than there is patience it is not asked again: its refusal stands.
        """
        for attempt in range(1, TRIES + 1):
            if not self._wait(path) and self._refusal is not None:
                return self._refusal
            ticket = self._reserve(path)
            begun = self._clock.boot()
            try:
                with self._watch_answer(path):
                    answer = self._getter.get(path, query)
            finally:
                self._give_back(ticket)
            self._note(answer)
            hung = answer.status is None and self._clock.boot() - begun >= SLOW_AGAIN
            if attempt == TRIES or hung or not self._may_retry(answer):
                break
        if answer.status == 429:
            self._tell_wait(path, self._remaining_wait(), skipped=True)
        return answer

    def _reserve(self, path: str) -> object | None:
        """The ticket of a read, after a wait if others read as well; none when nobody waits for one any more."""
        if self.reservation is None:
            return None
        begun, told = self._clock.boot(), False
        while True:
            seconds, ticket = self.reservation.take()
            if ticket is not None or self._stopped() or self._clock.boot() - begun >= self._patience:
                return ticket
            if not told:
                self._tell_wait(path, seconds, spent=True)
            told = True
            self._sleep(min(NAP, max(seconds, _SOON)))

    def _give_back(self, ticket: object | None) -> None:
        if self.reservation is not None and ticket is not None:
            self.reservation.give(ticket)

    def _may_retry(self, answer: Answer) -> bool:
        """True if asking again may help, after the wait that trouble with the server takes."""
        if answer.status == 429:
            return self._is_worth_waiting() and not self._stopped()
        if not self._patience or answer.lasting or (answer.status is not None and answer.status < 500):
            return False
        self._sleep(RETRY_WAIT)
        return not self._stopped()

    def _sleep(self, seconds: float) -> None:
        """Sleep in naps: whoever wants to end the program does not wait for the API."""
        end = self._clock.boot() + seconds
        while (left := end - self._clock.boot()) > 0 and not self._stopped():
            self._clock.sleep(min(NAP, left))

    def _remaining_wait(self) -> float:
        return self._closed_until - self._clock.boot()

    def _is_worth_waiting(self) -> bool:
        """False when the API may be asked again only after more time than there is patience."""
        since = self._clock.boot() if self._waits_since is None else self._waits_since
        return self._closed_until - since <= self._patience

    def _wait(self, path: str) -> bool:
        """Wait until the API may be asked; False when that is too long, and is not waited for."""
        with self._lock:
            seconds = self._remaining_wait()
            if seconds <= 0:
                return True
            if not self._is_worth_waiting():
                return False
            if self._waits_since is None:
                self._waits_since = self._clock.boot()
            told, self._told_until = self._told_until >= self._closed_until, self._closed_until
        if not told:
            self._tell_wait(path, seconds)
        self._sleep(self._remaining_wait())
        return True

    def _tell_wait(
        self, path: str, seconds: float, *, skipped: bool = False, spent: bool | None = None
    ) -> None:
        if self._tell is None or not self._patience or self._stopped():
            return
        pause = Pause(
            organization=self._name,
            seconds=seconds,
            what=_describe(path),
            until=self._clock.wall() + seconds,
            most=self.most,
            spent=self._spent if spent is None else spent,
            skipped=skipped,
        )
        self._tell(pause)

    @contextmanager
    def _watch_answer(self, path: str) -> Iterator[None]:
        """Tell about what is read for as long as that takes, from when it is slow."""
        if self._tell is None:
            yield
            return
        answered = threading.Event()
        arguments = (self._tell, path, answered)
        threading.Thread(target=self._tell_slowness, args=arguments, name="tesnap-slow", daemon=True).start()
        try:
            yield
        finally:
            answered.set()

    def _tell_slowness(self, tell: OnPause, path: str, answered: threading.Event) -> None:
        begun, due = self._clock.boot(), SLOW
        while not answered.wait(self._clock.real(begun + due - self._clock.boot())):
            if self._clock.boot() < begun + due - NAP:
                return  # a clock that takes no real time: whoever moves it does not wait
            tell(Pause(organization=self._name, seconds=due, what=_describe(path)))
            due += SLOW_AGAIN

    def _note(self, answer: Answer) -> None:
        """Learn from an answer's headers."""
        with self._lock:
            self._note_limit(answer)

    def _note_limit(self, answer: Answer) -> None:
        if answer.date_offset is not None:
            self.offset = answer.date_offset
        left = _read_count(answer, "remaining", None)
        self.remaining = self.remaining if left is None else left
        self.most = _read_count(answer, "limit", self.most)
        self.reset_in = general_reset(answer.headers)
        if answer.status == 429 or left == 0:
            asked = retry_after(answer.headers) if answer.status == 429 else None
            self._closed_until = max(self._closed_until, self._clock.boot() + (asked or self.reset_in))
            self._spent = left == 0
        if answer.status == 429:
            self._refusal = answer
        elif self._remaining_wait() <= 0:  # otherwise it was on its way when another one was refused
            self._refusal = None
            self._waits_since = self._waits_since if answer.status is None else None


def _describe(path: str) -> str:
    """The words for what is read at a path."""
    return f"the list of {LISTS[path]}" if path in LISTS else f"an answer to GET {path}"


def _read_count(answer: Answer, name: str, before: int | None) -> int | None:
    """A header of the general limit as a number; what was known before when it is not there."""
    text = answer.headers.get(f"x-organization-rate-limit-{name}", "")
    plain = text.isascii() and text.isdecimal() and len(text) < _LONGEST_COUNT
    return int(text) if plain else before

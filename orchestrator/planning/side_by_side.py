"""Look-ups side by side: of several organizations, and of several account groups of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from orchestrator.planning.discovery import OrganizationSurvey

Asked = TypeVar("Asked")
Found = TypeVar("Found")

ORGANIZATIONS_AT_ONCE = 64
"""Organizations that are asked at once: with answers that take 200 ms, ten thousand of them are asked in half a minute."""

GROUPS_AT_ONCE = 8
"""Account groups of one organization that are read at once: forty of them in the time of five."""


class SideBySide:
    """Threads that look up, made as they are needed; leaving it waits for those that are at it, and begins no more."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(ORGANIZATIONS_AT_ONCE, thread_name_prefix="survey")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, survey: Callable[[], OrganizationSurvey]) -> Future[OrganizationSurvey]:
        """Have an organization surveyed as soon as a thread is free."""
        return self._pool.submit(survey)

    def read_each(self, read: Callable[[Asked], Found], asked: Sequence[Asked]) -> list[Found]:
        """Read several things; what was found comes in the order in which it was asked for.

        The caller's thread reads too, and waits for nothing that no thread has begun: so whoever asks from one of these
        threads goes on although all others have work.
        """
        found: dict[int, Found] = {}
        waiting = deque(enumerate(asked))

        def work() -> None:
            while True:
                try:
                    at, one = waiting.popleft()
                except IndexError:
                    return
                found[at] = read(one)

        helpers = [self._pool.submit(work) for _ in range(min(len(asked), GROUPS_AT_ONCE) - 1)]
        work()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        return [found[at] for at in range(len(asked))]

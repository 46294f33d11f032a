"""The view of a run while it goes on: results on standard output, everything else on standard error.

On a terminal results are table rows above a live line; away from one they are JSON Lines, and standard
error has a line whenever what the run waits for has changed, at most one a minute.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.core import TROUBLE, Ending, Event, Progress, Reason, Result, Run, mask_secrets
from orchestrator.output import log, records, sentences
from orchestrator.output.formats import Output, make_writer
from orchestrator.output.streams import Lines, terminal_room

if TYPE_CHECKING:
    from orchestrator.output.live import LiveLine

ORGANIZATIONS_SHOWN = 5
"""How many organizations' waiting the live line explains: more would fill an incident's terminal."""

MINUTE_BETWEEN_LINES = 60.0
"""Seconds between two lines about waiting, off a terminal."""

SAME_TIME = 5.0
"""Two expected times nearer than this many seconds are the same news."""


MOST_HELD = 100
"""Warnings kept until it is known whether somebody has to act on them: the latest ones."""

WAITS = ("run.waiting", "token.refused")
"""Events about a wait, which is over when the run is: the last line, and an error before it, say how it ended."""


class View:
    """An observer of one run that shows it to whoever started it; `close` it on every way out.

    Standard error never fails (`Outlet`); when standard output does, the run goes on without it. With `--quiet` a
    warning is trouble only if the run does not end well: it is held back until then, and dropped at exit code 0.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._run_id: str | None = None
        self._writer = make_writer(output)
        self._stdout_open = True
        stderr = Lines(output.stderr)
        drawn = Lines(output.stderr, drawn=True)
        self._live = _live_line(drawn, output) if output.live else None
        self._log = log.event_log(
            stderr,
            level=output.level,
            as_json=output.log_format == "json",
            show_links=output.show_links,
            room=partial(terminal_room, output.stderr),
            trace_id=output.trace_id,
        )
        self._news = _News()
        self._held: deque[tuple[Event, float]] | None = deque(maxlen=MOST_HELD) if output.quiet else None

    def on_start(self, run: Run, tasks: int) -> None:
        """Show which run this is."""
        self._run_id = run.id
        self._tell(Event(name="run.begun", text=sentences.start_text(run.job, run.id, tasks)))
        self._print(lambda: self._writer.write_start(run, tasks))

    def on_result(self, result: Result) -> None:
        """Write the result."""
        self._print(lambda: self._writer.write_result(result, self._run_id or ""))

    def on_event(self, event: Event) -> None:
        """Tell the event, if its level is shown; that nothing can be sent, once a minute for each organization."""
        if event.name == "attempt.unsent":
            organization = event.text.partition(":")[0]  # with which its sentence starts
            if not self._news.add_unsent(organization, self._output.clock.boot()):
                event = replace(event, level="debug")
        self._tell(event)

    def on_progress(self, progress: Progress) -> None:
        """Show how far the run is and what it waits for."""
        name_of = self._output.name_of
        waits = [replace(wait, organization=name_of(wait.organization)) for wait in progress.waiting]
        progress = replace(progress, waiting=waits)
        if self._live:
            self._live.show([mask_secrets(line) for line in self._live_lines(progress)])
            return
        if self._output.quiet:
            progress = _only_trouble(progress)
        if self._news.add_waits(progress, self._output.clock.boot()):
            self._tell(self._waiting_event(progress))

    def on_end(self, ending: Ending) -> None:
        """Write the last record and the last line, and leave the terminal as it was."""
        if self._held:  # what it has waited for is over by now, and at 0 so is everything
            self._held = deque(one for one in self._held if ending.exit_code and one[0].name not in WAITS)
        self.close()
        self._print(lambda: self._writer.write_end(ending))
        level = "info" if ending.exit_code == 0 else "warning"
        text = sentences.last_line(ending, store=self._output.store, rehearsal=self._output.rehearsal)
        self._tell(Event(name="run.ended", text=text, level=level))

    def step_aside(self) -> None:
        """Leave the terminal to somebody else; the live line comes back with the next news."""
        if self._live:
            self._live.hide()

    def close(self) -> None:
        """Tell what was held back, take the live line away, give the cursor back; harmless when repeated."""
        held, self._held = self._held, None
        for event, at in held or ():
            self._write(event, at)
        self.step_aside()

    def _print(self, write: Callable[[], None]) -> None:
        """Write to standard output, unless it is gone: the run goes on without it and says so once."""
        if not self._stdout_open:
            return
        try:
            with self._hide_live_line():
                write()
        except OSError as error:
            self._stdout_open = False
            text = f"standard output takes no more ({error.strerror or error}); the run goes on"
            if not self._output.rehearsal:
                text += f", and `tesnap report {self._run_id}` has its results"
            level = (
                "warning" if isinstance(error, BrokenPipeError) else "error"
            )  # who stops reading wants no more
            self._tell(Event(name="output.closed", text=text, level=level))

    def _tell(self, event: Event) -> None:
        """Write a log event above the live line, or hold it back."""
        if log.level_rank(event.level) < log.level_rank(self._output.level):
            return
        now = self._output.clock.wall()
        if self._held is not None and event.level == "warning":
            self._held.append((event, now))
        else:
            self._write(event, now)

    def _write(self, event: Event, at: float) -> None:
        name_of = self._output.name_of
        fields = tuple(
            (key, name_of(value) if key == "organization" and isinstance(value, str) else value)
            for key, value in event.fields
        )
        with self._hide_live_line():
            log.write_event(self._log, replace(event, fields=fields), now=at, run_id=self._run_id)

    @contextmanager
    def _hide_live_line(self) -> Iterator[None]:
        """Keep the live line out of the way of what is printed."""
        lines = self._live.hide() if self._live else ()
        try:
            yield
        finally:
            if self._live and lines:
                self._live.show(lines)

    def _live_lines(self, progress: Progress) -> list[str]:
        """The state of the run, the reasons of the most urgent organizations to wait, and how many more wait."""
        shown, zone = progress.waiting[:ORGANIZATIONS_SHOWN], self._output.zone
        reasons = [sentences.waiting_text(wait, progress.now, zone) for wait in shown]
        more = progress.organizations_waiting - len(shown)
        return [
            sentences.progress_text(self._run_id or "", progress.counts),
            *reasons,
            *([f"and {more} more"] if more else []),
        ]

    def _waiting_event(self, progress: Progress) -> Event:
        """The sentence, and for machines the most urgent organizations one by one."""
        waits = progress.waiting
        shown = [records.known_fields(records.wait_fields(wait)) for wait in waits[:ORGANIZATIONS_SHOWN]]
        level = "warning" if waits[0].reason in TROUBLE else "info"
        text = sentences.waitings_text(progress, self._output.zone)
        fields = (("waiting", shown), ("organizations", progress.organizations_waiting))
        return Event(name="run.waiting", text=text, level=level, fields=fields)


class _News:
    """The lines about waiting that were told: one is news once a minute at most, and only if it says something new."""

    def __init__(self) -> None:
        self._waits: dict[tuple[str, Reason], float | None] = {}
        self._others: Mapping[Reason, int] = {}
        self._at = -math.inf
        self._unsent_at: dict[str, float] = {}

    def add_waits(self, progress: Progress, boot: float) -> bool:
        """Take its waits for told; False if no line about them is due."""
        new = {(wait.organization, wait.reason): wait.until for wait in progress.waiting}
        if not new or boot - self._at < MINUTE_BETWEEN_LINES or self._has(new, progress.others):
            return False
        self._waits, self._others, self._at = new, progress.others, boot
        return True

    def add_unsent(self, organization: str, boot: float) -> bool:
        """Take it for told that nothing can be sent there; False if that was told within the last minute."""
        if boot - self._unsent_at.get(organization, -math.inf) < MINUTE_BETWEEN_LINES:
            return False
        self._unsent_at[organization] = boot
        return True

    def _has(self, new: dict[tuple[str, Reason], float | None], others: Mapping[Reason, int]) -> bool:
        """True if the same organizations wait for the same things until about the same times."""
        alike = self._waits.keys() == new.keys() and self._others == others
        return alike and all(_near(self._waits[key], new[key]) for key in new)


def _only_trouble(progress: Progress) -> Progress:
    """The progress without the waits that need nobody to act."""
    return replace(
        progress,
        waiting=[wait for wait in progress.waiting if wait.reason in TROUBLE],
        others={reason: number for reason, number in progress.others.items() if reason in TROUBLE},
    )


def _live_line(drawn: Lines, output: Output) -> LiveLine | None:
    """The live line; None where the terminal cannot draw over what it shows. Off a terminal it is not even imported."""
    from orchestrator.output.live import LiveLine

    live = LiveLine(drawn, no_color=output.no_color, environ=output.environ)
    return None if live.dumb else live


def _near(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= SAME_TIME

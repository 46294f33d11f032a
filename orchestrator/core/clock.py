"""Time: the only module that reads a clock or sleeps.

Two clocks do everything: `SystemClock` in production, and `ScaledClock` for rehearsals (one clock for
product, store and simulator, running faster).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Time as the program knows it; all values in seconds."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC, as the calendar has it: may be set back and forth."""

    def boot(self) -> float:
        """Seconds since some fixed moment, suspended time included; never set."""

    def boot_id(self) -> str:
        """Which boot `boot()` counts from: values under different ids cannot be compared."""

    def real(self, seconds: float) -> float:
        """How many seconds of real time these seconds take: what a socket's timeout is given."""

    def sleep(self, seconds: float) -> None:
        """Let this much time pass."""


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> float:
        return time.time()

    def boot(self) -> float:
        return time.clock_gettime(_BOOT_CLOCK)

    def boot_id(self) -> str:
        return _boot_id()

    def real(self, seconds: float) -> float:
        return seconds

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class ScaledClock:
    """The system's time, `speed` times as fast from the moment of making."""

    def __init__(self, speed: float, base: Clock | None = None) -> None:
        self.speed = speed
        self._base = base or SystemClock()
        self._wall, self._boot = self._base.wall(), self._base.boot()

    def wall(self) -> float:
        return self._wall + (self._base.boot() - self._boot) * self.speed

    def boot(self) -> float:
        return self._boot + (self._base.boot() - self._boot) * self.speed

    def boot_id(self) -> str:
        return f"{self._base.boot_id()}x{self.speed:g}"

    def real(self, seconds: float) -> float:
        return seconds / self.speed

    def sleep(self, seconds: float) -> None:
        self._base.sleep(seconds / self.speed)


def machine_zone() -> tzinfo:
    """The machine's own time zone, as an offset from UTC that holds now."""
    return datetime.now(UTC).astimezone().tzinfo or UTC


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # CLOCK_BOOTTIME is Linux's


@cache
def _boot_id() -> str:
    """Linux's id of this boot; elsewhere the moment of booting, to ten minutes, as it was when the process asked first.

    With the time namespace, where there is one: each has a boot clock of its own, and they share the id.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{round((time.time() - time.clock_gettime(_BOOT_CLOCK)) / 600)}"
    try:
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return boot


def utc_text(epoch: float, *, timespec: str = "seconds") -> str:
    """The instant as a record has it: `2026-11-20T14:00:00Z`, finer parts dropped."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"

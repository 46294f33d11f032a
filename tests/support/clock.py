"""Virtual time, which jumps."""

from __future__ import annotations

import threading


class VirtualClock:
    """Time that moves only when told to; wall and boot clock can be set apart."""

    def __init__(
        self, wall: float = 1_795_000_000.0, boot: float = 1000.0, *, boot_id: str = "virtual"
    ) -> None:
        self._lock = threading.Lock()
        self._wall, self._boot, self._boot_id = wall, boot, boot_id

    def wall(self) -> float:
        return self._wall

    def boot(self) -> float:
        return self._boot

    def boot_id(self) -> str:
        return self._boot_id

    def real(self, seconds: float) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        with self._lock:
            self._wall += seconds
            self._boot += seconds

    def set_wall(self, wall: float) -> None:
        """Set the calendar, as an administrator or NTP does."""
        self._wall = wall

    def reboot(self, boot_id: str, boot: float = 0.0) -> None:
        """Start the boot clock anew under another id."""
        self._boot_id, self._boot = boot_id, boot

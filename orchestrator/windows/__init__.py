"""Time windows: what was written becomes `[start, end)` of a length that the API takes.

Where to look:

    windows     keys -> windows, their lengths, and how one is fitted
    instants    moments: what people write, and how they are written for them
    zones       time zones: regions by name, rules, and what is neither
    durations   `1h30m` -> seconds
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.windows.durations import DAY, format_duration, parse_duration
    from orchestrator.windows.instants import (
        clock_time,
        day_text,
        local_text,
        parse_instant,
        parse_moment,
        window_text,
        window_texts,
    )
    from orchestrator.windows.windows import LENGTHS, age_warning, check_window, resolve_window
    from orchestrator.windows.zones import zone, zone_by_rules, zone_note
else:
    __getattr__ = lazy_face(__name__)

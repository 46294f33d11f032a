"""The arithmetic of the limit: tokens, the gate, waits between attempts, forecasts. Pure: `now` is an argument.

Where to look:

    bucket     tokens, and the gate that a 429 closes: who may send, and when
    backoff    the wait before another attempt after a server's error
    forecast   when the next ones will start
    reads      what may be read within the general limit
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.ratelimit.backoff import Backoff
    from orchestrator.ratelimit.bucket import (
        CLOSINGS_TO_DOUBLE,
        IN_SINCE_EVER,
        Bucket,
        Decision,
        Demand,
        Gate,
        Go,
        Token,
        Wait,
        close_gate,
        decide,
        evidence_time,
        gate_after_probe,
        longest_hold,
        may_send,
        pessimistic_return,
        return_after_reboot,
        search_end,
        settled_return,
    )
    from orchestrator.ratelimit.forecast import ASSUMED_LATENCY, ForecastStart, estimate_done, forecast_starts
    from orchestrator.ratelimit.reads import USABLE, ReadShare, end_reads, follow_clock, reserve_reads
else:
    __getattr__ = lazy_face(__name__)

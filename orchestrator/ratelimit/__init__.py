"""The arithmetic of the limit: tokens, the gate, waits between attempts, forecasts. Pure: `now` is an argument."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.ratelimit.backoff import Backoff
    from orchestrator.ratelimit.bucket import (
        CLOSINGS_TO_DOUBLE,
        IN_SINCE_EVER,
        Bucket,
        Demand,
        Gate,
        Go,
        Token,
        Wait,
        after_probe,
        after_reboot,
        close_gate,
        decide,
        evidence_time,
        longest_hold,
        may_send,
        pessimistic_return,
        settled_return,
    )
    from orchestrator.ratelimit.forecast import ASSUMED_LATENCY, Start, estimate_done, forecast_starts
else:
    __getattr__ = lazy_face(__name__)

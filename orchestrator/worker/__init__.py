"""Grant, send, settle, until the queue is empty.

Where to look:

    worker         the loop
    organization   the organizations as this process serves them, and whom to look at next
    grants         asking the store for leases, and waiting for what it says
    sender         between the loop and the wire: sends side by side, ends in one place
    commits        one commit for all threads that want one at the same time
    renewal        tokens that were refused, and whose files are read again
    in_flight      the requests under way, and what is learnt from their ends
    settlement     what the end of an attempt makes of its task
    reconcile      what became of requests whose answers were lost
    watch          what other processes did, and what was settled
    clock_guard    the store's clock against ours
    progress       how far the run is
    ending         why and how a run ends
    notices        events worth a log line
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.worker.organization import ApiCalendar, ServedOrganization
    from orchestrator.worker.renewal import REREAD_EVERY, REREAD_WITHIN
    from orchestrator.worker.sender import PoolSender
    from orchestrator.worker.settlement import stop_on_unexpected_snapshots
    from orchestrator.worker.worker import Worker
else:
    __getattr__ = lazy_face(__name__)

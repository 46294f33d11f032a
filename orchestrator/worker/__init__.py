"""Grant, send, settle, until the queue is empty."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.worker.organization import ApiCalendar, ServedOrganization
    from orchestrator.worker.sender import PoolSender
    from orchestrator.worker.settlement import stop_on_unexpected_snapshots
    from orchestrator.worker.worker import Worker
else:
    __getattr__ = lazy_face(__name__)

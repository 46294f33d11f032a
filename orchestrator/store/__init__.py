"""The durable queue: tasks, leases and tokens in SQLite or PostgreSQL."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.store.opening import open_store, store_exists
    from orchestrator.store.queue import Queue
    from orchestrator.store.views import Ask, RunView, Serving
else:
    __getattr__ = lazy_face(__name__)

"""The durable queue: tasks, leases and tokens in SQLite or PostgreSQL."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.store.queue import Ask
    from orchestrator.store.store import Store, open_store, store_exists
    from orchestrator.store.views import RunView, ServingProcess, Views
else:
    __getattr__ = lazy_face(__name__)

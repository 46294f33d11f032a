"""The durable queue: tasks, leases and tokens in SQLite or PostgreSQL.

Where to look:

    address         which file or database an address means
    store           opening a store by its address; its parts:
    queue           what a process asks of it: grants, first bytes, ends, and whom it still answers for
    grants          tokens and tasks for many organizations at once
    runs            starting with a plan, trying again, ending
    freezing        a plan on its way into the store, and what a dead process left of one
    organizations   names and identities, and what a bucket holds
    joining         many organizations at a start
    sharing         who shares a bucket: joining, and parting again
    merging         two organizations that turn out to be one
    reads           reads that are reserved, within the general limit
    uncertain       what became of lost answers
    views           looks that change nothing
    history         all runs and snapshots, page by page
    pruning         runs that are old and over, forgotten with their tasks
    stubs           what is left of a forgotten snapshot that may exist for ever
    clocks          the store's clock beside those of machines
    leases          a task from its grant to its end
    rows            rows <-> nouns
    sql             every statement, by name
    freezing_sql    those of a plan on its way
    sharing_sql     those of sharing and merging
    history_sql     those that look at many runs at once
    pruning_sql     those that forget
    schema          the tables, and how an older store becomes a present one
    database        the seam between all of these and a database
    sqlite          one file
    reboot          its times, when the machine was started anew
    backup          a copy of it, and a store that was put back from one
    files           its names: made, compared with what is open, marked
    loss            a file that does not hold all that was kept there
    postgres        a server, for many machines
    sessions        sessions with it, and poolers that share them out
    starts          who started a job, and how that ended
    locks           which processes live that use a file
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.store.address import AddressInFile, shown_address, sqlite_address
    from orchestrator.store.backup import back_up, restore
    from orchestrator.store.clocks import ClockReading
    from orchestrator.store.database import Size
    from orchestrator.store.grants import Ask, Grant
    from orchestrator.store.history import History
    from orchestrator.store.joining import Joining
    from orchestrator.store.leases import End
    from orchestrator.store.locks import Holder
    from orchestrator.store.pruning import Forgotten
    from orchestrator.store.reads import ReadAsk, ReadGrant
    from orchestrator.store.store import Store, open_store, store_exists
    from orchestrator.store.views import Loss, RunSummary, RunView, Search, ServingProcess, Views
else:
    __getattr__ = lazy_face(__name__)

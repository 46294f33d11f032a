"""The use cases, one a file: each puts the parts of the other packages together.

Where to look:

    make_snapshots   prepare a run, freeze its plan, work until nothing is left
    make_plan        what a run would do now, without doing it
    organizations    with which credential each organization is served, and who it turns out to be
    reading          reads that are reserved in the store
    identities       asking again who an organization is, while a run goes on
    job_start        a start from its beginning to its end: remembered, measured, pinged
    history          the runs that a store holds already
    prune            old runs are forgotten
    find_tests       the tests that selectors mean
    examine          what would go wrong, before it does (`doctor`)
    rehearsal        the whole run against the simulator
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.app.examine import (
        check_lines,
        checks_document,
        examine_notify,
        examine_organization,
        examine_store,
        worst_code,
    )
    from orchestrator.app.find_tests import matching_tests, read_lists
    from orchestrator.app.identities import ask_again
    from orchestrator.app.job_start import JobStart, Watching, user_name
    from orchestrator.app.make_plan import preview_plan, preview_run
    from orchestrator.app.make_snapshots import Preparation, RunOptions, prepare, start_run
    from orchestrator.app.organizations import USER_AGENT, Organizations
    from orchestrator.app.prune import forget_after_run, forget_runs
    from orchestrator.app.rehearsal import rehearse
else:
    __getattr__ = lazy_face(__name__)

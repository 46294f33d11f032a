"""The use cases, one a file: each puts the parts of the other packages together."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.app.examine import (
        check_lines,
        checks_document,
        examine_notify,
        examine_one,
        examine_store,
        organizations_to_check,
        worst_code,
    )
    from orchestrator.app.find_tests import matching_tests, read_lists
    from orchestrator.app.make_plan import planned
    from orchestrator.app.make_snapshots import App, Planned, RunOptions, for_run, run
    from orchestrator.app.rehearsal import rehearsed
else:
    __getattr__ = lazy_face(__name__)

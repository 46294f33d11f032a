"""YAML becomes a `JobFile`, or every error at once with its line and column."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.jobfile.adhoc import (
        AdhocJob,
        AdhocRequest,
        find_organizations,
        make_adhoc_job,
        make_search_job,
        read_test_ids,
        settings_without_file,
    )
    from orchestrator.jobfile.reader import read_jobfiles, starter
    from orchestrator.jobfile.schema import json_schema
else:
    __getattr__ = lazy_face(__name__)

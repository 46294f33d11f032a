"""YAML becomes a `JobFile`, or every error at once with its line and column.

Where to look:

    reader          job files to one `JobFile`; the starter file
    yaml_document   text -> nodes with positions
    document        where everything stands, and all there is to say against it
    grammar         nodes -> the entries of the schema, and its errors in words
    schema          the keys: what each may hold
    types           the scalars that they hold
    kinds           kinds of values: how each is read, what is wrong with it, its JSON Schema
    builder         entries -> organizations, windows, settings, jobs
    adhoc           the words of `tesnap snap` -> a job file with one job
    typed_ids       ids of tests as people bring them
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.jobfile.adhoc import (
        AdhocJob,
        AdhocRequest,
        find_organizations,
        make_adhoc_job,
        make_search_job,
        settings_without_file,
    )
    from orchestrator.jobfile.reader import CheckedJobFile, read_jobfiles, starter
    from orchestrator.jobfile.schema import json_schema
    from orchestrator.jobfile.typed_ids import read_test_ids
else:
    __getattr__ = lazy_face(__name__)

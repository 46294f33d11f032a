"""A job file and the API's lists become tasks with their windows."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.planning.alerts import lookouts
    from orchestrator.planning.discovery import (
        SERVER_ERROR,
        OrganizationSurvey,
        find_out,
        group_names,
        own_group,
        survey_events,
    )
    from orchestrator.planning.preview import Entry, Preview, make_preview
    from orchestrator.planning.scheduler import Plan, Survey, make_plan
    from orchestrator.planning.selection import SelectedTest, choose, require, require_lists
    from orchestrator.planning.unreadable import NAMED_AT_MOST, Cause, merged
else:
    __getattr__ = lazy_face(__name__)

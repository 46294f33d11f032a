"""A job file and the API's lists become tasks with their windows."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.planning.alerts import alert_windows
    from orchestrator.planning.discovery import (
        OrganizationSurvey,
        group_names,
        own_group,
        survey_events,
        survey_organization,
    )
    from orchestrator.planning.preview import PlannedSnapshot, Preview, make_preview
    from orchestrator.planning.scheduler import Plan, make_plan
    from orchestrator.planning.selection import (
        Scope,
        SelectedTest,
        Selection,
        check_lists,
        check_selection,
        make_scope,
        select_tests,
    )
    from orchestrator.planning.unreadable import UnreadableCause, merge_alike
else:
    __getattr__ = lazy_face(__name__)

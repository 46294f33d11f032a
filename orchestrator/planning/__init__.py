"""A job file and the API's lists become tasks with their windows.

Where to look:

    discovery    the survey of an organization: who it is, what its lists say
    side_by_side  many look-ups at once
    unreadable   lists that could not be read
    selection    the tests that a job means
    refusal      organizations that are refused before their first request
    alerts       moments at which alerts matter
    scheduler    the plan: tasks in order, each with its window and earliest time
    ended_events  saved events whose thirty days are over
    preview      the plan with the time at which each snapshot would be made
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.planning.alerts import alert_windows
    from orchestrator.planning.discovery import (
        OrganizationSurvey,
        ask_who_it_is,
        group_names,
        own_group,
        survey_events,
        survey_organization,
    )
    from orchestrator.planning.ended_events import EndedEvents
    from orchestrator.planning.preview import (
        PlannedOrganization,
        PlannedSnapshot,
        PlanTotals,
        Preview,
        order_snapshots,
    )
    from orchestrator.planning.refusal import (
        check_lists,
        check_selection,
        describe_fewer,
        join_texts,
    )
    from orchestrator.planning.scheduler import Plan, make_plan
    from orchestrator.planning.selection import (
        Scope,
        SelectedTest,
        Selection,
        make_scope,
        select_tests,
    )
    from orchestrator.planning.side_by_side import SideBySide
    from orchestrator.planning.unreadable import UnreadableCause, merge_alike
else:
    __getattr__ = lazy_face(__name__)

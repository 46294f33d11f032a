"""ThousandEyes over HTTP: one attempt at one call, what its answer means, and what the API lists."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.api.catalog import (
        AccountGroup,
        Alert,
        CatalogError,
        ConfiguredTest,
        Getter,
        Tag,
        TokenUser,
        parse_user,
        read_account_groups,
        read_alerts,
        read_permissions,
        read_tags,
        read_tests,
    )
    from orchestrator.api.client import Client, snapshot_call
    from orchestrator.api.credentials import Bearer, ReadBearer, read_bearer, read_bearers
    from orchestrator.api.read_limit import OnPause, PacedGetter, Pause
    from orchestrator.api.response import Answer, explain
    from orchestrator.api.verdict import Outcome, Verdict, judge
    from orchestrator.api.webhook import post_message, read_address
else:
    __getattr__ = lazy_face(__name__)

"""Lists that could not be read: the words, the remedy that fits, and the kind of the error."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.catalog import CatalogError
from orchestrator.core.errors import AccessRefused, ApiUnavailable, SelectionError
from orchestrator.core.tasks import Problem
from orchestrator.planning.unreadable import (
    UnreadableCause,
    UnreadableList,
    describe_missing,
    unreadable_error,
    unreadable_list,
)


def failed(status: int | None, **more: Any) -> CatalogError:
    """A list that could not be read."""
    return CatalogError("the alerts", Problem(title="Oh", detail="It broke."), status, **more)


@pytest.mark.parametrize(
    ("error", "cause", "remedy", "raised"),
    [
        (
            failed(None),
            UnreadableCause.UNREACHABLE,
            "check the network, the proxy and base_url",
            ApiUnavailable,
        ),
        (failed(200, cut_off=True), UnreadableCause.UNREACHABLE, "check the network", ApiUnavailable),
        (failed(500), UnreadableCause.SERVER, "try again shortly", ApiUnavailable),
        (failed(503), UnreadableCause.SERVER, "try again shortly", ApiUnavailable),
        (failed(429), UnreadableCause.BUSY, "in about a minute", ApiUnavailable),
        (failed(403), UnreadableCause.FORBIDDEN, "add 'View alerts' to a role", AccessRefused),
        (failed(200), UnreadableCause.NOT_THE_API, "check that base_url is the API's", SelectionError),
        (failed(404), UnreadableCause.NOT_THE_API, "check that base_url is the API's", SelectionError),
        (
            failed(200, incomplete=True),
            UnreadableCause.INCOMPLETE,
            "a gateway that changes the addresses",
            SelectionError,
        ),
    ],
)
def test_the_reason_decides_the_remedy_and_the_kind_of_error(
    error: CatalogError, cause: UnreadableCause, remedy: str, raised: type[Exception]
) -> None:
    """A permission is asked for only where one is missing, and only what passes is worth another try."""
    missing = unreadable_list("alerts", "account group 7", error)
    assert missing.cause is cause
    assert missing.text == "the alerts of account group 7 cannot be read: Oh. It broke."
    assert remedy in missing.remedy
    assert ("View" in missing.remedy) is (cause is UnreadableCause.FORBIDDEN)
    with pytest.raises(
        raised, match=r"^no test can be selected: the alerts of account group 7 cannot be read: Oh"
    ):
        raise unreadable_error("no test can be selected", [missing])


def test_the_same_trouble_is_said_once() -> None:
    """Several account groups that fail alike are one sentence with one remedy."""
    two = [unreadable_list("tests", f"account group {aid}", failed(500)) for aid in ("1", "2")]
    assert describe_missing([*two, two[0]]) == (
        "the tests of account group 1 and account group 2 cannot be read: Oh. It broke. Do this: the trouble is on"
        " ThousandEyes' side or a gateway's: try again shortly"
    )


def test_account_groups_are_no_list_with_a_permission_of_its_own() -> None:
    """Nobody documents a permission's name for them."""
    missing = UnreadableList(
        of="account groups", where="", because="Forbidden.", cause=UnreadableCause.FORBIDDEN
    )
    assert missing.text == "the account groups cannot be read: Forbidden."
    assert missing.remedy.startswith("have an administrator let the token's user read the account groups")

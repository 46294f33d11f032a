"""The campaign of stores that are moved and lost, in short: real processes, real files, a real server."""

from __future__ import annotations

import pytest

from tests.chaos.store_files import play_all


@pytest.mark.process
@pytest.mark.socket
@pytest.mark.parametrize("harmless", [True, False])
def test_what_is_done_to_the_file_breaks_no_promise(*, harmless: bool) -> None:
    """A kill alone is no loss; what else is done is said, and the limit kept."""
    rounds = play_all(2, seed=7, workers=2, harmless=float(harmless))
    assert [breach for one in rounds for breach in one.breaches()] == []

"""What a rehearsal's world is made of."""

from __future__ import annotations

import io

from orchestrator.app.rehearsal import world_for
from orchestrator.jobfile.reader import read_jobfiles

JOBFILE = """\
version: 1
organization_defaults: {token_env: T}
organizations: {acme: {}, globex: {limit: {snapshots: 10, per: 1h}}}
jobs: [{name: a, organization: "*", tests: ["202701"], windows: [{last: 1h}]}]
"""


def test_each_organization_has_the_limit_that_the_file_says() -> None:
    """Not that of the first one."""
    jobfile = read_jobfiles(["-"], environ={}, stdin=io.StringIO(JOBFILE)).jobfile
    world = world_for(jobfile, 1_795_000_000.0)
    found = {one.name: (one.limit, one.period) for one in world.organizations}
    assert found == {"acme": (5, 300.0), "globex": (10, 3600.0)}

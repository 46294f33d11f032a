"""Starts of jobs are remembered after their processes have gone, in both stores."""

from __future__ import annotations

from orchestrator.core.starts import Start, StartEnd
from orchestrator.core.tasks import Reason, RefusedOrganization, Run
from tests.store.world import World

NIGHTLY = Start(
    job="nightly", command="run", user="alice", host="host-1", pid=7, version="1.2.3", attended=True
)


def end(world: World, start: Start, code: int, *, run: str | None = None, **known: object) -> None:
    """A start that ends an hour later."""
    mark = world.store.starts.begin(start)
    if run is not None:
        world.store.starts.set_run(mark, run)
        start = start._replace(run_id=run)
    world.advance(3600)
    world.store.starts.end(mark, start, StartEnd(exit_code=code, last_line="over", **known))  # type: ignore[arg-type] # of mixed types


def test_a_start_is_remembered_with_its_end(world: World) -> None:
    """Who, where, when, the exit code and the last line; before its end there is none of these."""
    world.begin(1)
    mark = world.store.starts.begin(NIGHTLY)
    world.store.starts.set_run(mark, "r1")
    started = world.store.starts.last_of(["r1", "other"])["r1"]
    assert (started.ended_at, started.exit_code, started.user, started.host) == (
        None,
        None,
        "alice",
        "host-1",
    )
    world.advance(60)
    world.store.starts.end(mark, started, StartEnd(exit_code=4, last_line="12 pending"))
    ended = world.store.starts.last_of(["r1"])["r1"]
    assert (ended.exit_code, ended.last_line, ended.pid, ended.version) == (4, "12 pending", 7, "1.2.3")
    assert ended.ended_at is not None
    assert ended.ended_at - ended.began_at == 60


def test_the_last_start_of_a_run_counts(world: World) -> None:
    """A run that was carried on has several."""
    world.begin(1)
    end(world, NIGHTLY, 5, run="r1")
    end(world, NIGHTLY._replace(command="resume"), 0, run="r1")
    assert world.store.starts.last_of(["r1"])["r1"].command == "resume"


def test_the_last_success_survives_failures_and_parts_are_none(world: World) -> None:
    """A success, a failure, a part that is made: the job's last success is the first one."""
    world.begin(1)
    end(world, NIGHTLY, 0, run="r1", whole={"acme": 1})
    first = world.store.starts.last_done("nightly")
    assert first is not None
    end(world, NIGHTLY, 3)
    end(world, NIGHTLY._replace(part=True), 0, whole={"acme": 9})
    assert world.store.starts.last_done("nightly") == first
    last = world.store.starts.last("nightly")
    assert last is not None
    assert (last.exit_code, last.run_id) == (3, None)
    assert {name: one.tasks for name, one in world.store.starts.successes("nightly").items()} == {"acme": 1}
    end(world, NIGHTLY._replace(job="by hand", part=True), 0)
    assert world.store.starts.jobs() == ["nightly"]


def test_an_organization_has_a_last_success_of_its_own(world: World) -> None:
    """The one in trouble keeps its old one."""
    end(world, NIGHTLY, 0, whole={"acme": 1, "globex": 2})
    end(world, NIGHTLY, 4, whole={"acme": 3})
    found = world.store.starts.successes("nightly")
    assert found["acme"].at - found["globex"].at == 3600
    assert (found["acme"].tasks, found["globex"].tasks) == (3, 2)


def test_why_tasks_are_pending_is_remembered_until_the_next_end(world: World) -> None:
    """By identity, also one that was learnt since."""
    identity = world.begin(2)
    end(world, NIGHTLY, 4, run="r1", reasons={identity: Reason.TOKEN_REFUSED.value})
    assert world.store.starts.reasons("r1") == {identity: "token_refused"}
    end(world, NIGHTLY, 0, run="r1")
    assert world.store.starts.reasons("r1") == {}


def test_a_run_remembers_whom_its_plan_leaves_out(world: World) -> None:
    """Frozen with it: another process that carries it on knows as much."""
    refused = (RefusedOrganization(name="globex", reason=Reason.TOO_FEW_TESTS, text="no test matches"),)
    world.store.runs.start(Run(id="r9", job="nightly", refused=refused), [])
    assert world.store.views.run("r9").run.refused == refused
    assert world.store.views.find_run("r9").refused == refused


def test_the_latest_run_of_a_person_is_none_of_cron(world: World) -> None:
    """Only what was started at a terminal, by the same user on the same machine."""
    for run in ("r1", "r2", "r3", "r4"):
        world.store.runs.start(Run(id=run, job="nightly"), [])
    end(world, NIGHTLY, 0, run="r1")
    end(world, NIGHTLY._replace(attended=False), 0, run="r2")
    end(world, NIGHTLY._replace(host="host-2"), 0, run="r3")
    end(world, NIGHTLY._replace(user="bob"), 0, run="r4")
    end(world, NIGHTLY, 0, run="forgotten")
    assert world.store.starts.latest_run("alice", "host-1") == "r1"
    assert world.store.starts.latest_run("carol", "host-1") is None


def test_an_incident_is_found_by_its_title(world: World) -> None:
    """All its runs, the oldest first, each once, however its title is typed."""
    incident = NIGHTLY._replace(command="snap", title="INC-4711")
    for run in ("r1", "r2", "r1"):
        end(world, incident, 0, run=run)
    end(world, incident._replace(title="INC-47"), 0, run="r3")
    end(world, incident, 4)
    assert world.store.starts.titled("inc-4711") == ["r1", "r2"]
    assert world.store.starts.last_of(["r1"])["r1"].title == "INC-4711"
    assert world.store.starts.titled("") == []


def test_a_job_that_was_forgotten_is_told_of_again_when_it_has_run_again(world: World) -> None:
    """Neither its name nor its successes nor its last start are there; how its run ended is, and other jobs are as before."""
    world.begin(1)
    end(world, NIGHTLY, 0, run="r1", whole={"acme": 1})
    end(world, NIGHTLY._replace(job="weekly"), 0, whole={"acme": 2})
    under_way = world.store.starts.begin(NIGHTLY)
    world.store.starts.forget_job("nightly")
    starts = world.store.starts
    assert starts.jobs() == ["weekly"]
    assert (starts.last("nightly"), starts.last_done("nightly"), dict(starts.successes("nightly"))) == (
        None,
        None,
        {},
    )
    assert starts.last_of(["r1"])["r1"].exit_code == 0
    assert (starts.last_done("weekly") is not None, starts.successes("weekly")["acme"].tasks) == (True, 2)
    starts.end(under_way, NIGHTLY, StartEnd(exit_code=3, last_line="over"))
    last = starts.last("nightly")
    assert last is not None
    assert (last.exit_code, starts.last_done("nightly"), starts.jobs()) == (3, None, ["nightly", "weekly"])

"""Sentences and rows: what people read of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.events import Ending, Progress, Waiting
from orchestrator.core.jobs import Window
from orchestrator.core.tasks import (
    Counts,
    Problem,
    Reason,
    RefusedOrganization,
    Result,
    Run,
    RunState,
    Snapshot,
    Status,
    Task,
)
from orchestrator.output import sentences
from tests.support.reports import created

BERLIN, UTC_ZONE, SAO_PAULO = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), ZoneInfo("America/Sao_Paulo")
NOW = 1_795_184_810.0  # 2026-11-20T14:26:50Z, 15:26:50 in Berlin
DAY = 86_400

COUNTS = st.builds(
    Counts,
    **{
        word: st.integers(0, 3)
        for word in ("created", "existing", "failed", "uncertain", "queued", "leased", "sending")
    },
)


def why(reason: Reason, until: float | None = NOW + 252, **fields: object) -> Waiting:
    waiting = Waiting(organization="acme", reason=reason, until=until, left=37)
    return dataclasses.replace(waiting, **fields)  # type: ignore[arg-type]  # fields by name


def ending(
    counts: Counts, reasons: dict[str, int] | None = None, *, state: RunState = RunState.ACTIVE
) -> Ending:
    run = Run(id="k7f2", job="nightly-edge", state=state, files=("my jobs.yaml",))
    return Ending(run=run, counts=counts, pending_reasons=reasons or {}, exit_code=0, seconds=1.0)


def result(**fields: object) -> Result:
    task = Task(
        organization="id",
        account_group="1",
        test_id="202701",
        window=Window(start=1_795_183_200, end=1_795_190_400),
        is_public=False,
        test_name="Checkout EU",
        display_name="x",
        job_name="checkout",
    )
    made = Snapshot(id="wdiac", link="https://app.example.com/s/wdiac")
    base = Result(task=task, status=Status.CREATED, snapshot=made, settled_wall=NOW)
    return dataclasses.replace(base, **fields)  # type: ignore[arg-type]  # fields by name


def test_used_slots_are_explained_word_for_word() -> None:
    """All slots used: whose, when the next is free and in how long, how many are left, when all are done."""
    waiting = why(Reason.OWN_QUOTA, done=NOW + 2290)
    assert sentences.waiting_text(waiting, NOW, BERLIN) == (
        "all 5 slots of acme used; next 15:31:02 CET (4 m 12 s); 37 left; done about 16:05 CET"
    )


def test_a_single_slot_is_not_all_1_slots() -> None:
    """With `use: 1` there is one slot."""
    assert sentences.waiting_text(why(Reason.OWN_QUOTA, slots=1), NOW, BERLIN).startswith(
        "the only slot of acme used;"
    )


def test_a_refusal_is_explained_word_for_word() -> None:
    """A 429 says whose fault it is not, that nothing was made, and when it is tried again."""
    expected = (
        "acme: refused (429): somebody outside this store used the quota (web app, another token or machine). "
        "Nothing was made. One try at 15:31 CET."
    )
    assert sentences.refusal_text("acme", NOW + 252, BERLIN) == expected
    assert sentences.waiting_text(why(Reason.FOREIGN_QUOTA), NOW, BERLIN) == f"{expected} 37 left"


@pytest.mark.parametrize("reason", [one for one in Reason if one is not Reason.FOREIGN_QUOTA])
@pytest.mark.parametrize("until", [NOW + 252, NOW - 1, None])
def test_every_reason_says_what_it_waits_for_and_until_when(reason: Reason, until: float | None) -> None:
    """Each sentence names the organization, what comes next and how many are left."""
    sentence = sentences.waiting_text(why(reason, until), NOW, BERLIN)
    assert "acme" in sentence
    assert "; next " in sentence
    assert sentence.endswith("; 37 left")
    assert ("15:31:02 CET (4 m 12 s)" in sentence) is (until == NOW + 252)


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (Reason.OWN_QUOTA, Reason.FOREIGN_QUOTA)])
def test_a_sentence_has_the_words_of_its_reason(reason: Reason) -> None:
    """What is searched for in the log is found on the terminal as well."""
    assert sentences.reason_text(reason) in sentences.waiting_text(why(reason), NOW, BERLIN)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (0.2, "1 s"),
        (60, "1 m"),
        (252, "4 m 12 s"),
        (3600 + 300 + 7, "1 h 5 m"),
        (DAY + 5, "1 d"),
    ],
)
def test_a_length_of_time_has_two_units(seconds: float, text: str) -> None:
    """The two largest units are enough, and a countdown never shows zero too early."""
    assert sentences.duration_text(seconds) == text


def told(*whys: Waiting, others: Mapping[Reason, int] | None = None) -> str:
    """The line about these waits and so many others."""
    waiting = sorted(whys, key=lambda one: one.urgency)
    progress = Progress(now=NOW, counts=Counts(), waiting=waiting, others=others or {})
    return sentences.waitings_text(progress, BERLIN)


def test_several_organizations_are_one_line() -> None:
    """Trouble comes first, the others are counted by reason."""
    quota = why(Reason.OWN_QUOTA)
    whys = [quota, why(Reason.TOKEN_REFUSED, None, organization="beta"), why(Reason.OWN_QUOTA, NOW + 9)]
    line = told(*whys)
    assert line.startswith("beta: token refused; next when the token is replaced")
    assert line.endswith("; and 2 more: own quota")
    mixed = told(*whys, why(Reason.STORE))
    assert mixed.endswith("and 3 more: 1 token refused, 2 own quota")
    assert told(quota) == sentences.waiting_text(quota, NOW, BERLIN)
    assert told(*whys, others={Reason.OWN_QUOTA: 9_000, Reason.BACKOFF: 1}).endswith(
        "; and 9003 more: 9002 own quota, 1 backoff"
    )


def test_the_last_line_word_for_word() -> None:
    """Everything that can become of tasks, why some are pending, and what to type next."""
    counts = Counts(created=42, existing=3, failed=2, uncertain=1, queued=12)
    assert sentences.last_line(ending(counts, {"token_refused": 12})) == (
        "42 created, 3 existing, 2 FAILED, 1 UNCERTAIN, 12 pending (token refused): tesnap resume k7f2"
    )


@pytest.mark.parametrize(
    ("counts", "reasons", "line"),
    [
        (Counts(created=1), {}, "1 created: tesnap report k7f2"),
        (Counts(existing=3), {}, "3 existing: tesnap report k7f2"),
        (Counts(created=1, failed=2), {}, "1 created, 2 FAILED: tesnap resume k7f2 --failed"),
        (Counts(uncertain=1), {}, "1 UNCERTAIN: tesnap settle k7f2"),
        (
            Counts(created=1, failed=3, queued=4),
            {"permission_refused": 4},
            "1 created, 3 FAILED, 4 pending (permission refused): tesnap resume k7f2",
        ),
        (
            Counts(failed=1, uncertain=1),
            {},
            "1 FAILED, 1 UNCERTAIN: tesnap settle k7f2, then tesnap resume k7f2 --failed",
        ),
        (Counts(queued=2, sending=1), {}, "3 pending: tesnap resume k7f2"),
        (
            Counts(queued=3),
            {"own_quota": 2, "api_unreachable": 1, "store": 0},
            "3 pending (2 own quota, 1 API unreachable): tesnap resume k7f2",
        ),
        (Counts(queued=3), {"own_quota": 2}, "3 pending (2 own quota): tesnap resume k7f2"),
        (Counts(), {}, "nothing to do: tesnap plan 'my jobs.yaml'"),
    ],
)
def test_the_last_line_says_what_to_type_next(counts: Counts, reasons: dict[str, int], line: str) -> None:
    """What carries the run on comes before what clears up after it."""
    assert sentences.last_line(ending(counts, reasons)) == line


def test_a_cancelled_run_is_not_resumed() -> None:
    """What was given up stays given up."""
    line = sentences.last_line(ending(Counts(created=1, queued=2), state=RunState.CANCELLED))
    assert line == "1 created, 2 pending (cancelled): tesnap report k7f2"


@given(COUNTS)
def test_the_last_line_accounts_for_every_task(counts: Counts) -> None:
    """The numbers add up to all tasks, and there is always something to type."""
    words, command = sentences.last_line(ending(counts)).split(": ", 1)
    assert sum(int(word) for word in words.split() if word.isdigit()) == counts.total
    assert command.startswith("tesnap ")
    assert ("resume k7f2" in command) is bool(counts.pending or counts.failed)


@pytest.mark.parametrize(
    ("matches", "first", "line"),
    [
        (23, 5, "23 tests match. First 5 now, last about 15:41 CET. Ctrl-C stops."),
        (5, 5, "5 tests match. All go now. Ctrl-C stops."),
        (1, 5, "1 test matches. It goes now. Ctrl-C stops."),
    ],
)
def test_the_headline_says_what_begins(matches: int, first: int, line: str) -> None:
    """How many match, how many go at once, and when the last one does."""
    assert sentences.match_text(matches, first, NOW + 850, NOW, BERLIN) == line


def test_where_a_run_is() -> None:
    """Settled ones by what became of them, and those on their way."""
    counts = Counts(created=42, failed=2, queued=10, leased=1, sending=5)
    expected = "run k7f2: 44 of 60 settled: 42 created, 2 FAILED; 6 being sent"
    assert sentences.progress_text("k7f2", counts) == expected
    assert sentences.progress_text("k7f2", Counts(queued=2)) == "run k7f2: 0 of 2 settled"


def test_an_expiry_is_a_date_of_the_zone() -> None:
    """The day on which a link stops working, where the reader is."""
    late = 1_797_807_600.0  # 2026-12-20T23:00:00Z
    assert sentences.expiry_text(late, UTC_ZONE) == "deleted by ThousandEyes on 20 Dec 2026"
    assert sentences.expiry_text(late, BERLIN) == "deleted by ThousandEyes on 21 Dec 2026"


def test_a_row_has_the_link_or_the_reason() -> None:
    """A created snapshot shows its link, a failed one what went wrong with each field."""
    made = sentences.snapshot_row(result(), BERLIN)
    assert (made.status, made.test, made.linked) == ("created", "Checkout EU", True)
    assert (made.window, made.local) == ("20 Nov 14:00–16:00 UTC", "15:00–17:00 CET")
    assert made.about == "https://app.example.com/s/wdiac"
    problem = Problem(title="Bad Request", detail="no", fields=(("startDate", "too old"),))
    failed = sentences.snapshot_row(result(status=Status.FAILED, snapshot=None, problem=problem), BERLIN)
    assert (failed.status, failed.linked) == ("FAILED", False)
    assert failed.about == "Bad Request: no: startDate: too old"


def test_a_row_without_a_link_says_so() -> None:
    """A link is never made up, and not shown where it is not wanted."""
    bare = result(snapshot=Snapshot(id="wdiac"))
    assert sentences.snapshot_row(bare, BERLIN).about == "snapshot wdiac, no link came back"
    hidden = sentences.snapshot_row(result(), BERLIN, show_links=False)
    assert (hidden.about, hidden.linked) == ("snapshot wdiac", False)
    lost = sentences.snapshot_row(result(status=Status.UNCERTAIN, snapshot=None), BERLIN)
    assert lost.about == "nobody knows what became of the request"


def test_a_row_is_harmless() -> None:
    """Whoever names a test does not steer the terminal of whoever looks."""
    task = dataclasses.replace(result().task, test_name="a\x1b[2J\nb")
    assert sentences.snapshot_row(result(task=task), BERLIN).test == "a\\x1b[2J\\nb"


def test_what_was_refused_when_planned_is_not_resumed() -> None:
    """Trying again would refuse it again: the names have to be corrected, and the file run anew."""
    refused = ending(Counts(created=1, failed=2, refused=2))
    refused = dataclasses.replace(refused, run=dataclasses.replace(refused.run, files=("/etc/jobs.yaml",)))
    assert (
        sentences.last_line(refused)
        == "1 created, 2 FAILED: correct those tests in the job file, then tesnap run /etc/jobs.yaml"
    )
    mixed = dataclasses.replace(refused, counts=Counts(created=1, failed=3, refused=2))
    assert sentences.last_line(mixed).endswith(
        "tesnap resume k7f2 --failed, then correct those tests in the job file, then tesnap run /etc/jobs.yaml"
    )


def test_whom_a_run_leaves_out_is_served_by_its_file_once_somebody_has_acted() -> None:
    """After what the run itself is carried on with, which goes first while something is pending."""
    left_out = tuple(
        RefusedOrganization(name=name, reason=reason, text="why")
        for name, reason in (
            ("a", Reason.TOO_FEW_TESTS),
            ("b", Reason.TOKEN_MISSING),
            ("c", Reason.TOO_MANY_TESTS),
        )
    )
    made = ending(Counts(created=1))
    made = dataclasses.replace(
        made, run=dataclasses.replace(made.run, files=("/etc/jobs.yaml",), refused=left_out)
    )
    todo = "put the token in its place and correct the selection, then tesnap run /etc/jobs.yaml"
    assert sentences.last_line(made).endswith(f": {todo}")
    failed = dataclasses.replace(made, counts=Counts(failed=1))
    assert sentences.last_line(failed).endswith(f": tesnap resume k7f2 --failed, then {todo}")
    pending = dataclasses.replace(made, counts=Counts(queued=1))
    assert sentences.last_line(pending).endswith(": tesnap resume k7f2")
    assert [step.command for step in sentences.next_steps(pending.run, pending.counts)] == [
        "tesnap resume k7f2",
        "tesnap run /etc/jobs.yaml",
    ]


def test_ends_that_are_unknown_are_said_as_such() -> None:
    """Beside those that are known, and by when to save the first of them."""
    saved, link = (Snapshot(id="s", saved_event=saved) for saved in (True, False))
    private, later, public = (
        created(0, 1.0, snapshot=saved),
        created(1, 86_400.0, snapshot=saved),
        created(2, 1.0, snapshot=link),
    )
    unknown = "30 days or never, ThousandEyes' documents disagree; save"
    assert sentences.end_text(private, UTC_ZONE) == f"end unknown: {unknown} it by 20 Dec 2026"
    assert (
        sentences.ends_text([private], UTC_ZONE)
        == f"The end of all is unknown: {unknown} them by 20 Dec 2026"
    )
    assert sentences.ends_text([public, private, later], UTC_ZONE) == (
        "The first will be deleted by ThousandEyes on 20 Dec 2026. "
        f"The end of 2 is unknown: {unknown} the first by 20 Dec 2026"
    )
    assert sentences.ends_text([], UTC_ZONE) == ""

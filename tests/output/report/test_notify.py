"""Telling others: each receiver's form and limits, and that nothing of it troubles the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.webhook import check_address
from orchestrator.core.errors import UsageError
from orchestrator.core.events import Ending
from orchestrator.core.jobs import Notify
from orchestrator.core.redact import hide
from orchestrator.core.tasks import Counts, Result
from orchestrator.output.report import notify
from orchestrator.output.report.page import MOST_ON_A_PAGE, Report
from tests.support.clock import VirtualClock
from tests.support.reports import RUN, START, created, failed, mixed, paced, pending

SECRET_PATH = "/services/T000/B000/0a1b2c3d4e5f"
FORMS = ("slack", "webex", "teams", "json")


def report(results: Iterable[Result], *, exit_code: int = 0, **changes: Any) -> Report:
    ending = Ending(run=RUN, counts=Counts(), pending_reasons={}, exit_code=exit_code, seconds=3.0)
    settings: dict[str, Any] = {
        "zone": ZoneInfo("UTC"),
        "now": START + 1500,
        "ending": ending,
    }
    return Report(run=RUN, results=tuple(results), **(settings | changes))


def size(form: str, body: bytes) -> int:
    """A body's size as its receiver counts it."""
    found = json.loads(body)
    sizes = {
        "slack": lambda: len(json.dumps(found["blocks"])),
        "webex": lambda: len(found["markdown"].encode()),
    }
    return sizes.get(form, lambda: len(body))()


def texts(value: object) -> list[str]:
    """All texts that a receiver would show."""
    if isinstance(value, dict):
        return [
            text
            for key, one in value.items()
            for text in ([one] if key in ("text", "markdown") and isinstance(one, str) else texts(one))
        ]
    return [text for one in value for text in texts(one)] if isinstance(value, list) else []


LIMITS = {
    "slack": notify.SLACK_CHARACTERS,
    "webex": notify.WEBEX_BYTES,
    "teams": notify.TEAMS_BYTES,
    "json": notify.JSON_BYTES,
}


# -- messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [0, 1, 5, 60, 3000])
def test_a_message_keeps_within_what_its_receiver_takes(form: str, count: int) -> None:
    """However many snapshots there are, and uses most of the room when some are left out."""
    body = notify.message_body(report(paced(count)), form)
    assert size(form, body) <= LIMITS[form]
    if count == 3000:
        assert size(form, body) > LIMITS[form] * 0.9


@given(st.lists(st.text(max_size=400), max_size=60), st.sampled_from(FORMS))
def test_no_name_makes_a_message_too_long_or_unreadable(names: list[str], form: str) -> None:
    """Whatever names are made of, the body is JSON in UTF-8 and fits."""
    results = [
        replace(one, task=replace(one.task, test_name=name))
        for one, name in zip(paced(len(names)), names, strict=True)
    ]
    assert size(form, notify.message_body(report(results), form)) <= LIMITS[form]


@pytest.mark.parametrize("form", ["slack", "webex", "teams"])
def test_what_does_not_fit_is_counted_on_whole_lines(form: str) -> None:
    """Each line is whole, and the last says how many more there are and where."""
    body = notify.message_body(report(paced(300)), form)
    shown = "\n".join(texts(json.loads(body)))
    links = len(re.findall(r"share\.thousandeyes\.com/view", body.decode()))
    assert f"and {300 - links} more: " in shown
    assert "tesnap report k7f2" in shown
    assert shown.count("20 Nov 12:00–14:00 UTC") == links


def test_a_message_has_lines_for_the_first_of_very_many() -> None:
    """As many as a page may have; the command below says how many there are in all, and what is pending is none."""
    many = report([pending(0), failed(1, 1.0), *[created(2, 1.0)] * (MOST_ON_A_PAGE + 5)])
    message = notify.make_message(many)
    assert len(message.lines) == MOST_ON_A_PAGE
    assert message.lines[0][0].text == "FAILED "
    assert message.first_lines(10)[-1][0].text == f"and {MOST_ON_A_PAGE + 6 - 10} more: "


@pytest.mark.parametrize("form", ["slack", "webex", "teams"])
def test_trouble_is_on_top_with_what_to_type(form: str) -> None:
    """The headline, the commands and the reasons come before the links."""
    shown = "\n".join(texts(json.loads(notify.message_body(report(mixed(), exit_code=3), form))))
    places = [
        shown.index(words)
        for words in (
            "19 created",
            "tesnap resume k7f2 --failed",
            "DNS trace www 04",
            "Bad Request",
            "Checkout EU 01",
        )
    ]
    assert places == sorted(places)


def test_slack_shows_names_as_they_are() -> None:
    """Names are text elements, which know no markup; the notification's line is escaped as Slack asks."""
    hostile = replace(created(0, 0), task=replace(created(0, 0).task, test_name="*b* <!channel> & `c`"))
    body = json.loads(notify.message_body(report([hostile]), "slack"))
    (element,) = (one for one in _elements(body["blocks"]) if one.get("type") == "link")
    assert element["text"] == "*b* <!channel> & `c`"
    assert element["url"].startswith("https://s0.share.thousandeyes.com/")
    named = replace(RUN, job="<!channel> & co")
    body = json.loads(
        notify.message_body(Report(run=named, results=(), zone=ZoneInfo("UTC"), now=START), "slack")
    )
    assert body["text"].startswith("&lt;!channel&gt; &amp; co: ")
    assert all(one["text"] for one in _elements(body["blocks"]) if one.get("type") == "text")


def test_webex_markdown_has_no_markup_of_names() -> None:
    """Names are escaped, links are in round brackets that nothing in them closes."""
    link = "https://a.example/x(1)*?a=_b_"
    hostile = created(0, 0, link=link)
    hostile = replace(hostile, task=replace(hostile.task, test_name="*b* [x](y) <@all>"))
    text = json.loads(notify.message_body(report([hostile]), "webex"))["markdown"]
    assert r"\*b\* \[x\](y) &lt;@all&gt;" in text
    assert "(https://a.example/x%281%29%2A?a=_b_)" in text


def test_teams_takes_an_adaptive_card_without_markdown() -> None:
    """One card in a message, of blocks that show text as it is."""
    body = json.loads(notify.message_body(report(mixed()), "teams"))
    (attachment,) = body["attachments"]
    assert body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert {block["type"] for block in attachment["content"]["body"]} == {"RichTextBlock"}


def test_json_is_the_last_record_with_the_snapshots_records() -> None:
    """Programs get the documented keys, and how many records were left out."""
    body = json.loads(notify.message_body(report(mixed(), exit_code=3), "json"))
    assert (body["event"], body["schema"], body["exit_code"], body["omitted"]) == ("run.finished", 1, 3, 0)
    assert len(body["snapshots"]) == sum(one.status.settled for one in mixed())
    long = json.loads(notify.message_body(report(paced(3000)), "json"))
    assert long["omitted"] == 3000 - len(long["snapshots"]) > 0


@pytest.mark.parametrize("form", FORMS)
def test_no_secret_and_no_unwanted_link_is_told(form: str) -> None:
    """What is kept out of the report is kept out of the channel."""
    secret = "0a1b2c3d-secret-4e5f"
    hide(secret)
    body = notify.message_body(
        report([created(0, 0), failed(1, 1, detail=f"bad {secret}")], show_links=False),
        form,
    ).decode()
    assert secret not in body
    assert "share.thousandeyes.com" not in body


def _elements(value: Any) -> list[dict[str, Any]]:
    """Everything in Slack's blocks that has a type."""
    if isinstance(value, list):
        return [element for one in value for element in _elements(one)]
    return [value, *_elements(value.get("elements", []))] if isinstance(value, dict) else []


# -- telling -----------------------------------------------------------------------------------------------


class Postman:
    """A poster that notes what it is given and takes its time."""

    def __init__(self, clock: VirtualClock, *, takes: float = 0.0, answer: str | None = None) -> None:
        self.clock, self.takes, self.answer = clock, takes, answer
        self.posted: list[tuple[str, float]] = []

    def post(self, address: str, body: bytes, seconds: float) -> str | None:
        check_address(address)
        self.posted.append((address, seconds))
        self.clock.advance(min(self.takes, seconds))
        return self.answer


def addressed(folder: Path, text: str = f"https://hooks.example.com{SECRET_PATH}\n", **wanted: str) -> Notify:
    path = folder / "url"
    path.write_text(text)
    return Notify(**{"format": "slack", "url_file": str(path), **wanted})


def test_an_address_comes_from_its_file(tmp_path: Path) -> None:
    """The line's end is no part of it, and it stands in no event."""
    postman = Postman(VirtualClock())
    (event,) = notify.notify_all([addressed(tmp_path)], report([]), post=postman.post, clock=postman.clock)
    assert postman.posted == [(f"https://hooks.example.com{SECRET_PATH}", 10.0)]
    assert (event.name, event.level) == ("notify.sent", "debug")
    assert SECRET_PATH not in str(event)


@pytest.mark.parametrize(
    ("on", "exit_code", "told"),
    [("always", 0, 1), ("failure", 0, 0), ("failure", 3, 1), ("failure", 4, 1), ("failure", 5, 0)],
)
def test_some_are_told_only_of_failures(tmp_path: Path, on: str, exit_code: int, told: int) -> None:
    """Whatever ends with another code than 0 is one."""
    postman = Postman(VirtualClock())
    notify.notify_all(
        [addressed(tmp_path, on=on)], report([], exit_code=exit_code), post=postman.post, clock=postman.clock
    )
    assert len(postman.posted) == told


def test_telling_everybody_takes_ten_seconds_at_the_most(tmp_path: Path) -> None:
    """Each has an equal part of what is left, so that one who hangs does not cost the others theirs."""
    postman = Postman(VirtualClock(), takes=60.0)
    before = postman.clock.boot()
    notify.notify_all([addressed(tmp_path)] * 5, report([]), post=postman.post, clock=postman.clock)
    assert postman.clock.boot() - before <= notify.LONGEST_TIME + 0.001
    assert [round(seconds, 3) for _, seconds in postman.posted] == [2.0] * 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no address"),
        ("http://hooks.example.com/x", "unencrypted"),
        ("https://a b", "holds no address"),
        ("ftp://a/x", "holds no address"),
        ("https://a:x/", "holds no address"),
    ],
)
def test_an_address_that_must_not_be_used_is_a_warning(tmp_path: Path, text: str, words: str) -> None:
    """It says what is wrong with the file, and does not quote it."""
    postman = Postman(VirtualClock())
    (event,) = notify.notify_all(
        [addressed(tmp_path, text)], report([]), post=postman.post, clock=postman.clock
    )
    assert event.level == "warning"
    assert words in event.text
    assert postman.posted == []
    with pytest.raises(UsageError):
        check_address(text)


def test_a_file_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    """So is one that is no text; the others are told all the same."""
    postman = Postman(VirtualClock())
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    wanted = [Notify(format="slack", url_file=str(tmp_path / name)) for name in ("missing", "binary")]
    events = notify.notify_all(
        [*wanted, addressed(tmp_path)], report([]), post=postman.post, clock=postman.clock
    )
    assert [event.level for event in events] == ["warning", "warning", "debug"]
    assert "No such file" in events[0].text
    assert "not text" in events[1].text

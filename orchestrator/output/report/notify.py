"""Telling others how a run ended: the message in the receiver's own form and within its limits.

Messages are built here, purely; a `Post` sends them. Nothing in a name is markup to a receiver: Slack's
rich text and Teams' rich text block show text as it is, for Webex it is escaped. A message is cut on whole
lines. Whatever goes wrong is a warning, never the run's failure.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from urllib.parse import quote

from orchestrator.api import read_address
from orchestrator.core import (
    Clock,
    Event,
    ExitCode,
    Notify,
    UsageError,
    change_texts,
    escape_markdown,
    harmless,
    mask_secrets,
)
from orchestrator.output import records
from orchestrator.output.report.page import MOST_ON_A_PAGE, Report, ReportEntry, make_page

LONGEST_TIME = 10.0
"""Seconds that telling everybody may take: a Kubernetes pod that is being ended has 30 in all."""

SLACK_CHARACTERS = 10_000
"""Of the blocks as JSON: Slack refuses about 13,000 (msg_blocks_too_long, slackapi/bolt-js issue 2509)."""

WEBEX_BYTES = 7439
"""Of a message's Markdown (developer.webex.com, "Create a Message")."""

TEAMS_BYTES = 20_000
"""Of the whole request: documented are about 28 KB, but the authors of msteams_hermes measured 21 KB."""

JSON_BYTES = 1_000_000
"""Of the whole request: a common limit of servers is 1 MB (nginx, client_max_body_size)."""

LONGEST_TEXT = 300
"""Characters of one name or reason: an answer's detail may have thousands, and one line is not to be all."""

LONGEST_LINK = 3000
"""Characters of a link: a longer one would be most of a message, and is left to the report."""

_IN_BRACKETS = ":/?#[]@!$&',;=%~+"  # what may stand in the target of a Markdown link, so no ( ) and *


Post = Callable[[str, bytes, float], str | None]
"""Sends a body to an address once, within so many seconds; None when it was taken, else why not. Raises `UsageError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpan:
    """A part of a line: plain, `strong`, `code`, or with a link behind it."""

    text: str
    link: str | None = None
    strong: bool = False
    code: bool = False


Line = tuple[TextSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message before it has a form: on top the headline and the commands to type next, trouble first of the `lines`.

    There is a line for each snapshot, or for the first of very many; `total` is how many snapshots there are, and `rest`
    the command that shows those for which there is no room.
    """

    top: tuple[Line, ...]
    lines: tuple[Line, ...]
    total: int
    rest: str

    def first_lines(self, count: int) -> tuple[Line, ...]:
        """The first lines, and the number of those that are left out."""
        left = self.total - count
        more = (TextSpan(text=f"and {left} more: "), TextSpan(text=self.rest, code=True))
        return (*self.lines[:count], more) if left else self.lines


def notify_all(wanted: Sequence[Notify], report: Report, *, post: Post, clock: Clock) -> list[Event]:
    """Tell everybody who wants to know, in `LONGEST_TIME` at the most; an event for each, if it worked or not."""
    due = [one for one in wanted if is_due(one, report)]
    end = clock.boot() + LONGEST_TIME
    events = []
    for number, one in enumerate(due):
        seconds = max(0.1, (end - clock.boot()) / (len(due) - number))  # what one leaves is left to the next
        events.append(_notify(one, report, post, seconds))
    return events


def is_due(notify: Notify, report: Report) -> bool:
    """True if this receiver wants to know of such an ending; one that stopped early is carried on, and no failure."""
    fine = (ExitCode.DONE, ExitCode.STOPPED_EARLY)
    return notify.on == "always" or report.ending is None or report.ending.exit_code not in fine


def message_body(report: Report, form: str) -> bytes:
    """The request's body in one of the forms: slack, webex, teams, json."""
    if form == "json":
        return _json_body(report)
    message = make_message(report)
    build, size, limit = _FORMS[form]

    def size_with(count: int) -> int:
        return size(build(message, count))

    total = len(message.lines)
    count = total if size_with(total) <= limit else bisect(range(1, total), limit, key=size_with)
    return _encode(build(message, count))


def make_message(report: Report) -> Message:
    """The report as lines; no receiver takes as many as a page may have."""
    shown = report
    if len(report.results) > MOST_ON_A_PAGE:
        first = islice(report.failures_first(settled=True), MOST_ON_A_PAGE)
        shown = replace(report, results=tuple(first))
    page = make_page(shown)
    headline = (
        TextSpan(text=_clean_text(f"{page.title}: "), strong=True),
        TextSpan(text=_clean_text(f"{report.headline} (run {page.run_id})")),
    )
    commands = (
        (TextSpan(text=command, code=True), TextSpan(text=f" {what}")) for what, command in report.commands
    )
    ends = ((TextSpan(text=_clean_text(f"{page.unknown_end}.")),),) if page.unknown_end else ()
    return Message(
        top=(headline, *commands, *ends),
        lines=tuple(_line(entry, several=page.several) for entry in (*page.troubled, *page.made)),
        total=report.counts.settled,
        rest=f"tesnap report {page.run_id}",
    )


def _clean_text(text: str) -> str:
    """The text as a message may have it: without secrets or control characters, and not for pages."""
    shown = harmless(mask_secrets(text))
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


def _line(entry: ReportEntry, *, several: bool) -> Line:
    row = entry.row
    link = entry.link if entry.link and len(entry.link) <= LONGEST_LINK else None
    where = f", {row.organization}" if several else ""
    status = (TextSpan(text=f"{row.status} ", strong=True),) if row.status.isupper() else ()
    about = f": {entry.about}" if entry.about else ""
    return (
        *status,
        TextSpan(text=_clean_text(row.test), link=link),
        TextSpan(text=_clean_text(f"{where}, {row.window}{about}")),
    )


def _notify(notify: Notify, report: Report, post: Post, seconds: float) -> Event:
    """Tell one receiver."""
    try:
        problem = post(read_address(notify), message_body(report, notify.format), seconds)
    except UsageError as error:
        problem = str(error)
    fields = (("format", notify.format), ("url_file", notify.url_file))
    if problem is None:
        return Event(
            name="notify.sent",
            text=f"notified {notify.format} ({notify.url_file})",
            level="debug",
            fields=fields,
        )
    text = f"{notify.format} was not notified ({notify.url_file}): {problem}; the run itself is not affected"
    return Event(name="notify.failed", text=text, level="warning", fields=fields)


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# -- Slack: docs.slack.dev, "Rich text block"; text elements are shown as they are --------------------------


def _slack(message: Message, count: int) -> dict[str, object]:
    # sections follow each other without a break, so each line on top ends in one
    head = [_slack_section((*line, TextSpan(text="\n"))) for line in message.top]
    items = [_slack_section(line) for line in message.first_lines(count)]
    listed = [{"type": "rich_text_list", "style": "bullet", "elements": items}] if items else []
    notification = "".join(span.text for span in message.top[0])
    return {
        "text": notification.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
        "blocks": [{"type": "rich_text", "elements": [*head, *listed]}],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _slack_section(line: Line) -> dict[str, object]:
    return {"type": "rich_text_section", "elements": [_slack_element(span) for span in line]}


def _slack_element(span: TextSpan) -> dict[str, object]:
    style = {name: True for name, on in (("bold", span.strong), ("code", span.code)) if on}
    kind: dict[str, object] = {"type": "link", "url": span.link} if span.link else {"type": "text"}
    return {**kind, "text": span.text, **({"style": style} if style else {})}


# -- Webex: Markdown ---------------------------------------------------------------------------------------


def _webex(message: Message, count: int) -> dict[str, object]:
    top = [_webex_line(line) for line in message.top]
    items = [f"- {_webex_line(line)}" for line in message.first_lines(count)]
    return {"markdown": "\n\n".join([*top, "\n".join(items)] if items else top)}


def _webex_line(line: Line) -> str:
    return "".join(_webex_span(span) for span in line)


def _webex_span(span: TextSpan) -> str:
    if span.code:
        return f"`{span.text.replace('`', chr(39))}`"
    text = escape_markdown(span.text)
    if span.link:
        return f"[{text}]({quote(span.link, safe=_IN_BRACKETS)})"
    stripped = text.rstrip()
    return f"**{stripped}**{text[len(stripped) :]}" if span.strong else text


# -- Teams: an Adaptive Card, as a workflow takes it; rich text blocks know no Markdown ----------------------


def _teams(message: Message, count: int) -> dict[str, object]:
    lines = (*message.top, *message.first_lines(count))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [{"type": "RichTextBlock", "inlines": [_teams_run(span) for span in line]} for line in lines],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _teams_run(span: TextSpan) -> dict[str, object]:
    run: dict[str, object] = {"type": "TextRun", "text": span.text}
    if span.strong:
        run["weight"] = "Bolder"
    if span.code:
        run["fontType"] = "Monospace"
    if span.link:
        run["selectAction"] = {"type": "Action.OpenUrl", "url": span.link}
    return run


# -- plain JSON: the last record of the run, with its snapshots' records -----------------------------------


def _json_body(report: Report) -> bytes:
    settled = report.counts.settled
    room, shown = JSON_BYTES - len(_json_document(report, [], settled)), []
    for result in report.failures_first(settled=True):
        record = change_texts(
            records.snapshot_record(result, run_id=report.run.id, show_links=report.show_links),
            mask_secrets,
        )
        room -= len(json.dumps(record)) + len(", ")
        if room < 0:
            break
        shown.append(record)
    return _json_document(report, shown, settled - len(shown))


def _json_document(report: Report, snapshots: Sequence[object], omitted: int) -> bytes:
    finished = (
        records.end_record(report.ending, now=report.now) if report.ending else {"run_id": report.run.id}
    )
    document = change_texts({**finished, "job": report.run.job, "omitted": omitted}, mask_secrets)
    return json.dumps(document)[:-1].encode() + b', "snapshots": ' + json.dumps(snapshots).encode() + b"}"


_FORMS: dict[
    str, tuple[Callable[[Message, int], dict[str, object]], Callable[[dict[str, object]], int], int]
] = {
    "slack": (_slack, lambda found: len(json.dumps(found["blocks"])), SLACK_CHARACTERS),
    "webex": (_webex, lambda found: len(str(found["markdown"]).encode()), WEBEX_BYTES),
    "teams": (_teams, lambda found: len(_encode(found)), TEAMS_BYTES),
}
"""How each form is built, how its size is counted, and how much of that its receiver takes."""

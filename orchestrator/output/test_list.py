"""The tests that selectors found, as people and other commands read them: a table, ids, YAML, JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TypeGuard

from orchestrator.core import harmless, utc_text
from orchestrator.output import records
from orchestrator.output.table import Column, table_lines
from orchestrator.planning import SelectedTest
from orchestrator.windows import clock_time

WIDEST = {"organization": 40, "name": 40, "tags": 36, "account group": 30}
"""Columns of a terminal for what can be long and need not be read to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTest:
    """A test of an organization; `group` is what people call its account group, `aid` its id where known."""

    organization: str
    selected: SelectedTest
    group: str = ""
    aid: str = ""


def table_of_tests(
    rows: Sequence[FoundTest], *, now: float, zone: tzinfo, room: int | None = None
) -> Iterator[str]:
    """The tests as a table with a head, columns as wide as they need to be, or as the terminal's `room` allows."""
    several = len({row.organization for row in rows}) > 1
    cells = [_cells(row, now, zone, several=several) for row in rows]
    if not cells:
        return
    shown = [name for name in cells[0] if room is None or any(line[name] for line in cells)]
    columns = [Column(head=name, most=WIDEST.get(name)) for name in shown]
    yield from table_lines(columns, [[line[name] for name in shown] for line in cells], room=room)


def ids_of_tests(rows: Sequence[FoundTest]) -> Iterator[str]:
    """The ids, one a line, as `tesnap snap -` reads them."""
    yield from dict.fromkeys(row.selected.id for row in rows)


def yaml_of_tests(rows: Sequence[FoundTest]) -> Iterator[str]:
    """A job file's `tests`, ready to paste: each with the name that it must have, the rest as comments."""
    yield "tests:"
    for row in rows:
        one = row.selected
        about = [one.test.type if one.test else "", *one.tags, row.group, _alerting(one), _state_text(one)]
        comment = harmless("; ".join(part for part in about if part))
        name = f", test_name: {_yaml_text(one.name)}" if _fit_for_a_file(one.name) else ""
        yield f'  - {{id: "{one.id}"{name}}}' + (f"  # {comment}" if comment else "")


def documents_of_tests(rows: Sequence[FoundTest]) -> list[dict[str, object]]:
    """The tests as JSON objects; what is not known is left out."""
    return [_document(row) for row in rows]


def _document(row: FoundTest) -> dict[str, object]:
    one = row.selected
    return records.known_fields(
        {
            "organization": row.organization,
            "account_group": row.aid or None,
            "test_id": one.id,
            "test_name": one.name,
            "type": one.test.type if one.test else None,
            "tags": list(one.tags),
            "alerting": one.alerting,
            "alerting_since": records.utc_or_none(one.alerting_since),
            "enabled": one.test.enabled if one.test else None,
        }
    )


def _cells(row: FoundTest, now: float, zone: tzinfo, *, several: bool) -> dict[str, str]:
    one = row.selected
    since = "" if one.alerting_since is None else clock_time(one.alerting_since, now, zone)
    enabled = "" if one.test is None else "yes" if one.test.enabled else "NO"
    cells = {
        "id": one.id,
        "name": one.name or "",
        "type": one.test.type if one.test else "not found",
        "tags": ", ".join(one.tags),
        "alerting since": since or ("yes" if one.alerting else ""),
        "account group": row.group.removeprefix("account group "),
        "enabled": enabled,
    }
    shown = {"organization": row.organization, **cells} if several else cells
    return {name: harmless(text) for name, text in shown.items()}


def _alerting(one: SelectedTest) -> str:
    if one.alerting_since is not None:
        return f"alerting since {utc_text(one.alerting_since)}"
    return "alerting" if one.alerting else ""


def _state_text(one: SelectedTest) -> str:
    return "" if one.test is None or one.test.enabled else "disabled"


def _fit_for_a_file(name: str | None) -> TypeGuard[str]:
    """True if a job file can say the name: not when it is blank or has control characters."""
    return bool(name and name.strip() and harmless(name) == name)


def _yaml_text(text: str) -> str:
    """The text as a double-quoted YAML scalar on one line, in which no variable is filled in."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{harmless(escaped)}"'

"""The log events that docs/records.md lists are those that the program tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.core.tasks import Reason, RunState

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "records.md"
NAME = re.compile(r"[a-z]+\.[a-z_]+")
TELLERS = {"Event", "_about", "make", "partial"}
"""What a call of an event's maker is named."""


def told(source: str) -> Iterator[str]:
    """The names of the events that a module makes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in TELLERS:
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            texts = [one.value for one in values if isinstance(one, ast.Constant)]
            yield from (text for text in texts if isinstance(text, str) and NAME.fullmatch(text))


def documented() -> list[str]:
    """The events of the page's last table."""
    _, _, table = DOCUMENT.read_text("utf-8").partition("All events there are:")
    return re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)


def test_the_document_lists_every_event_and_no_other() -> None:
    """One that is told and not listed, or listed and never told, is an error."""
    sources = [path.read_text("utf-8") for path in (ROOT / "orchestrator").rglob("*.py")]
    made = {name for source in sources for name in told(source)}
    assert sorted(documented()) == sorted(made)


def test_every_maker_of_events_is_known() -> None:
    """No module makes events by another name than those that are searched for."""
    for path in (ROOT / "orchestrator").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "Event":
                found = list(told(ast.unparse(node)))
                assert found or node.name in TELLERS, (path.name, node.name)


def test_an_event_of_each_kind_is_found() -> None:
    """Made at once, by a helper, or in parts."""
    source = (
        'Event(name="a.one", text="b.c d")\n_about(lease, "a.two", text)\npartial(Event, name="a.three")\n'
    )
    assert list(told(source)) == ["a.one", "a.two", "a.three"]
    assert list(told('print("a.four")')) == []


def test_every_reason_to_be_pending_is_told() -> None:
    """The page explains each word that a record may give as a reason."""
    text = DOCUMENT.read_text("utf-8")
    assert [reason for reason in (*Reason, RunState.CANCELLED) if f"`{reason}`" not in text] == []

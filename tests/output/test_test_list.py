"""The tests that selectors found, in the forms that people and commands read."""

from __future__ import annotations

from datetime import UTC

from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.api.catalog import ConfiguredTest
from orchestrator.core.jobs import TestRef
from orchestrator.core.redact import harmless
from orchestrator.jobfile.reader import read_jobfiles
from orchestrator.output.test_list import (
    FoundTest,
    documents_of_tests,
    ids_of_tests,
    table_of_tests,
    yaml_of_tests,
)
from orchestrator.planning.selection import SelectedTest

NOON = 1_795_003_200.0
CHECKOUT = FoundTest(
    organization="acme",
    aid="2001",
    group="account group 2001 (EU)",
    selected=SelectedTest(
        id="202701",
        name="Checkout",
        test=ConfiguredTest(id="202701", name="Checkout", type="page-load"),
        tags=("team:pay", "env:prod"),
        alerting=True,
        alerting_since=NOON - 3600,
    ),
)
LOGIN = FoundTest(
    organization="acme",
    selected=SelectedTest(
        id="7", name="Login\x1b[2J", test=ConfiguredTest(id="7", type="http-server", enabled=False)
    ),
)


def test_the_table_has_every_column_and_obeys_no_name() -> None:
    """Columns are as wide as they need to be, and control characters in a name are shown, not obeyed."""
    assert list(table_of_tests([CHECKOUT, LOGIN], now=NOON, zone=UTC)) == [
        "id      name          type         tags                alerting since  account group  enabled",
        "202701  Checkout      page-load    team:pay, env:prod  11:00 UTC       2001 (EU)      yes",
        "7       Login\\x1b[2J  http-server                                                     NO",
    ]
    assert list(table_of_tests([], now=NOON, zone=UTC)) == []


def test_several_organizations_have_a_column() -> None:
    """The organization is shown where there is more than one."""
    other = FoundTest(organization="globex", selected=LOGIN.selected)
    assert next(iter(table_of_tests([CHECKOUT, other], now=NOON, zone=UTC))).startswith("organization  id")


def test_ids_are_one_a_line_and_once() -> None:
    """What `tesnap snap -` reads."""
    assert list(ids_of_tests([CHECKOUT, LOGIN, CHECKOUT])) == ["202701", "7"]


def test_documents_leave_out_what_is_not_known() -> None:
    """JSON has the keys of a snapshot's record where they mean the same."""
    first, second = documents_of_tests([CHECKOUT, LOGIN])
    assert first == {
        "organization": "acme", "account_group": "2001", "test_id": "202701", "test_name": "Checkout",
        "type": "page-load", "tags": ["team:pay", "env:prod"], "alerting": True,
        "alerting_since": "2026-11-18T11:00:00Z", "enabled": True,
    }  # fmt: skip
    assert "alerting_since" not in second
    assert second["enabled"] is False


@example("${HOME} for $5", "")
@example("\U0001f4e1 \U0001f469\u200d\U0001f469\u200d\U0001f467 a\u00a0b", "")
@given(st.text(min_size=1, max_size=40), st.text(max_size=20))
def test_the_yaml_is_a_job_files_tests_whatever_they_are_called(name: str, tag: str) -> None:
    """Every plain name survives the way into a job file, and no name or tag breaks out of its place."""
    row = FoundTest(organization="acme", selected=SelectedTest(id="7", name=name, tags=(tag,)))
    written = "\n    ".join(yaml_of_tests([row]))
    text = f"version: 1\njobs:\n  - name: n\n    windows: [{{last: 1h}}]\n    {written}\n"
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text that an API could have sent
    said = name if name.strip() and harmless(name) == name else None
    reading = read_jobfiles(["-"], environ={"TE_TOKEN": "x"}, stdin=_Stdin(encoded))  # type: ignore[arg-type]  # only its buffer is read
    assert reading.jobfile.jobs[0].tests == (TestRef(id="7", test_name=said),)


class _Stdin:
    """Standard input with these bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = self
        self._content = content

    def read(self, size: int) -> bytes:
        """All of it."""
        return self._content[:size]


def test_a_family_of_emoji_keeps_its_name() -> None:
    """Joiners are plain parts of names: a reused id is noticed of such a test, too."""
    name = "\U0001f4e1 \U0001f469\u200d\U0001f469\u200d\U0001f467"
    (_, line) = yaml_of_tests([FoundTest(organization="acme", selected=SelectedTest(id="7", name=name))])
    assert f'test_name: "{name}"' in line

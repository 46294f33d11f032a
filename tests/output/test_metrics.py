"""Metrics for Prometheus: their text, and the file that the exporter reads."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.core.errors import UsageError
from orchestrator.core.starts import Start
from orchestrator.core.tasks import Counts
from orchestrator.output.metrics import (
    HELP,
    JobFigures,
    OrganizationFigures,
    check_metrics_path,
    metrics_text,
    write_metrics,
)

LAST = Start(job="nightly", command="run", began_at=1000.0, ended_at=1600.0, exit_code=3)

NIGHTLY = JobFigures(
    name='nightly "edge"',
    last=LAST,
    succeeded_at=500.0,
    counts=Counts(created=4, failed=1),
    refused=2,
    expiries={"known": 5000.0, "unknown": 4000.0},
    organizations={
        "acme": OrganizationFigures(succeeded_at=1600.0, counts=Counts(created=4)),
        "globex": OrganizationFigures(trouble="token_missing"),
    },
)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample as Prometheus' own parser reads it; none of them has a time, at which the exporter would refuse all."""
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    assert not [one for one in found if one.timestamp is not None]
    assert len({(one.name, frozenset(one.labels.items())) for one in found}) == len(found)
    return {(one.name, frozenset(one.labels.items())): one.value for one in found}


def test_a_job_has_one_series_of_each_kind() -> None:
    """Times, the exit code, the counts by result, and when the first link ends, marked where nobody knows."""
    found = samples(metrics_text([NIGHTLY]))
    name = ("name", 'nightly "edge"')
    assert found["tesnap_last_run_timestamp_seconds", frozenset({name})] == 1600.0
    assert found["tesnap_last_success_timestamp_seconds", frozenset({name})] == 500.0
    assert found["tesnap_last_run_duration_seconds", frozenset({name})] == 600.0
    assert found["tesnap_last_run_exit_code", frozenset({name})] == 3
    assert found["tesnap_last_run_organizations_refused", frozenset({name})] == 2
    assert found["tesnap_last_run_snapshots", frozenset({name, ("result", "failed")})] == 1
    assert found["tesnap_last_run_snapshots", frozenset({name, ("result", "pending")})] == 0
    assert found["tesnap_earliest_expiry_timestamp_seconds", frozenset({name, ("end", "unknown")})] == 4000.0
    assert not [key for key in found if "organization" in dict(key[1])]


def test_organizations_are_labels_only_when_they_are_wanted() -> None:
    """Their names are customers' names."""
    found = samples(metrics_text([NIGHTLY], organizations=True))
    labels = {"name": NIGHTLY.name, "organization": "globex", "reason": "token_missing"}
    assert found["tesnap_organization_last_run_trouble", frozenset(labels.items())] == 1.0
    assert "acme" not in metrics_text([NIGHTLY])


def test_each_text_of_help_is_always_the_same() -> None:
    """Two files with two texts for one name are an error of the exporter, and the second file is not read."""
    one, both = metrics_text([NIGHTLY]), metrics_text([NIGHTLY, JobFigures(name="other")], organizations=True)
    helps = {line for text in (one, both) for line in text.splitlines() if line.startswith("# HELP ")}
    assert helps == {f"# HELP {name} {text}" for name, text in HELP.items()}


def test_a_job_that_never_succeeded_has_no_last_success() -> None:
    """A rule finds that it is absent; a zero would be the year 1970."""
    found = samples(metrics_text([JobFigures(name="new", last=LAST)]))
    assert not [name for name, _ in found if name == "tesnap_last_success_timestamp_seconds"]


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Readable by the exporter's user, with nothing left beside it, also where it could not be written."""
    path = tmp_path / "tesnap.prom"
    write_metrics(path, "old\n")
    before = path.stat().st_ino
    write_metrics(path, "new\n")
    assert path.read_text() == "new\n"
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    (tmp_path / "folder.prom").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_metrics(tmp_path / "folder.prom", "new\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder.prom", "tesnap.prom"]


def test_a_name_that_no_exporter_reads_is_refused(tmp_path: Path) -> None:
    """Before anything is sent: else nobody would ever learn of it."""
    with pytest.raises(UsageError, match=r"end in \.prom only"):
        check_metrics_path(tmp_path / "tesnap.txt")
    with pytest.raises(UsageError, match="there is no folder"):
        check_metrics_path(tmp_path / "nowhere" / "tesnap.prom")

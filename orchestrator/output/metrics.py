"""The metrics of jobs as a text file for Prometheus, read from the store: when a job last succeeded outlives failures.

One series for each job (label `name`), and if it is wanted for each of its organizations; never for a test or a run, of
which there are ever more. Made by the official client library, which is imported for this alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.core import Counts, Start, UsageError
from orchestrator.output import records
from orchestrator.store import Store

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

READABLE = 0o644
"""The mode of the file: the exporter is another user."""

HELP: Mapping[str, str] = {
    "tesnap_build_info": "Version of tesnap that wrote these metrics.",
    "tesnap_last_run_timestamp_seconds": "When the last run of the job ended, whatever its result.",
    "tesnap_last_success_timestamp_seconds": "When the last run of the job ended with everything made (exit code 0).",
    "tesnap_last_run_duration_seconds": "How long the last run of the job took.",
    "tesnap_last_run_exit_code": "Exit code of the last run of the job.",
    "tesnap_last_run_snapshots": "Snapshots of the last run of the job by result.",
    "tesnap_last_run_organizations_refused": "Organizations for which the last run planned nothing, or not all.",
    "tesnap_earliest_expiry_timestamp_seconds": "When the first snapshot of the last successful run is deleted,"
    ' or may be (end="unknown").',
    "tesnap_organization_last_success_timestamp_seconds": "When everything of the organization was last made.",
    "tesnap_organization_last_run_snapshots": "Snapshots of the organization in the last run by result.",
    "tesnap_organization_last_run_trouble": "1 for the reason why not all of the organization is made.",
}
"""Every metric with its help text, which is the same in each file: two texts for one name are an error of the exporter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationFigures:
    """One organization of a job: when all of it was last made, and where its snapshots of the last run are, and why."""

    succeeded_at: float | None = None
    counts: Counts | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFigures:
    """All that is told of one job. Times are epoch seconds; `expiries` by `known` and `unknown`.

    The counts are None where the store has forgotten the last run.
    """

    name: str
    last: Start | None = None
    succeeded_at: float | None = None
    counts: Counts | None = field(default_factory=Counts)
    refused: int = 0
    expiries: Mapping[str, float] = field(default_factory=dict)
    organizations: Mapping[str, OrganizationFigures] = field(default_factory=dict)


def load_figures(store: Store, name: str) -> JobFigures:
    """The figures of a job, as the store knows them now."""
    last, done = store.starts.last(name), store.starts.last_done(name)
    organizations = {
        one: OrganizationFigures(succeeded_at=success.at)
        for one, success in store.starts.successes(name).items()
    }
    counts, refused = Counts(), 0
    if last is not None and last.run_id is not None:
        if store.views.find_exact(last.run_id) is None:
            ended = None if done is None else done.ended_at
            return JobFigures(
                name=name, last=last, succeeded_at=ended, counts=None, organizations=organizations
            )
        view = store.views.run(last.run_id)
        counts, refused = view.total, len(view.run.refused)
        reasons = store.starts.reasons(last.run_id)
        trouble = {view.names.get(one, one): reason for one, reason in reasons.items()}
        trouble |= {one.name: one.reason.value for one in view.run.refused}
        found = {view.names.get(one, one): some for one, some in view.counts.items()}
        for one in organizations.keys() | found.keys() | trouble.keys():
            before = organizations.get(one, OrganizationFigures())
            organizations[one] = OrganizationFigures(
                succeeded_at=before.succeeded_at, counts=found.get(one), trouble=trouble.get(one, "")
            )
    return JobFigures(
        name=name,
        last=last,
        succeeded_at=None if done is None else done.ended_at,
        counts=counts,
        refused=refused,
        expiries={} if done is None or done.run_id is None else _load_expiries(store, done.run_id),
        organizations=organizations,
    )


def _load_expiries(store: Store, run_id: str) -> dict[str, float]:
    """When the first snapshot of a run is deleted, and when the first of which that is not known may be."""
    found: dict[str, float] = {}
    for result in store.views.results(run_id):
        for end, at in (("known", result.expires_at), ("unknown", result.may_expire_at)):
            if at is not None:
                found[end] = min(at, found.get(end, at))
    return found


def metrics_text(jobs: Iterable[JobFigures], *, organizations: bool = False) -> str:
    """The metrics of these jobs in Prometheus' text format, without any time of their own: the exporter refuses those."""
    from prometheus_client import CollectorRegistry, generate_latest

    families = _Families()
    families.add("tesnap_build_info", 1.0, version=__version__)
    for job in sorted(jobs, key=lambda job: job.name):
        _add_job(families, job)
        if organizations:
            _add_organizations(families, job)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(families)
    return generate_latest(registry).decode()


class _Families:
    """Metric families in the order of `HELP`, as the client library collects them."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in HELP}

    def add(self, metric: str, value: float | None, **labels: str) -> None:
        """Add a sample, unless its value is not known."""
        if value is not None:
            self._samples[metric].append((labels, value))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families that have samples."""
        from prometheus_client.core import GaugeMetricFamily

        for metric, samples in self._samples.items():
            if samples:
                names = list(samples[0][0])
                family = GaugeMetricFamily(metric, HELP[metric], labels=names)
                for labels, value in samples:
                    family.add_metric([labels[name] for name in names], value)
                yield family


def _add_job(families: _Families, job: JobFigures) -> None:
    name, last = job.name, job.last
    families.add("tesnap_last_success_timestamp_seconds", job.succeeded_at, name=name)
    if last is not None and last.ended_at is not None:
        families.add("tesnap_last_run_timestamp_seconds", last.ended_at, name=name)
        families.add("tesnap_last_run_duration_seconds", max(0.0, last.ended_at - last.began_at), name=name)
        families.add("tesnap_last_run_exit_code", last.exit_code, name=name)
        for result, count in records.count_fields(job.counts).items() if job.counts else ():
            families.add("tesnap_last_run_snapshots", count, name=name, result=result)
        families.add("tesnap_last_run_organizations_refused", job.refused, name=name)
    for end, at in sorted(job.expiries.items()):
        families.add("tesnap_earliest_expiry_timestamp_seconds", at, name=name, end=end)


def _add_organizations(families: _Families, job: JobFigures) -> None:
    for organization, figures in sorted(job.organizations.items()):
        labels = {"name": job.name, "organization": organization}
        families.add("tesnap_organization_last_success_timestamp_seconds", figures.succeeded_at, **labels)
        for result, count in records.count_fields(figures.counts).items() if figures.counts else ():
            families.add("tesnap_organization_last_run_snapshots", count, **labels, result=result)
        if figures.trouble:
            families.add("tesnap_organization_last_run_trouble", 1.0, **labels, reason=figures.trouble)


def write_metrics(path: Path, text: str) -> None:
    """Replace the file as a whole: the exporter sees the old one or the new one. OSError where that cannot be.

    What is written on the way does not end in `.prom`, so that no exporter reads it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(READABLE)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_metrics_path(path: Path) -> None:
    """Raise UsageError for a file that no exporter would read, or whose folder is not there."""
    if path.suffix != ".prom":
        raise UsageError(
            f"{path}: the exporter reads files that end in .prom only: choose such a name for the metrics"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it, or choose another one")

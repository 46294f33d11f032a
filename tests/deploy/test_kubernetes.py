"""The Kubernetes manifests: what they promise, and what schemas, linters and the program itself have against them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.jobfile import read_jobfiles
from scripts import manifests
from scripts.manifests import KUBERNETES, Manifest
from tests.deploy.tools import need_tools

# ------------------------------------------------------------------------ what the files promise


def job() -> Manifest:
    """The Job, whose pod is the nightly one's."""
    text = (KUBERNETES / "job.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def pod_of(manifest: Manifest) -> dict[str, Any]:
    return dict(manifest["spec"]["template"]["spec"])


def test_a_pod_is_started_again_only_when_that_helps() -> None:
    """Exit code 5 is counted and started again; 1 to 4 end the Job; a drained node costs nothing."""
    rules = job()["spec"]["podFailurePolicy"]["rules"]
    codes = {code: r["action"] for r in rules if "onExitCodes" in r for code in r["onExitCodes"]["values"]}
    assert codes == {1: "FailJob", 2: "FailJob", 3: "FailJob", 4: "FailJob", 5: "Count"}
    assert [r["action"] for r in rules if "onPodConditions" in r] == ["Ignore"]
    # Required up to Kubernetes 1.34, and `True` is what its default is later.
    conditions = [condition for r in rules for condition in r.get("onPodConditions", ())]
    assert conditions == [{"type": "DisruptionTarget", "status": "True"}]
    assert pod_of(job())["restartPolicy"] == "Never"


def test_a_pod_can_write_nothing_but_the_store() -> None:
    """Read-only root, no privileges, one writable mount, and no probe that could kill a waiting run."""
    pod = pod_of(job())
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["store"]
    assert [key for key in container if key.endswith("Probe")] == []


def test_a_pod_keeps_what_it_prints_and_its_variables_to_itself() -> None:
    """No links in the cluster's logs, no variables made of Services' names, a run id that a replaced pod has too."""
    pod = pod_of(job())
    (container,) = pod["containers"]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert values["TESNAP_LINKS"] == "id"
    assert values["TESNAP_RUN_ID"] == "$(JOB_NAME)-$(JOB_UID)"
    assert list(values).index("JOB_UID") < list(values).index("TESNAP_RUN_ID")  # else it is not filled in
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False


def test_a_job_that_is_over_goes_and_another_one_can_be_made() -> None:
    """No Job stays for ever, and two of them do not want one name."""
    made = job()
    assert made["metadata"]["generateName"] == "tesnap-"
    assert made["spec"]["ttlSecondsAfterFinished"] > 0
    assert made["spec"]["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_the_example_of_an_overlay_is_a_job_file(overlay: str) -> None:
    """What the ConfigMap is made of is read as it stands."""
    (file,) = (KUBERNETES / "overlays" / overlay).glob("jobs.yaml")
    reading = read_jobfiles([str(file)], environ={})
    assert not reading.warnings
    assert [one.name for one in reading.jobfile.jobs] == ["yesterday"]


# --------------------------------------------------------- what a cluster gets, checked by tools


@pytest.fixture(scope="module")
def rendered() -> list[Manifest]:
    """Everything, each once."""
    need_tools()
    return [one for documents in manifests.all_manifests().values() for one in documents]


@pytest.mark.deploy
def test_what_is_made_of_the_nightly_pod_is_current() -> None:
    """job.yaml and look.yaml are what `make manifests` would write."""
    need_tools()
    assert [path.name for path, text in manifests.derived().items() if path.read_text("utf-8") != text] == []


@pytest.mark.deploy
def test_every_schema_takes_every_manifest(rendered: list[Manifest]) -> None:
    """Strictly, so that a key that one version does not know is found."""
    among = manifests.versions()
    assert among[0] == "1.29"
    assert len(among) >= 9
    assert manifests.schema_findings(rendered, among) == []


@pytest.mark.deploy
def test_a_schema_that_refuses_is_heard(rendered: list[Manifest]) -> None:
    """A condition without its status, which only 1.35 and newer take, and a key that nobody knows."""
    nightly = next(deepcopy(one) for one in rendered if one["kind"] == "CronJob")
    spec = nightly["spec"]["jobTemplate"]["spec"]
    del spec["podFailurePolicy"]["rules"][1]["onPodConditions"][0]["status"]
    assert {one.version for one in manifests.schema_findings([nightly], ["1.34", "1.37"])} == {"1.34"}
    spec["template"]["spec"]["restartPolice"] = "Never"
    assert {one.version for one in manifests.schema_findings([nightly], ["1.34", "1.37"])} == {"1.34", "1.37"}


@pytest.mark.deploy
def test_the_linters_find_nothing_but_what_is_planted(rendered: list[Manifest]) -> None:
    """Checkov's rules but for those that its settings leave out, beside a pod that may write its root file system."""
    (look,) = (deepcopy(one) for one in rendered if one["kind"] == "Pod")
    look["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
    found = manifests.checkov_findings([*rendered, look])
    assert [(one.label, one.version) for one in found] == [(manifests.label(look), "CKV_K8S_22")]
    assert manifests.yamllint_findings() == []


@pytest.mark.deploy
@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_an_overlay_has_one_store(overlay: str) -> None:
    """SQLite on a volume, or the address of a database in a file; never both."""
    need_tools()
    job_spec = manifests.nightly(manifests.render(overlay, "network-policy"))
    (container,) = job_spec["template"]["spec"]["containers"]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    stores = {name: value for name, value in values.items() if name.startswith("TESNAP_STORE") and value}
    assert list(stores) == [{"sqlite": "TESNAP_STORE", "postgresql": "TESNAP_STORE_FILE"}[overlay]]


@pytest.mark.deploy
def test_the_table_of_the_page_is_of_these_tools() -> None:
    """The page names the versions of the lock, and a mark for each schema."""
    page = Path(manifests.PAGE).read_text("utf-8")
    assert [f"{n} {v}" for n, v in manifests.tool_versions().items() if f"{n} {v}" not in page] == []
    assert f"| {' | '.join(manifests.versions())} |" in page
    assert "refused" not in page.split("<!-- manifests: begin -->")[1]

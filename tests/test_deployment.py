"""The image and the Kubernetes manifests: what they promise, read from their own files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

# ------------------------------------------------------------------------------------- container


def dockerfile(instruction: str) -> list[list[str]]:
    """The words of each such line."""
    lines = re.findall(rf"^{instruction} (.+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    return [json.loads(line) if line.startswith("[") else line.split() for line in lines]


def shown_steps() -> str:
    """What `make container-steps` does, in the words of the Dockerfile."""
    script = (ROOT / "scripts" / "container-steps.sh").read_text("utf-8").replace('"', "")
    for here, there in (("$place/base/bin/", ""), ("$python", "python")):
        script = script.replace(here, there)
    return script.replace("$place", "").replace("$source/", "")


def is_shown(words: list[str]) -> bool:
    return re.search(rf"^{re.escape(' '.join(words))}( |$)", shown_steps(), re.MULTILINE) is not None


@pytest.mark.parametrize("words", dockerfile("RUN"), ids=" ".join)
def test_a_step_of_the_image_is_shown(words: list[str]) -> None:
    """Every command of the Dockerfile is one of `make container-steps`, down to its last word."""
    assert is_shown(words)
    assert not is_shown([*words[:-1], "else"])


def test_what_is_copied_into_the_image_is_shown_and_not_kept_away() -> None:
    """The same files, and .dockerignore lets them in."""
    copied = [name for words in dockerfile("COPY") if "--from=builder" not in words for name in words[:-1]]
    taken = " ".join(re.findall(r"^cp .*", shown_steps(), re.MULTILINE)).split()
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert copied
    assert [name for name in copied if name not in taken or f"!{name}" not in ignored] == []


def test_the_stores_folder_reaches_the_image_with_its_mode() -> None:
    """COPY copies what is in a folder: the one that any user id may write stands below what is copied."""
    made = [words[-1] for words in dockerfile("RUN") if words[:2] == ["install", "-d"]]
    kept = [
        words[1:]
        for words in dockerfile("COPY")
        if "--from=builder" in words and made[0].startswith(words[1])
    ]
    (volume,) = dockerfile("VOLUME")
    assert [(source, made) for source, _ in kept] == [("/opt/image/", [f"/opt/image{volume[0]}"])]
    assert f"\ncopy {' '.join(kept[0])}\n" in shown_steps()


# ------------------------------------------------------------------------------------ Kubernetes


def job_spec(name: str) -> dict[str, Any]:
    """The Job's part of a manifest."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / name).read_text("utf-8"))
    spec: dict[str, Any] = manifest["spec"]
    return spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec


@pytest.mark.parametrize("name", ["job.yaml", "cronjob.yaml"])
def test_a_pod_is_started_again_only_when_that_helps(name: str) -> None:
    """Exit code 5 is counted and started again; 1 to 4 end the Job; a drained node costs nothing."""
    rules = job_spec(name)["podFailurePolicy"]["rules"]
    codes = {code: r["action"] for r in rules if "onExitCodes" in r for code in r["onExitCodes"]["values"]}
    assert codes == {1: "FailJob", 2: "FailJob", 3: "FailJob", 4: "FailJob", 5: "Count"}
    assert [r["action"] for r in rules if "onPodConditions" in r] == ["Ignore"]
    # Required up to Kubernetes 1.34, and `True` is what its default is later.
    conditions = [condition for r in rules for condition in r.get("onPodConditions", ())]
    assert conditions == [{"type": "DisruptionTarget", "status": "True"}]
    assert job_spec(name)["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", ["job.yaml", "cronjob.yaml"])
def test_a_pod_can_write_nothing_but_the_store(name: str) -> None:
    """Read-only root, no privileges, one writable mount, and no probe that could kill a waiting run."""
    pod = job_spec(name)["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["store"]
    assert [key for key in container if key.endswith("Probe")] == []


def test_both_manifests_start_the_same_pod() -> None:
    """The nightly run differs from the single one in its schedule alone."""
    assert job_spec("job.yaml") == job_spec("cronjob.yaml")

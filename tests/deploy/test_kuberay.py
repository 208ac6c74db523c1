"""deploy/kuberay/: the manifests fit each other, the image and the project; KubeRay's schemas are not at hand here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kuberay"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
OBJECTS: list[dict[str, Any]] = [
    document for file in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text())
]


def the(kind: str) -> dict[str, Any]:
    (found,) = [one for one in OBJECTS if one["kind"] == kind]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    spec = the("RayCluster")["spec"]
    yield "head", spec["headGroupSpec"]["template"]["spec"]
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]


def containers() -> list[dict[str, Any]]:
    return [container for _, pod in pods() for container in pod["containers"]]


def secrets_of(container: dict[str, Any]) -> dict[str, str]:
    """Variables that come from the Secret, with their keys there."""
    taken = [(one["name"], one["valueFrom"]["secretKeyRef"]) for one in container["env"] if "valueFrom" in one]
    assert {reference["name"] for _, reference in taken} == {"dfkd-mlflow"}
    return {name: reference["key"] for name, reference in taken}


def test_all_is_for_the_ray_of_the_project_in_one_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ours,) = [line.partition("==")[2] for line in project["dependencies"] if line.startswith("ray[")]
    assert the("RayCluster")["spec"]["rayVersion"] == ours
    assert len({container["image"] for container in containers()}) == 1
    assert [container["name"] for container in containers()] == ["ray-head", "mlflow", "ray-worker", "ray-worker"]


def test_the_token_is_on_and_the_network_closed() -> None:
    cluster = the("RayCluster")
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    policy = the("NetworkPolicy")["spec"]
    label = {"ray.io/cluster": cluster["metadata"]["name"]}
    assert policy["podSelector"]["matchLabels"] == label
    assert policy["policyTypes"] == ["Ingress"]
    inside, outside = policy["ingress"]
    assert inside["from"] == [{"podSelector": {"matchLabels": label}}]
    assert outside["ports"] == [{"port": 8265, "protocol": "TCP"}]
    submitter = {"ray.io/originated-from-cr-name": the("RayJob")["metadata"]["name"]}
    assert {"podSelector": {"matchLabels": submitter}} in outside["from"]
    assert all(peer for rule in policy["ingress"] for peer in rule["from"]), "an empty peer lets in everybody"


def test_pools_come_and_go_and_leave_time_to_drain() -> None:
    spec = the("RayCluster")["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert {group["groupName"] for group in spec["workerGroupSpecs"]} == {"gpu-small", "gpu-large"}
    for group in spec["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
        pod = group["template"]["spec"]
        (worker,) = pod["containers"]
        (drain,) = [one["value"] for one in worker["env"] if one["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]
        assert pod["terminationGracePeriodSeconds"] >= int(drain) + 15
        assert int(worker["resources"]["limits"]["nvidia.com/gpu"]) >= 1
        assert pod["nodeSelector"] == {"pool": group["groupName"]}


@pytest.mark.parametrize(("name", "pod"), list(pods()))
def test_a_pod_mounts_what_it_has_and_is_not_root(name: str, pod: dict[str, Any]) -> None:
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {the("PersistentVolumeClaim")["metadata"]["name"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"--uid {pod['securityContext']['runAsUser']} " in DOCKERFILE
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]


def test_mlflow_listens_to_the_heads_pod_alone_and_both_take_one_password() -> None:
    head, mlflow = dict(pods())["head"]["containers"]
    command = " ".join(mlflow["command"])
    assert "--host 127.0.0.1" in command and "--app-name basic-auth" in command
    assert secrets_of(head) == {"MLFLOW_TRACKING_PASSWORD": "password"}
    assert secrets_of(mlflow) == {
        "MLFLOW_BACKEND_STORE_URI": "database",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "password",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "key",
    }
    address = {one["name"]: one.get("value") for one in head["env"]}["MLFLOW_TRACKING_URI"]
    assert address == f"http://127.0.0.1:{mlflow['command'][mlflow['command'].index('--port') + 1]}"


def test_the_job_runs_a_script_of_ours_on_that_cluster_and_keeps_its_state_on_the_shared_volume() -> None:
    job = the("RayJob")["spec"]
    assert job["clusterSelector"] == {"ray.io/cluster": the("RayCluster")["metadata"]["name"]}
    assert not {"rayClusterSpec", "shutdownAfterJobFinishes", "backoffLimit"} & set(job)
    python, script, *arguments = job["entrypoint"].split()
    assert python == "python" and (ROOT / script).is_file()
    assert dict(zip(arguments[::2], arguments[1::2], strict=True)) == {
        "--home": "/shared/home",
        "--storage": "/shared/checkpoints",
    }


def test_the_image_installs_the_locked_versions_and_nothing_else_and_is_not_root() -> None:
    assert re.findall(r"^RUN pip install (.*)$", DOCKERFILE, re.M) == [
        "--no-cache-dir --require-hashes -r deploy/requirements.lock",
        "--no-cache-dir --no-deps --no-build-isolation -e .",
    ]
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    assert lines[-3] == "USER dfkd"
    assert "wget" in DOCKERFILE  # KubeRay's probes call it
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
    assert {".git", "mlflow.db", "**/*.env"} <= set(ignored)

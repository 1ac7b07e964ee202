"""deploy/kubernetes: valid, consistent with itself and with the code, nothing open to the world."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from gateway.config import Config, parse
from serving.ray_discovery import node_records

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
CUSTOM = {
    "ray.io/v1": "RayService",
    "monitoring.coreos.com/v1": "ServiceMonitor",
    "kustomize.config.k8s.io/v1beta1": "Kustomization",
}
"""What schemas are not at hand for."""
PRIVATE = {6379, 8265, 10001, 8000, 30000}
STOP_MARGIN_S = 35


@cache
def documents() -> tuple[dict, ...]:
    return tuple(
        document
        for file in sorted(FOLDER.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    )


def the(kind: str, name: str | None = None) -> dict:
    (found,) = [
        each
        for each in documents()
        if each["kind"] == kind and name in (None, each["metadata"]["name"])
    ]
    return found


def test_each_document_is_what_its_schema_says():
    for document in documents():
        if CUSTOM.get(document["apiVersion"]) != document["kind"]:
            kubernetes_validate.validate(document, "1.33", strict=True)


def test_a_wrong_document_would_be_found():
    wrong = the("StatefulSet") | {"spec": the("StatefulSet")["spec"] | {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_everything_is_applied_but_the_example_of_secrets():
    listed = set(the_kustomization()["resources"])
    there = {file.name for file in FOLDER.glob("*.yaml")}
    assert there - listed == {"kustomization.yaml", "secrets.example.yaml"}


def the_kustomization() -> dict:
    return yaml.safe_load((FOLDER / "kustomization.yaml").read_text())


def test_its_configuration_is_one_and_pods_have_the_time_that_it_gives():
    server = configuration().server
    pod = the("StatefulSet")["spec"]["template"]["spec"]
    needed_s = server.leave_s + server.drain_s + STOP_MARGIN_S
    assert pod["terminationGracePeriodSeconds"] >= needed_s
    probe = pod["containers"][0]["readinessProbe"]
    assert server.leave_s > 2 * probe["periodSeconds"] * probe["failureThreshold"]


def configuration() -> Config:
    """Without its secrets, which are files of a pod."""
    text = the("ConfigMap")["data"]["tollgate.toml"]
    return parse(re.sub(r'url_file = "[^"]*/redis_url"', 'url = "redis://redis:6379/0"', text))


def test_what_is_named_exists():
    gateway = the("StatefulSet")
    labels = gateway["spec"]["template"]["metadata"]["labels"]
    for selector in (
        the("Service", "gateway")["spec"]["selector"],
        the("Service", "gateway-pods")["spec"]["selector"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy", "gateway")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert the("Service", gateway["spec"]["serviceName"])
    scaled = the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("StatefulSet", gateway["metadata"]["name"])
    monitored = the("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= the("Service", "gateway")["metadata"]["labels"].items()
    volumes = gateway["spec"]["template"]["spec"]["volumes"]
    for volume in volumes:
        if "secret" in volume:
            assert the("Secret", volume["secret"]["secretName"])
    discovery = tomllib.loads(the("ConfigMap")["data"]["tollgate.toml"])["ray"]["dashboard_url"]
    assert f"//{the('RayService')['metadata']['name']}-head-svc." in discovery


def test_secrets_are_where_the_configuration_looks_for_them():
    text = the("ConfigMap")["data"]["tollgate.toml"]
    config = tomllib.loads(text)
    mounts = {
        mount["name"]: mount["mountPath"]
        for mount in the("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    files = {f"{mounts['secrets']}/{name}" for name in the("Secret", "tollgate")["stringData"]} | {
        f"{mounts['ray-token']}/{name}" for name in the("Secret", "ray-token")["stringData"]
    }
    assert files == {
        config["ledger"]["url_file"],
        config["redis"]["url_file"],
        config["admin"]["key_file"],
        config["ray"]["token_file"],
    }


def test_replicas_and_ray_are_reached_by_gateways_and_by_ray_alone():
    everything = the("NetworkPolicy", "nothing-unless-allowed")["spec"]
    assert (everything["podSelector"], everything.get("ingress")) == ({}, None)
    for document in documents():
        if document["kind"] == "Service":
            ports = {port["port"] for port in document["spec"]["ports"]}
            assert not ports & PRIVATE, document["metadata"]["name"]
            assert document["spec"].get("type", "ClusterIP") == "ClusterIP"
    gateway = the("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    (rule,) = the("NetworkPolicy", "ray-from-gateways")["spec"]["ingress"]
    (who,) = rule["from"]
    assert who["podSelector"]["matchLabels"].items() <= gateway.items()
    opened = [(port["port"], port.get("endPort", port["port"])) for port in rule["ports"]]
    assert opened == [(8265, 8265), (30000, 31000)]  # neither GCS nor Ray's client


def test_the_world_reaches_the_api_alone():
    (rule,) = the("Ingress")["spec"]["rules"]
    paths = {path["path"] for path in rule["http"]["paths"]}
    assert not paths & {"/", "/admin", "/console", "/healthz", "/metrics", "/provider", "/readyz"}
    assert paths == told_paths()
    assert the("Ingress")["spec"]["tls"]


def told_paths() -> set[str]:
    """What docs/operations.md has a balancer pass on."""
    page = (FOLDER.parents[1] / "docs" / "operations.md").read_text()
    _, table = page.split("| | to |\n|---|---|\n")
    rows = table.partition("\n\n")[0].splitlines()
    return {path for row in rows for path in re.findall(r"`([^`]+)`", row)}


def test_pods_may_do_nothing_that_they_need_not():
    pod = the("StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_gateway_finds_the_pools_replicas():
    """Discovery reads the node back from what Serve was told."""
    serve = yaml.safe_load(the("RayService")["spec"]["serveConfigV2"])
    (application,) = serve["applications"]
    name = application["name"]
    target = {"ip": "10.0.0.7", "port": 30000, "name": "SERVE_REPLICA::x#y#1"}
    state = {
        "applications": {name: {"deployed_app_config": application}},
        "target_groups": [
            {
                "app_name": name,
                "protocol": "HTTP",
                "route_prefix": application["route_prefix"],
                "targets": [target],
            }
        ],
    }
    (record,) = node_records(state)
    models = {model.id for model in configuration().model}
    assert record.model in models
    assert f"--served-model-name={record.model}" in application["args"]["argv"]
    cluster = the("RayService")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert cluster["authOptions"]["mode"] == "token"
    assert "auth_token" in the("Secret", cluster["authOptions"]["secretName"])["stringData"]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        given = {each["name"]: each for each in container["env"]}
        assert given["RAY_SERVE_ENABLE_DIRECT_INGRESS"]["value"] == "1"

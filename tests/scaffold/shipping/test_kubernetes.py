"""The Kubernetes manifest: what the API server would take, and what KEDA would."""

import inspect
import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from loafer_kit.managers import LoaferManager
from loafer_kit.operations.http import Address

PATH = "deploy/kubernetes.yaml"

# What KEDA says of its own resources: see README.md beside the file.
KEDA = json.loads(Path(__file__).with_name("schemas").joinpath("keda.json").read_text())

# To its resources a trigger's metadata is any text. These the SQS scaler reads, by its documentation.
TRIGGER = {
    "type": "object",
    "required": ["queueURL", "awsRegion"],
    "additionalProperties": False,
    "properties": {
        "queueURL": {"type": "string", "pattern": "^https?://[^/]+/[^/]+/[^/]+$"},
        "queueURLFromEnv": {"type": "string"},
        "queueLength": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "activationQueueLength": {"type": "string", "pattern": "^[0-9]+$"},
        "awsRegion": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "awsEndpoint": {"type": "string"},
        "scaleOnInFlight": {"enum": ["true", "false"]},
        "scaleOnDelayed": {"enum": ["true", "false"]},
        "identityOwner": {"enum": ["pod", "operator"]},
    },
}


@pytest.fixture(scope="session")
def manifest(ship):
    """The manifest's resources by their kinds."""

    def manifest(*others, **options):
        documents = yaml.safe_load_all(ship("kubernetes", *others, **options)[PATH])
        return {document["kind"]: document for document in documents}

    return manifest


def test_kubernetes_takes_it(manifest):
    """Strictly: no field that it does not know."""
    found = manifest()

    for kind in ("ServiceAccount", "Deployment"):
        kubernetes_validate.validate(found[kind], "1.30", strict=True)


def test_keda_takes_it(manifest):
    """The fields of its own resources; all values of a trigger are strings."""
    found = manifest()

    for kind, schema in KEDA.items():
        assert found[kind]["apiVersion"] == "keda.sh/v1alpha1"
        jsonschema.validate(found[kind]["spec"], schema)
    for trigger in found["ScaledObject"]["spec"]["triggers"]:
        assert trigger["type"] == "aws-sqs-queue"
        jsonschema.validate(trigger["metadata"], TRIGGER)


def test_one_trigger_for_each_queue(manifest):
    """Its length is what one pod works off in a minute."""
    triggers = [trigger["metadata"] for trigger in manifest()["ScaledObject"]["spec"]["triggers"]]

    assert [
        (trigger["queueURL"].rpartition("/")[2], trigger["queueLength"]) for trigger in triggers
    ] == [
        ("orders", "600"),
        ("orders-created", "600"),
        ("news.fifo", "600"),
        ("prices", "3000"),
        ("slow", "4"),
        ("old", "600"),
    ]
    assert triggers[-1]["queueURL"] == "https://sqs.eu-west-1.amazonaws.com/123456789012/old"


def test_the_parts_belong_together(manifest):
    """One name, and labels that select the pods."""
    found = manifest(name="9.Foo_Bar")
    deployment = found["Deployment"]["spec"]

    assert {resource["metadata"]["name"] for resource in found.values()} == {"service-9-foo-bar"}
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    assert deployment["template"]["spec"]["serviceAccountName"] == "service-9-foo-bar"
    assert found["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == "service-9-foo-bar"


def test_a_pod_is_not_root_and_may_finish_its_work(manifest):
    """It is given longer to stop than the service takes."""
    pod = manifest()["Deployment"]["spec"]["template"]["spec"]
    grace = inspect.signature(LoaferManager).parameters["grace_time"].default

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["terminationGracePeriodSeconds"] > grace


@pytest.mark.parametrize("others", [(), ("monitoring",)])
def test_a_restart_takes_more_than_one_late_answer(manifest, others):
    """It costs each message in hand its visibility timeout; a slow start is no fault."""
    (container,) = manifest(*others)["Deployment"]["spec"]["template"]["spec"]["containers"]
    startup, live = container["startupProbe"], container["livenessProbe"]

    assert live["periodSeconds"] * live["failureThreshold"] >= 30
    assert live["failureThreshold"] > 1
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60


def test_a_pod_without_pages_is_probed_by_a_command(manifest):
    """It reads the file that the image names; the kubelet takes the probes."""
    deployment = manifest()["Deployment"]
    kubernetes_validate.validate(deployment, "1.30", strict=True)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert {
        name: container[f"{name}Probe"]["exec"]["command"]
        for name in ("startup", "liveness", "readiness")
    } == {
        "startup": ["loafer-kit", "health", "--live"],
        "liveness": ["loafer-kit", "health", "--live"],
        "readiness": ["loafer-kit", "health", "--ready"],
    }
    assert "ports" not in container
    assert "LOAFER_HTTP" not in {variable["name"] for variable in container["env"]}


def test_a_monitored_pod_is_probed_at_the_pages_of_the_service(manifest):
    """Kubernetes takes the probes, and the service listens where they ask."""
    deployment = manifest("monitoring")["Deployment"]
    kubernetes_validate.validate(deployment, "1.30", strict=True)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    address = Address.parse(environment["LOAFER_HTTP"], "LOAFER_HTTP")

    assert address.port == port["containerPort"]
    assert not address.is_loopback
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["httpGet"]["path"] for name, probe in probes.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"]}


def test_the_manifest_scales_the_number_of_pods_alone(manifest):
    """A `replicas` would undo it at each apply."""
    assert "replicas" not in manifest()["Deployment"]["spec"]


def test_a_service_of_rabbitmq_scales_on_its_queue_with_its_broker_from_a_secret(manifest):
    """Kubernetes and KEDA take it; nothing of AWS is left."""
    found = manifest(queues=[{"name": "shop.orders", "kind": "amqp", "concurrency": 5}])
    kubernetes_validate.validate(found["Deployment"], "1.30", strict=True)
    for kind in ("ScaledObject", "TriggerAuthentication"):
        jsonschema.validate(found[kind]["spec"], KEDA[kind])
    (trigger,) = found["ScaledObject"]["spec"]["triggers"]
    assert trigger["type"] == "rabbitmq"
    assert trigger["metadata"]["queueName"] == "shop.orders"
    (variable,) = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert variable["name"] == "LOAFER_AMQP_URL"
    assert variable["valueFrom"]["secretKeyRef"]["name"] == found["Secret"]["metadata"]["name"]
    assert "aws" not in str(found).lower()

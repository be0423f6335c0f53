"""The pod template of a run."""

from typing import Any

from modelyard.contract.distribution import TENSORFLOW_PORT, workers_service
from modelyard.contract.training import TrainingSpec
from modelyard.contract.wire import PVC_ROOT, RUN_DOCUMENT, RUN_FOLDER, SIGNING_FOLDER, Environment
from modelyard_operator.outcome import TrainingView
from modelyard_operator.pods import (
    claims_of,
    compute,
    container_security,
    env_from,
    environment,
    pod_security,
    scheduling,
    status_port,
    volumes_of,
)
from modelyard_operator.training.telling import CONTAINER

__all__ = ["TRAINER", "pod_template"]

Json = dict[str, Any]

#: What the training images run for scripts and modules.
TRAINER = ("python3", "-m", "modelyard_trainer")
#: Seconds between SIGTERM and SIGKILL: time to save the state of a large model.
_GRACE_SECONDS = 60


def pod_template(view: TrainingView, run: str, labels: dict[str, str]) -> Json:
    """Return the template of the run's pods: no API token, nothing writable but the claims of the output and /tmp."""
    spec = view.training.spec
    volumes, mounts = _volumes(spec, run)
    return {
        "metadata": {"labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "enableServiceLinks": False,
            **_domain(view),
            "securityContext": pod_security(),
            **scheduling(spec, spec.storage),
            "containers": [_container(view, mounts)],
            "volumes": volumes,
        },
    }


def _container(view: TrainingView, mounts: list[Json]) -> Json:
    spec = view.training.spec
    variables = {Environment.RUN: f"{RUN_FOLDER}/{RUN_DOCUMENT}", Environment.PVC_ROOT: PVC_ROOT}
    if spec.signing is not None:
        variables[Environment.SIGNING_KEY] = f"{SIGNING_FOLDER}/{spec.signing.key}"
    attempt = {"name": Environment.ATTEMPT, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return {
        "name": CONTAINER,
        "image": spec.image or view.defaults.training_image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(spec.command or TRAINER),
        "env": [*environment(variables), attempt],
        **env_from(spec.storage),
        **compute(spec.resources),
        "ports": [status_port(), *_peers_port(spec)],
        "securityContext": container_security(),
        # A program of the user's own may leave no final record; its last words are better than none.
        "terminationMessagePolicy": "FallbackToLogsOnError" if spec.command else "File",
        "volumeMounts": mounts,
    }


def _domain(view: TrainingView) -> Json:
    """Return what gives each task a host name, if there are several."""
    training = view.training
    return {"subdomain": workers_service(training.metadata.name)} if training.spec.distribution else {}


def _peers_port(spec: TrainingSpec) -> list[Json]:
    port = {"name": "tensorflow", "containerPort": TENSORFLOW_PORT, "protocol": "TCP"}
    return [port] if spec.distribution else []


def _volumes(spec: TrainingSpec, run: str) -> tuple[list[Json], list[Json]]:
    outputs = claims_of([spec.output.uri])
    volumes, mounts = volumes_of(claims_of([spec.output.uri, *(item.uri for item in spec.data)]), writable=outputs)
    volumes.append({"name": "run", "configMap": {"name": run}})
    mounts.append({"name": "run", "mountPath": RUN_FOLDER, "readOnly": True})
    if spec.signing is not None:
        source = {"secretName": spec.signing.secret_name, "defaultMode": 0o440}
        volumes.append({"name": "signing", "secret": source})
        mounts.append({"name": "signing", "mountPath": SIGNING_FOLDER, "readOnly": True})
    return volumes, mounts

"""Revision: a package and the pod template that serves it; the name is a hash of both."""

import json
from dataclasses import dataclass, field
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import ModelRuntime
from modelyard.contract.options import ServingOptions
from modelyard.contract.serving import ModelServing, Revision, ServingSpec
from modelyard.contract.wire import (
    API_KEYS_FOLDER,
    GRPC_PORT,
    HTTP_PORT,
    MANAGED_BY,
    PVC_ROOT,
    STATUS_PORT,
    TLS_FOLDER,
    VERIFICATION_FOLDER,
    Annotation,
    Environment,
    Label,
    Route,
)
from modelyard_operator.outcome import ServingView
from modelyard_operator.pods import (
    child_name,
    claims_of,
    compute,
    container_security,
    env_from,
    environment,
    fingerprint,
    pod_security,
    scheduling,
    status_port,
    volumes_of,
)

__all__ = ["CONTAINER", "Package", "Rendered", "package_of", "render_revision", "serving_labels"]

Json = dict[str, Any]

#: The container that serves.
CONTAINER = "server"
#: Seconds after the drain for requests under way, before SIGKILL.
_FINISH_SECONDS = 30
#: Mode of mounted Secrets: the pod's group reads them.
_READABLE = 0o440
#: The longest parent name that leaves room for `-` and eight digits in a label's value.
_LONGEST_PARENT = 54


@dataclass(frozen=True, slots=True)
class Package:
    """What is served."""

    uri: str
    digest: str
    checkpoint: str | None = None
    run: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    runtime: ModelRuntime = ModelRuntime.LITERT

    @property
    def version(self) -> str:
        """What clients and metrics call it: the checkpoint's name or a short digest."""
        return self.checkpoint or self.digest.removeprefix("sha256:")[:12]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A revision that is wanted."""

    name: str
    package: Package
    template: Json | None
    """The pod template, complete; None: as its Deployment has it, which the present spec would make otherwise."""


def package_of(source: ModelCheckpoint | Revision) -> Package:
    """Return the package of a checkpoint or of a revision on record."""
    if isinstance(source, Revision):
        told = (source.uri, source.digest, source.checkpoint, source.run, dict(source.metrics), source.runtime)
        return Package(*told)
    spec = source.spec
    return Package(spec.uri, spec.digest, source.metadata.name, spec.run, dict(spec.metrics), spec.runtime)


def serving_labels(serving: ModelServing) -> dict[str, str]:
    """Return the labels of everything that belongs to a serving."""
    return {
        Label.MANAGED_BY: MANAGED_BY,
        Label.NAME: serving.metadata.name,
        Label.COMPONENT: "serving",
        Label.SERVING: serving.metadata.name,
    }


def render_revision(view: ServingView, package: Package) -> Rendered:
    """Return the revision that serves a package with the present spec.

    The name hashes the template without what is made from the name itself.
    """
    name = view.serving.metadata.name
    digits = fingerprint(_template(view, package, revision=""))
    revision = child_name(name, digits, _LONGEST_PARENT)
    return Rendered(revision, package, _template(view, package, revision))


def _template(view: ServingView, package: Package, revision: str) -> Json:
    serving, spec = view.serving, view.serving.spec
    volumes, mounts = volumes_of(claims_of([package.uri]))
    for folder, source in _mounted(spec).items():
        # the name of the folder's last part is the volume's
        volume = folder.rpartition("/")[2]
        volumes.append({"name": volume, **source})
        mounts.append({"name": volume, "mountPath": folder, "readOnly": True})
    restart = serving.metadata.annotations.get(Annotation.RESTART)
    return {
        "metadata": {
            "labels": serving_labels(serving) | {Label.REVISION: revision},
            "annotations": {
                Annotation.DIGEST: package.digest,
                **({Annotation.CHECKPOINT: package.checkpoint} if package.checkpoint else {}),
                **({Annotation.RESTART: restart} if restart else {}),
            },
        },
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": spec.rollout.drain_seconds + _FINISH_SECONDS,
            "enableServiceLinks": False,
            "securityContext": pod_security(),
            **scheduling(spec, spec.storage),
            "topologySpreadConstraints": [
                _spread("kubernetes.io/hostname", serving, revision),
                _spread("topology.kubernetes.io/zone", serving, revision),
            ],
            "containers": [_container(view, package, mounts)],
            "volumes": volumes,
        },
    }


def _mounted(spec: ServingSpec) -> dict[str, Json]:
    """Return the folders where Secrets and ConfigMaps are mounted, and the volume source of each."""
    access, verification = spec.access, spec.verification
    secrets = {API_KEYS_FOLDER: access.api_keys_secret, TLS_FOLDER: access.tls_secret}
    sources: dict[str, Json] = {}
    if verification is not None:
        secrets[VERIFICATION_FOLDER] = verification.secret_name
        if verification.config_map is not None:
            sources[VERIFICATION_FOLDER] = {"configMap": {"name": verification.config_map}}
    named = {folder: name for folder, name in secrets.items() if name is not None}
    return sources | {
        folder: {"secret": {"secretName": name, "defaultMode": _READABLE}} for folder, name in named.items()
    }


def _options(spec: ServingSpec) -> str:
    """Return the part of the spec that the process reads itself, without defaults; empty if nothing is left."""
    told = {name: getattr(spec, name) for name in ServingOptions.model_fields}
    options = ServingOptions(**told).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(options, sort_keys=True) if options else ""


def _container(view: ServingView, package: Package, mounts: list[Json]) -> Json:
    serving, spec = view.serving, view.serving.spec
    variables = {
        Environment.MODEL_NAME: serving.metadata.name,
        Environment.MODEL_VERSION: package.version,
        Environment.PACKAGE_URI: package.uri,
        Environment.PACKAGE_DIGEST: package.digest,
        Environment.DRAIN_SECONDS: str(spec.rollout.drain_seconds),
        Environment.PVC_ROOT: PVC_ROOT,
        # what is not asked for is not told: a new field of the operator's leaves the pods as they are
        **({Environment.OPTIONS: options} if (options := _options(spec)) else {}),
        **({Environment.API_KEYS: API_KEYS_FOLDER} if spec.access.api_keys_secret else {}),
        **({Environment.TLS: TLS_FOLDER} if spec.access.tls_secret else {}),
        **({Environment.VERIFICATION: VERIFICATION_FOLDER} if spec.verification else {}),
    }
    return {
        "name": CONTAINER,
        "image": spec.image or _default_image(view, package),
        "imagePullPolicy": "IfNotPresent",
        "env": environment(variables),
        **env_from(spec.storage),
        **compute(spec.resources),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            status_port(),
        ],
        # The status port opens before the package is fetched: a large package is not a dead process.
        "startupProbe": _probe(Route.HEALTHZ, period=1, failures=300),
        "livenessProbe": _probe(Route.HEALTHZ, period=10, failures=6),
        "readinessProbe": _probe(Route.READYZ, period=1, failures=3),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _default_image(view: ServingView, package: Package) -> str:
    runtime = view.serving.spec.runtime or package.runtime
    defaults = view.defaults
    return defaults.serving_tensorflow_image if runtime is ModelRuntime.TENSORFLOW else defaults.serving_image


def _probe(route: Route, *, period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": str(route), "port": STATUS_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _spread(topology: str, serving: ModelServing, revision: str) -> Json:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {Label.SERVING: serving.metadata.name, Label.REVISION: revision}},
    }

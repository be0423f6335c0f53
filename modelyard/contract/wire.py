"""What crosses from one process to another: ports, routes, environment, labels, metric names, documents."""

from enum import IntEnum, StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from modelyard.contract.distribution import Distribution, Task
from modelyard.contract.meta import GROUP, Digest, Metrics, ModelRuntime, Schema
from modelyard.contract.training import Checkpointing, DataSource, Optimise, Publish

__all__ = [
    "API_KEYS_FOLDER",
    "CURVES_FILE",
    "GRPC_PORT",
    "HTTP_PORT",
    "MANAGED_BY",
    "MOST_PUBLISHED",
    "PVC_ROOT",
    "RUN_FOLDER",
    "SIGNING_FOLDER",
    "STATUS_PORT",
    "TLS_FOLDER",
    "VERIFICATION_FOLDER",
    "Annotation",
    "Component",
    "Curve",
    "Environment",
    "ExitCode",
    "Header",
    "Label",
    "Phase",
    "Progress",
    "Published",
    "Route",
    "RunCurves",
    "RunDocument",
    "ServingSummary",
    "Termination",
]

HTTP_PORT = 8080
STATUS_PORT = 8081
GRPC_PORT = 8082
MANAGED_BY = "modelyard"
#: Where pods find `pvc://CLAIM/PATH`: below this folder, as CLAIM/PATH.
PVC_ROOT = "/mnt/pvc"
#: Where serving pods find the API keys and the certificate.
API_KEYS_FOLDER = "/etc/modelyard/api-keys"
TLS_FOLDER = "/etc/modelyard/tls"
#: Where serving pods find the public keys that packages must be signed with, and training pods the private one.
VERIFICATION_FOLDER = "/etc/modelyard/verification"
SIGNING_FOLDER = "/etc/modelyard/signing"
#: Where a training pod finds its run document (`run.json`) and, if any, the script.
RUN_FOLDER = "/etc/modelyard/run"
RUN_DOCUMENT = "run.json"
#: Name of the `RunCurves` document beside the progress file.
CURVES_FILE = "curves.json"
#: How many of its packages a run tells of at once: the newest.
MOST_PUBLISHED = 100


class Label:
    """Label keys on everything that the operator makes."""

    MANAGED_BY = "app.kubernetes.io/managed-by"
    NAME = "app.kubernetes.io/name"
    COMPONENT = f"{GROUP}/component"
    TRAINING = f"{GROUP}/training"
    RUN = f"{GROUP}/run"
    SERVING = f"{GROUP}/serving"
    REVISION = f"{GROUP}/revision"
    QUEUE = "kueue.x-k8s.io/queue-name"
    """On a run's Job: the queue that admits it, in Kueue's own words."""
    INDEX = "batch.kubernetes.io/job-completion-index"
    """On a run's pods, by Kubernetes: which task they are."""


class Component:
    """Values of the label COMPONENT on the Jobs of a training, their ConfigMaps and pods."""

    TRAINING = "training"
    PREPARE = "prepare"
    COLLECT = "collect"


class Annotation:
    """Annotation keys."""

    RETRAIN = f"{GROUP}/retrain"
    """On a ModelTraining: a new value starts a new run of the same spec."""
    RESTART = f"{GROUP}/restart"
    """On a ModelServing: a new value makes a new revision, also of a model that was rejected."""
    APPLIED = f"{GROUP}/applied"
    CHECKPOINT = f"{GROUP}/checkpoint"
    DIGEST = f"{GROUP}/digest"
    TRIGGER = f"{GROUP}/trigger"
    """On a run's Job: why the run was started."""
    TRAINED = f"{GROUP}/trained"
    """On a run's ConfigMap: hash of what is trained, without the retrain token."""
    TEMPLATE = f"{GROUP}/template"
    """On a run's Job: hash of its pod template as it was rendered."""
    PUBLISHED = f"{GROUP}/published"
    """On a ModelCheckpoint: when its marker was written, by the publisher's clock."""


class Environment:
    """Environment variables of the pods."""

    RUN = "MODELYARD_RUN"
    """Path of the run document; absent on a laptop."""
    ATTEMPT = "MODELYARD_ATTEMPT"
    """Name of the pod: unique to each attempt of a run."""
    INDEX = "JOB_COMPLETION_INDEX"
    """Set by Kubernetes: which of the run document's tasks this process is."""
    TF_CONFIG = "TF_CONFIG"
    """Set for the script: what TensorFlow is to know of the other tasks."""
    PROGRESS = "MODELYARD_PROGRESS"
    """File that a training program keeps its progress in: the `Progress` document, replaced whole at each change."""
    MODEL_NAME = "MODELYARD_MODEL_NAME"
    MODEL_VERSION = "MODELYARD_MODEL_VERSION"
    PACKAGE_URI = "MODELYARD_PACKAGE_URI"
    PACKAGE_DIGEST = "MODELYARD_PACKAGE_DIGEST"
    OPTIONS = "MODELYARD_OPTIONS"
    """How a serving process answers: `ServingOptions` as JSON."""
    API_KEYS = "MODELYARD_API_KEYS"
    """Folder of the mounted API keys: one a file."""
    TLS = "MODELYARD_TLS"
    """Folder of the mounted `tls.crt` and `tls.key`."""
    VERIFICATION = "MODELYARD_VERIFICATION"
    """File or folder of public keys: only packages that one of them signed are opened."""
    SIGNING_KEY = "MODELYARD_SIGNING_KEY"
    """File with the private key that packages are signed with."""
    PVC_ROOT = "MODELYARD_PVC_ROOT"
    OUTPUT = "MODELYARD_OUTPUT"
    """URI of the folder that a prepare step fills."""
    DRAIN_SECONDS = "MODELYARD_DRAIN_SECONDS"
    TERMINATION_LOG = "MODELYARD_TERMINATION_LOG"
    PATIENCE = "MODELYARD_PATIENCE_SECONDS"
    """How long a training waits for a store that does not answer, or is full, before it ends to be repeated."""


class Header:
    """HTTP headers of the serving port."""

    DEADLINE = "x-modelyard-deadline-ms"
    """On a request: within how many milliseconds of its arrival an answer is of use."""
    VERSION = "x-modelyard-version"
    """On an answer: which version gave it."""
    REQUEST_ID = "x-request-id"
    """On a request: its identity in the prediction log."""


class Route(StrEnum):
    """Routes on the status port."""

    PROGRESS = "/progress"
    CURVES = "/curves"
    SUMMARY = "/summary"
    METRICS = "/metrics"
    HEALTHZ = "/healthz"
    READYZ = "/readyz"


class ExitCode(IntEnum):
    """What the exit code of a training container says to the Job's pod failure policy."""

    DONE = 0
    FAILED = 1
    """The script raised: counted against `backoffLimit`."""
    CONFIGURATION = 64
    """A mistake in the manifest or script that no retry mends: the run fails at once."""
    INTERRUPTED = 75
    """SIGTERM: state was saved, the next attempt resumes; not counted as a failure."""


class Phase(StrEnum):
    """What a training process is doing."""

    STARTING = "Starting"
    DOWNLOADING = "Downloading"
    PREPARING = "Preparing"
    TRAINING = "Training"
    SAVING = "Saving"
    PUBLISHING = "Publishing"
    DONE = "Done"
    FAILED = "Failed"


class Published(Schema):
    """The content of a publication marker, and what a run tells of each of its packages."""

    step: Annotated[int, Field(ge=0)]
    uri: str
    """The package's own prefix."""
    digest: Digest
    metrics: Metrics
    runtime: ModelRuntime = ModelRuntime.LITERT
    """What a server needs to execute it."""
    token: str = ""
    """Unique to the attempt that published."""
    created: str = ""
    """RFC 3339 time at which the marker was written, by the publisher's clock."""


class Progress(Schema):
    """The `/progress` document of a training pod. Unknown fields are ignored so that versions can differ."""

    model_config = ConfigDict(extra="ignore")

    run: str
    attempt: str
    phase: Phase
    step: Annotated[int, Field(ge=0)] = 0
    total_steps: int | None = None
    epoch: int | None = None
    """Epochs finished."""
    epochs: int | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    steps_per_second: float | None = None
    metrics: Metrics = Field(default_factory=dict)
    saved_step: int | None = None
    """The newest complete state."""
    resumed_step: int | None = None
    """The state this attempt started from."""
    published: list[Published] = Field(default_factory=list)
    """The newest last, at most `MOST_PUBLISHED`."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""


class Curve(Schema):
    """Values of one metric over the steps of a run: at most 500, evenly spread over all there were."""

    steps: list[int]
    values: list[float]
    """As many as there are steps."""


class RunCurves(Schema):
    """The `/curves` document of a training pod, kept as `curves.json` in the run's folder."""

    model_config = ConfigDict(extra="ignore")

    run: str
    metrics: dict[str, Curve] = Field(default_factory=dict)
    """Of each step, or of each epoch for those that are measured once an epoch."""


class Termination(Schema):
    """The termination message of a training pod: its final record, at most 4,096 bytes."""

    model_config = ConfigDict(extra="ignore")

    phase: Phase
    step: int = 0
    metrics: Metrics = Field(default_factory=dict)
    published: list[Published] = Field(default_factory=list)
    """As many of the newest as there is room for; the others were told of by `/progress`."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """For a failure: the exception's last line with its file and line."""


class RunDocument(Schema):
    """What a run is told: written once into an immutable ConfigMap, so that every attempt trains the same."""

    training: str
    namespace: str
    run: str
    output: str
    """The output URI."""
    script: str | None = None
    """File name of the script in the run folder."""
    module: str | None = None
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    data: list[DataSource] = Field(default_factory=list)
    checkpointing: Checkpointing = Checkpointing()
    publish: Publish = Publish()
    seed: Annotated[int, Field(ge=0)] = 0
    optimise: Optimise = Optimise()
    stall_seconds: int | None = None
    """The script is ended when its progress stands still for so long; None: never."""
    distribution: Distribution | None = None
    """Absent: this process trains alone."""
    tasks: list[Task] = Field(default_factory=list)
    """With a distribution: every process of the run, in the order of `JOB_COMPLETION_INDEX`; the first is the chief."""
    step: str | None = None
    """Name of the prepare step that this is; None: it trains."""
    required_metrics: list[str] = Field(default_factory=list)
    """Metrics that the gate will ask for: publishing without one of them is refused early."""


class ServingSummary(Schema):
    """The `/summary` document of a serving pod."""

    model_config = ConfigDict(extra="ignore")

    model: str
    version: str
    digest: str
    state: Annotated[str, StringConstraints(pattern="^(Loading|Ready|Draining|Failed)$")]
    message: str = ""
    """Why the model is not ready."""
    uptime_seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    """Answers with status 5xx."""
    refused: int = 0
    """Answers with status 4xx but 429."""
    rejected: int = 0
    """Answers with status 429 or 503: more came than could be answered in time."""
    latency: dict[str, int] = Field(default_factory=dict)
    """Cumulative request-time histogram: upper bound in seconds (as a decimal string, `+Inf` last) to count."""
    features: dict[str, Any] = Field(default_factory=dict)
    """Feature name to its observed distribution and its shift against the baseline."""
    predictions: dict[str, Any] = Field(default_factory=dict)

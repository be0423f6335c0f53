"""Where things lie under a training's output URI: pure path functions, forward slashes, no leading slash.

runs/RUN/state/STEP-ATTEMPT/...      saved training state, whole once its marker exists
runs/RUN/state/STEP.json             the state's marker
runs/RUN/curves.json                 how its metrics went, for people
runs/RUN/data/NAME.json              which version of a data source the run trains on
runs/RUN/attempts/STEP-ATTEMPT/...   a package; the prefix is used once
runs/RUN/published/STEP.json         the package's marker, created once: who sees it sees a whole package
"""

__all__ = [
    "attempt_prefix",
    "curves_file",
    "data_record",
    "join",
    "published_folder",
    "published_marker",
    "run_folder",
    "state_folder",
    "state_marker",
    "state_prefix",
]


def join(uri: str, *parts: str) -> str:
    """Return `uri` with path segments added, with exactly one slash between them."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part)])


def run_folder(run: str) -> str:
    """Return the folder of everything that one run writes."""
    return f"runs/{run}"


def state_folder(run: str) -> str:
    """Return the folder that holds the markers of saved states."""
    return f"{run_folder(run)}/state"


def state_prefix(run: str, step: int, attempt: str) -> str:
    """Return the folder of one saved state; `attempt` makes it unique."""
    return f"{state_folder(run)}/{step}-{attempt}"


def state_marker(run: str, step: int) -> str:
    """Return the marker that makes a saved state complete."""
    return f"{state_folder(run)}/{step}.json"


def curves_file(run: str) -> str:
    """Return the curves of a run's metrics."""
    return f"{run_folder(run)}/curves.json"


def data_record(run: str, name: str) -> str:
    """Return what holds the versions of a data source's files that the run began with."""
    return f"{run_folder(run)}/data/{name}.json"


def attempt_prefix(run: str, step: int, attempt: str) -> str:
    """Return the folder of one package; `attempt` makes it unique."""
    return f"{run_folder(run)}/attempts/{step}-{attempt}"


def published_folder(run: str) -> str:
    """Return the folder of a run's publication markers."""
    return f"{run_folder(run)}/published"


def published_marker(run: str, step: int) -> str:
    """Return the marker whose creation publishes a package."""
    return f"{published_folder(run)}/{step}.json"

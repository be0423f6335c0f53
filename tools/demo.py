"""`make demo`: everything from nothing to a prediction, step by step, each step timed; repeating it is quick."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("digits", "flights")
NAMESPACE = "default"
TRAINING_DEADLINE = 900.0
SERVING_DEADLINE = 180.0


class DemoError(click.ClickException):
    """The demo cannot go on; the message says what to look at."""


@dataclass
class Timings:
    """How long each step took, in seconds."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, console: Console, title: str) -> Iterator[None]:
        """Announce a step, run it, remember its duration."""
        console.print(f"\n[bold]▸ {title}[/bold]")
        started = time.monotonic()
        yield
        self.steps.append((title, time.monotonic() - started))

    def show(self, console: Console) -> None:
        """Print the table of steps."""
        table = Table("step", "seconds", title="How long it took", title_justify="left")
        for title, seconds in self.steps:
            table.add_row(title, f"{seconds:.1f}")
        table.add_row("[bold]all[/bold]", f"[bold]{sum(seconds for _, seconds in self.steps):.1f}[/bold]")
        console.print(table)


class Kubectl:
    """The cluster, through kubectl."""

    def __init__(self, executable: str, kubeconfig: str) -> None:
        self.executable, self.kubeconfig = executable, kubeconfig

    @classmethod
    def of_the_cluster(cls) -> "Kubectl":
        """Ask the cluster tool for kubectl and kubeconfig."""

        def ask(what: str) -> str:
            command = [sys.executable, "-m", "modelyard_local", what]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        return cls(ask("kubectl"), ask("kubeconfig"))

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        context = ["--context", os.environ["CONTEXT"]] if os.environ.get("CONTEXT") else []
        return [self.executable, "--kubeconfig", self.kubeconfig, *context, *arguments]

    def show(self, *arguments: str) -> None:
        """Run and let the output through."""
        done = subprocess.run(self.command(*arguments), cwd=ROOT)
        if done.returncode:
            raise DemoError(f"kubectl {' '.join(arguments)} failed (exit status {done.returncode})")

    def text(self, *arguments: str) -> str:
        """Run and return the output."""
        done = subprocess.run(self.command(*arguments), cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise DemoError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def objects(self, kind: str, *names: str) -> list[dict[str, Any]]:
        """Return objects of one kind in the demo's namespace, in the order of their names."""
        listed = json.loads(self.text("--namespace", NAMESPACE, "get", kind, "--output", "json"))["items"]
        found = {item["metadata"]["name"]: item for item in listed}
        return [found[name] for name in names if name in found]


def condition(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return one condition of a resource, or an empty one."""
    for entry in resource.get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return dict(entry)
    return {"status": "Unknown", "reason": "", "message": ""}


def is_settled(resource: dict[str, Any]) -> bool:
    """Say whether a resource is ready for its present generation; a stalled one is an error."""
    stalled = condition(resource, "Stalled")
    if stalled["status"] == "True":
        raise DemoError(f"{resource['kind']} {resource['metadata']['name']}: {stalled['message']}")
    observed = resource.get("status", {}).get("observedGeneration") == resource["metadata"]["generation"]
    return bool(observed and condition(resource, "Ready")["status"] == "True")


def training_line(training: dict[str, Any]) -> str:
    """Return one line on how a training goes."""
    status = training.get("status", {})
    run = status.get("run", {})
    words = [status.get("phase", "Pending"), status.get("progress", "")]
    if status.get("eta"):
        words.append(f"{status['eta']} left")
    metrics = run.get("metrics", {})
    words += [f"{name}={value:.4g}" for name, value in sorted(metrics.items())[:3]]
    words.append(run.get("message", "") if run.get("phase") in ("Pending", "Preparing") else "")
    return "  ".join(word for word in words if word)


def serving_line(serving: dict[str, Any]) -> str:
    """Return one line on how a serving comes up."""
    status = serving.get("status", {})
    return f"{status.get('phase', 'Waiting')}  {status.get('ready', '0/?')} ready"


def watch(console: Console, kubectl: Kubectl, kind: str, seconds: float) -> None:
    """Wait until both samples' resources are ready, telling every change as it happens."""
    line = training_line if kind == "modeltrainings" else serving_line
    said: dict[str, str] = {}
    deadline = time.monotonic() + seconds
    started = time.monotonic()
    while True:
        resources = kubectl.objects(kind, *SAMPLES)
        for resource in resources:
            name, words = resource["metadata"]["name"], line(resource)
            if said.get(name) != words:
                console.print(f"  {time.monotonic() - started:6.1f} s  [cyan]{name:8}[/cyan] {words}", highlight=False)
                said[name] = words
        if len(resources) == len(SAMPLES) and all(map(is_settled, resources)):
            return
        if time.monotonic() > deadline:
            raise DemoError(f"{kind} not ready after {seconds:.0f} s: kubectl describe {kind} says why")
        time.sleep(1.0)


def predict(kubectl: Kubectl, sample: str) -> tuple[str, dict[str, Any]]:
    """Ask a serving for a prediction by GET through its Service; return the query and the answer."""
    query = (ROOT / "config" / "samples" / sample / "request.txt").read_text().strip()
    path = f"/v1/models/{sample}:predict?{quote(query, safe='=&,:')}"
    service = f"/api/v1/namespaces/{NAMESPACE}/services/{sample}:http/proxy"
    return path, json.loads(kubectl.text("get", "--raw", service + path))


def show_predictions(console: Console, kubectl: Kubectl) -> None:
    """Ask each sample once and show what it answers."""
    for sample in SAMPLES:
        path, answer = predict(kubectl, sample)
        shown = path if len(path) < 160 else path[:157] + "..."
        console.print(f"  [green]GET[/green] http://{sample}.{NAMESPACE}{shown}", highlight=False)
        console.print(f"      {json.dumps(best_first(answer))}", highlight=False)


def best_first(answer: Any) -> Any:
    """Round scores and put the highest first, for people."""
    if isinstance(answer, dict) and answer and all(isinstance(value, float) for value in answer.values()):
        return {key: round(value, 4) for key, value in sorted(answer.items(), key=lambda item: -item[1])}
    if isinstance(answer, dict):
        return {key: best_first(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [best_first(value) for value in answer]
    return answer


def say_what_next(console: Console, kubectl: Kubectl) -> None:
    """Print what to try, and the one line that makes a shell ready for it."""
    folder = Path(kubectl.executable).parent
    console.print("\n[bold]Try next[/bold] (paste the first line once in your shell):\n")
    for line in (
        f"export KUBECONFIG={kubectl.kubeconfig} PATH={folder}:$PATH",
        "kubectl scale modelserving digits --replicas=5 && kubectl get modelservings --watch",
        """kubectl patch modeltraining digits --type=merge -p '{"spec":{"hyperparameters":{"epochs":12}}}'""",
        "kubectl get modeltrainings,modelcheckpoints,modelservings",
        "kubectl describe modeltraining digits        # what happened, and why",
        "kubectl explain modelserving.spec.rollout    # every field is documented",
        "make demo-down                               # takes everything away again",
    ):
        console.print(f"    {line}", highlight=False, soft_wrap=True)


@click.group()
def main() -> None:
    """Run Modelyard's demonstration."""


def _make(*arguments: str) -> None:
    if subprocess.run([sys.executable, *arguments], cwd=ROOT).returncode:
        raise DemoError(f"{' '.join(arguments[1:])} failed: see above")


@main.command()
def up() -> None:
    """Bring everything up, train and serve both samples, ask for predictions."""
    console, timings = Console(soft_wrap=True), Timings()
    with timings.step(console, "Cluster"):
        _make("-m", "modelyard_local", "up")
    with timings.step(console, "Images"):
        _make("-m", "tools.images", "build")
    kubectl = Kubectl.of_the_cluster()
    with timings.step(console, "Operator"):
        kubectl.text("apply", "--server-side", "--force-conflicts", "--kustomize", "build/deploy")
        kubectl.show(
            "--namespace", "modelyard-system", "rollout", "status", "deployment/modelyard-operator", "--timeout=180s"
        )
    with timings.step(console, "Samples"):
        for name in ("storage", *SAMPLES):
            kubectl.show("--namespace", NAMESPACE, "apply", "--kustomize", f"config/samples/{name}")
    with timings.step(console, "Training"):
        watch(console, kubectl, "modeltrainings", TRAINING_DEADLINE)
    with timings.step(console, "Serving"):
        watch(console, kubectl, "modelservings", SERVING_DEADLINE)
    console.print()
    kubectl.show("--namespace", NAMESPACE, "get", "modeltrainings,modelcheckpoints,modelservings")
    with timings.step(console, "Predictions, by GET through the Service"):
        show_predictions(console, kubectl)
    console.print()
    timings.show(console)
    say_what_next(console, kubectl)


@main.command()
def down() -> None:
    """Remove the samples and the operator, and stop the local cluster."""
    kubectl = Kubectl.of_the_cluster()
    status = subprocess.run([sys.executable, "-m", "modelyard_local", "status"], cwd=ROOT, capture_output=True)
    if status.returncode == 0:
        for name in (*SAMPLES, "storage"):
            folder = f"config/samples/{name}"
            kubectl.show("--namespace", NAMESPACE, "delete", "--kustomize", folder, "--ignore-not-found")
        if (ROOT / "build/deploy/kustomization.yaml").exists():
            kubectl.show("delete", "--kustomize", "build/deploy", "--ignore-not-found")
    _make("-m", "modelyard_local", "down")


if __name__ == "__main__":
    main()

"""How good the samples' models are, over three seeds: `make sample-quality`.

Runs the samples' own scripts, as a pod would, on this machine. The gate in each manifest stands well below the worst
seed, so that a sample fails only when something is wrong.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2)
#: Metrics, and seconds.
Measured = tuple[dict[str, float], float]


def run(folder: Path, script: Path, **document: object) -> dict[str, Any]:
    """Run a script as a pod would; return its final record. Claims lie in the folder above."""
    folder.mkdir()
    known = {"training": script.parent.name, "namespace": "benchmark", "script": script.name}
    (folder / "run.json").write_text(json.dumps(known | document))
    shutil.copy(script, folder)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'training_image'}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"MODELYARD_RUN": str(folder / "run.json"), "MODELYARD_ATTEMPT": "benchmark"}
    environment |= {"MODELYARD_TERMINATION_LOG": str(folder / "record.json"), "MODELYARD_PVC_ROOT": str(folder.parent)}
    subprocess.run(
        [sys.executable, "-m", "modelyard_trainer", "--port", "18081"],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    record: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return record


def prepare(sample: str, steps: list[dict[str, Any]], folder: Path) -> list[dict[str, str]]:
    """Run the sample's prepare steps; return what they made, as data sources."""
    made: list[dict[str, str]] = []
    for step in steps:
        name = step["name"]
        script = ROOT / "config/samples" / sample / step["script"]["file"]
        output = f"pvc://prepared/{name}"
        (folder / "prepared").mkdir(exist_ok=True)
        run(folder / f"step-{name}", script, run=name, step=name, output=output, data=[*step.get("inputs", []), *made])
        made.append({"name": name, "uri": output})
    return made


def train(sample: str, spec: dict[str, Any], seed: int, folder: Path, data: list[dict[str, str]]) -> Measured:
    """Return the metrics that a run publishes, and its seconds."""
    script = ROOT / "config/samples" / sample / "train.py"
    document = {"output": str(folder), "seed": seed, "hyperparameters": spec.get("hyperparameters", {}), "data": data}
    started = time.monotonic()
    record = run(folder / f"run-{seed}", script, run=f"{sample}-{seed}", **document)
    return record["published"][-1]["metrics"], time.monotonic() - started


def main() -> None:
    """Print a line for each sample and metric: worst to best, and the gate."""
    for sample in ("digits", "flights"):
        spec = yaml.safe_load((ROOT / "config/samples" / sample / "training.yaml").read_text())["spec"]
        gates = {gate["name"]: gate for gate in spec["gate"]["metrics"]}
        with tempfile.TemporaryDirectory() as name:
            data = prepare(sample, spec.get("prepare", []), Path(name))
            runs = [train(sample, spec, seed, Path(name), data) for seed in SEEDS]
        print(f"{sample}: {min(s for _, s in runs):.0f} to {max(s for _, s in runs):.0f} s a run")
        for metric in runs[0][0]:
            values = sorted(metrics[metric] for metrics, _ in runs)
            gate = gates.get(metric, {})
            told = ", ".join(f"{name} {gate[name]}" for name in ("floor", "ceiling") if name in gate)
            print(f"  {metric:<10} {values[0]:.4f} to {values[-1]:.4f}   {told}")


if __name__ == "__main__":
    main()

"""How good the samples' models are, over three seeds: `make sample-quality`.

Runs the samples' own scripts, as a pod would, on this machine. The gate in each manifest stands well below the worst
seed, so that a sample fails only when something is wrong.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2)


def train(sample: str, seed: int, folder: Path) -> tuple[dict[str, float], float]:
    """Return the metrics that a run publishes, and its seconds."""
    manifest = yaml.safe_load((ROOT / "config/samples" / sample / "training.yaml").read_text())
    document = {"training": sample, "namespace": "benchmark", "run": f"{sample}-{seed}", "script": "train.py"}
    document |= {"output": str(folder), "seed": seed, "hyperparameters": manifest["spec"].get("hyperparameters", {})}
    (folder / "run.json").write_text(json.dumps(document))
    (folder / "train.py").write_text((ROOT / "config/samples" / sample / "train.py").read_text())
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'training_image'}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"MODELYARD_RUN": str(folder / "run.json"), "MODELYARD_ATTEMPT": "benchmark"}
    environment |= {"MODELYARD_TERMINATION_LOG": str(folder / "record.json")}
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "modelyard_trainer", "--port", "18081"],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    record = json.loads((folder / "record.json").read_text())
    return record["published"][-1]["metrics"], time.monotonic() - started


def main() -> None:
    """Print a line for each sample and metric: worst to best, and the gate."""
    for sample in ("digits", "flights"):
        manifest = yaml.safe_load((ROOT / "config/samples" / sample / "training.yaml").read_text())
        gates = {gate["name"]: gate for gate in manifest["spec"]["gate"]["metrics"]}
        runs = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                runs.append(train(sample, seed, Path(folder)))
        print(f"{sample}: {min(s for _, s in runs):.0f} to {max(s for _, s in runs):.0f} s a run")
        for metric in runs[0][0]:
            values = sorted(metrics[metric] for metrics, _ in runs)
            gate = gates.get(metric, {})
            told = ", ".join(f"{name} {gate[name]}" for name in ("floor", "ceiling") if name in gate)
            print(f"  {metric:<10} {values[0]:.4f} to {values[-1]:.4f}   {told}")


if __name__ == "__main__":
    main()

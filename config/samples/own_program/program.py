"""A training program that knows nothing of Modelyard's library: it reads one document, writes files, links a marker.

It fits a line through points by hand and hands in a LiteRT file, as any program could that has made one elsewhere.
"""

import hashlib
import json
import os
import pathlib
import time

import tensorflow as tf

# 1. What is to be done: the run document. An output pvc://CLAIM/PATH is mounted at /mnt/pvc/CLAIM/PATH.
told = json.loads(pathlib.Path(os.environ["MODELYARD_RUN"]).read_text())
output = pathlib.Path("/mnt/pvc") / told["output"].removeprefix("pvc://")
step, attempt = 1, os.environ["MODELYARD_ATTEMPT"]

# 2. The model: one input "x", one output "y", both named in the signature.
points = [(x, told["hyperparameters"].get("slope", 2.0) * x + 1.0) for x in range(10)]
mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
loss = max(abs(mean_y + slope * (x - mean_x) - y) for x, y in points)


class Line(tf.Module):
    """The line as TensorFlow has it."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return y for every x."""
        return {"y": mean_y + slope * (x - mean_x)}


line = Line()
litert = tf.lite.TFLiteConverter.from_concrete_functions([line.serve.get_concrete_function()], line).convert()

# 3. The package, under a prefix that no other attempt uses; the manifest last.
folder = output / "runs" / told["run"] / "attempts" / f"{step}-{attempt}"
folder.mkdir(parents=True)
metrics = {"loss": loss}
request = {"x": 3.0}
files = {
    "model.tflite": litert,
    "features.json": {"features": [{"name": "x", "type": "number"}]},
    "labels.json": {"outputs": [{"name": "y", "kind": "regression"}]},
    "baseline.json": {"rows": 0, "features": {}, "predictions": {}},
    "samples.jsonl": {"request": request, "response": {"answer": mean_y + slope * (request["x"] - mean_x)}},
}
contents = {name: value if isinstance(value, bytes) else json.dumps(value).encode() for name, value in files.items()}
manifest = {
    "format": 1,
    "name": told["training"],
    "run": told["run"],
    "step": step,
    "metrics": metrics,
    "variants": [{"name": "float32", "runtime": "litert", "path": "model.tflite", "size": len(litert)}],
    "files": [
        {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    ],
    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
}
contents["manifest.json"] = json.dumps(manifest).encode()
for name, content in contents.items():
    (folder / name).write_bytes(content)

# 4. The marker, created once: a link fails if an earlier attempt was faster, and then that one's package counts.
digest = f"sha256:{hashlib.sha256(contents['manifest.json']).hexdigest()}"
uri = f"{told['output']}/runs/{told['run']}/attempts/{step}-{attempt}"
published = {"step": step, "uri": uri, "digest": digest, "metrics": metrics, "token": attempt}
marker = output / "runs" / told["run"] / "published" / f"{step}.json"
marker.parent.mkdir(exist_ok=True)
draft = folder / "marker"
draft.write_text(json.dumps(published))
os.sync()
try:
    os.link(draft, marker)
except FileExistsError:
    published = json.loads(marker.read_text())
draft.unlink()

# 5. The last word: the operator records what it names.
record = {"phase": "Done", "step": step, "metrics": metrics, "published": [published]}
pathlib.Path("/dev/termination-log").write_text(json.dumps(record))

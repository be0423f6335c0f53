"""The peers: what is installed, how each is started, how it is asked."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PEERS", "Peer"]

HERE = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Peer:
    """One server."""

    label: str
    package: str
    requirements: tuple[str, ...]
    path: str
    runtime: str = "tensorflow"
    speaks_v2: bool = True

    @contextmanager
    def prepared(self, folder: Path, port: int) -> Iterator[tuple[list[str], Path]]:
        """Return the command after `python`, and the folder to run it in."""
        with tempfile.TemporaryDirectory(dir=folder) as name:
            place = Path(name)
            if self.package == "mosec":
                yield [str(HERE / "serve_mosec.py"), "--port", str(port), "--address", "127.0.0.1"], place
            elif self.package == "kserve":
                yield [str(HERE / "serve_kserve.py"), "--http_port", str(port)], place
            else:
                settings = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0}
                (place / "settings.json").write_text(json.dumps(settings))
                model = {"name": "recommender", "implementation": "mlserver_runtime.Predict"}
                (place / "model-settings.json").write_text(json.dumps(model))
                yield ["-m", "mlserver.cli.main", "start", str(place)], place


_V2 = "/v2/models/recommender/infer"
PEERS = (
    Peer("mosec", "mosec", ("mosec==0.9.8",), "/inference", speaks_v2=False),
    Peer("mosec with LiteRT", "mosec", ("mosec==0.9.8",), "/inference", "litert", speaks_v2=False),
    Peer("MLServer", "mlserver", ("mlserver==1.7.1",), _V2),
    Peer("KServe", "kserve", ("kserve==0.21.0",), _V2),
)

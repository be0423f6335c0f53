"""The gRPC messages, compiled from `inference.proto`."""

import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

__all__ = ["SOURCE", "compiled_protocol"]

SOURCE = Path("serving_image/modelyard_server/inference.proto")


def compiled_protocol(root: Path) -> str:
    """Return the Python module of the protocol's messages."""
    source = root / SOURCE
    include = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["protoc", f"-I{source.parent}", f"-I{include}", f"--python_out={folder}", source.name]
        if protoc.main(arguments) != 0:
            raise ValueError(f"{SOURCE} does not compile")
        return (Path(folder) / f"{source.stem}_pb2.py").read_text()

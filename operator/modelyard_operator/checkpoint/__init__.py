"""The stages of a ModelCheckpoint: the gate's verdict, and where the checkpoint serves."""

from modelyard_operator.checkpoint.status import conclude

__all__ = ["conclude"]

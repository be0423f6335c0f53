"""What a check finds."""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake, or something that only looks like one."""

    file: str
    line: int
    what: str
    fix: str
    refused: bool = True
    """Whether the cluster refuses it, or the run ends with it; else it is a note."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {'error' if self.refused else 'note'}: {self.what}: {self.fix}"

"""`python -m tools.hygiene`: what no linter checks.

Prints each finding as `file:line: what` and exits 1 if there is one.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 500
LONGEST_FUNCTION = 80
MOST_POSITIONAL = 5

SKIPPED_TEST = re.compile(r"mark\.(skip|xfail)|pytest\.(skip|xfail|importorskip)\(")
#: Addresses of package archives and registry settings must not get into the repository.
DOWNLOAD_ADDRESS = re.compile(
    r"https?://\S+\.(whl|tar\.gz|tgz|jar|deb|crate)\b|(index-url|GOPROXY|registry) *[=:] *http"
)


def tracked_files() -> list[Path]:
    """Return every file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def findings_in_python(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, what) for functions that are too long or take too many positional parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            positional = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
            if length > LONGEST_FUNCTION:
                yield node.lineno, f"{node.name} has {length} lines (at most {LONGEST_FUNCTION})"
            if len(positional) > MOST_POSITIONAL:
                yield (
                    node.lineno,
                    f"{node.name} takes {len(positional)} positional parameters (at most {MOST_POSITIONAL})",
                )


def findings_in_lines(path: Path, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, what) for skipped tests and download addresses."""
    for number, line in enumerate(lines, 1):
        if path.suffix == ".py" and path.parts[len(ROOT.parts)] == "tests" and SKIPPED_TEST.search(line):
            yield number, "a test that can be skipped"
        if DOWNLOAD_ADDRESS.search(line) and path != Path(__file__):
            yield number, "a download address"


def findings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every finding in one file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    lines = text.splitlines()
    yield from findings_in_lines(path, lines)
    if path.suffix == ".py":
        if len(lines) > LONGEST_FILE:
            yield len(lines), f"{len(lines)} lines (at most {LONGEST_FILE})"
        yield from findings_in_python(ast.parse(text))


def main() -> int:
    """Check the whole tree."""
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for path in tracked_files() for line, what in findings(path)]
    if (ROOT / "operator/__init__.py").exists():
        found.append("operator/__init__.py:1: shadows the standard library's operator module: remove it")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

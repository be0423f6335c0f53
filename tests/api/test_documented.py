"""The commands and examples of docs/serving.md, run as they stand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import modelyard
from modelyard.contract.wire import Published
from tests.support.kubectl import ROOT
from tests.support.server import Server

TEXT = (ROOT / "docs/serving.md").read_text()
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))


def commands() -> list[tuple[str, Any]]:
    """Commands with the answers that are printed under them; a command without an answer belongs to the next."""
    found, before = [], ""
    for block in re.split(r"^\$ ", CONSOLE, flags=re.MULTILINE)[1:]:
        *command, last = block.rstrip("\n").split("\n")
        try:
            answer = json.loads(last)
        except ValueError:
            before += block
            continue
        found.append((before + "\n".join(command), answer))
        before = ""
    return found


def shape_of(document: Any) -> Any:
    """The document without its numbers."""
    if isinstance(document, dict):
        return {name: shape_of(value) for name, value in document.items()}
    if isinstance(document, list):
        return [shape_of(value) for value in document]
    return 0.0 if isinstance(document, float) else document


@pytest.mark.parametrize(("command", "answer"), [pair for pair in commands() if "curl" in pair[0]])
def test_every_curl_command_is_answered_as_documented(command: str, answer: Any, server: Server, tmp_path: Path):
    reached = f'connect-to = "clicks.team.svc:80:127.0.0.1:{server.http}"'
    (tmp_path / ".curlrc").write_text(f"fail-with-body\nsilent\n{reached}\n")
    environment = {**os.environ, "CURL_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shape_of(json.loads(done.stdout)) == shape_of(answer)


def test_there_are_commands_for_every_door():
    told = CONSOLE
    for door in ("predict?", '"instances"', '"inputs"', ":regress", ":classify", "/infer", "binary_data_size"):
        assert door in told


def test_the_application_example_says_the_same_served_and_in_process(server: Server, published: Published):
    [example] = [text for text in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "connect(" in text]
    example = example.replace("http://clicks.team.svc", f"http://127.0.0.1:{server.http}")
    example = example.replace("s3://models/clicks/package", published.uri).replace("sha256:…", published.digest)
    embedded = re.sub(r"^model = .*\n# (model = )", r"\1", example, flags=re.MULTILINE)
    said = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True) for text in (example, embedded)
    ]
    assert [done.returncode for done in said] == [0, 0], said
    assert said[0].stdout == said[1].stdout
    expected = modelyard.open(published.uri).predict({"price": 80, "country": "de"})
    assert said[0].stdout.startswith(f"clicks-1-7 {expected} 500 [")

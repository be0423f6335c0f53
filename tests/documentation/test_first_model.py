"""The notebook of the documentation runs, and its model answers."""

import ast
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.support.kubectl import ROOT

NOTEBOOK = ROOT / "docs/first_model.ipynb"


def test_the_first_model_is_trained_published_and_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    [measured] = [cell for cell in notebook.cells if "accuracy on wines" in cell.source]
    assert float(measured.outputs[-1].text.split()[-1]) > 0.9
    answer = ast.literal_eval(notebook.cells[-1].outputs[-1]["data"]["text/plain"])
    assert max(answer, key=answer.get) == "barolo"
    assert (tmp_path / "runs" / "latest").resolve().name.startswith("notebook-")


def test_the_notebook_is_kept_without_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not [cell for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]

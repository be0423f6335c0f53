"""The commands of the model package: publish, verify, inspect."""

import json
from pathlib import Path

import numpy as np

import modelyard
from modelyard.contract.package import MODEL_LITERT, SAVED_MODEL
from modelyard.model.__main__ import main
from tests.support.packages import change_manifest, copy_package
from tests.unit.model.test_signing import key_pair


def written(folder: Path, package: Path) -> list[str]:
    """Write what describes a model, and return the arguments that name it."""
    rows = [("price", "country"), *((str(price), country) for price in (1.5, 80) for country in ("nl", "de", "xx"))]
    (folder / "rows.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    files = [f"--features={package / 'features.json'}", f"--labels={package / 'labels.json'}"]
    return [*files, f"--holdout={folder / 'rows.csv'}", "--name=clicks", f"--output={folder / 'out'}"]


def told(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def test_a_file_of_another_framework_is_published_verified_and_inspected(package: Path, tmp_path: Path, capsys):
    private, public = key_pair()
    (tmp_path / "private.pem").write_bytes(private)
    (tmp_path / "public.pem").write_bytes(public)
    arguments = [*written(tmp_path, package), "--metric=auc=0.8", f"--signing-key={tmp_path / 'private.pem'}"]
    assert main(["publish", str(package / MODEL_LITERT), *arguments]) == 0
    published = told(capsys.readouterr().out)
    assert published["runtime"] == "LiteRT"
    model = modelyard.open(published["uri"], digest=published["digest"], public_keys=tmp_path / "public.pem")
    assert model.manifest.metrics == {"auc": 0.8}
    assert model.samples[0].request == {"price": 1.5, "country": "nl"}
    checks = [f"--digest={published['digest']}", f"--public-keys={tmp_path / 'public.pem'}"]
    assert main(["verify", published["uri"], *checks]) == 0
    assert "float32: whole, 3 golden answers hold" in capsys.readouterr().out
    assert main(["inspect", published["uri"]]) == 0
    shown = capsys.readouterr().out
    for part in (
        "made ",
        ", signed",
        "metrics: auc=0.8",
        "price (number)",
        "tags (tags)",
        "float32 (litert)",
        "served",
    ):
        assert part in shown


def test_the_folder_of_a_saved_model_and_columns_of_arrays_are_published(package: Path, tmp_path: Path, capsys):
    columns = {"price": np.linspace(0, 100, 30), "country": np.array(["nl", "de", "xx"] * 10)}
    np.savez(tmp_path / "rows.npz", **columns)
    (tmp_path / "samples.jsonl").write_text('{"price": 3}\n\n{"price": 70, "country": "de"}\n')
    arguments = [*written(tmp_path, package), f"--holdout={tmp_path / 'rows.npz'}"]
    more = [f"--samples={tmp_path / 'samples.jsonl'}", "--run=clicks-elsewhere", "--step=12", "--optimise=dynamic"]
    assert main(["publish", str(package / SAVED_MODEL), *arguments, *more]) == 0
    uri = told(capsys.readouterr().out)["uri"]
    model = modelyard.open(uri)
    assert model.version == "clicks-elsewhere-12"
    assert [variant.name for variant in model.manifest.variants] == ["float32", "saved-model", "dynamic"]
    assert len(model.samples) == 2
    assert main(["verify", uri]) == 0
    assert "saved-model: whole" in capsys.readouterr().out


def test_what_is_wrong_is_told_and_nothing_is_published(package: Path, tmp_path: Path, capsys):
    arguments = written(tmp_path, package)
    model = str(package / MODEL_LITERT)
    (tmp_path / "bad.csv").write_text("price,country\nmuch,nl\n")
    (tmp_path / "empty.csv").write_text("price,country\n")
    (tmp_path / "labels.json").write_text(json.dumps({"outputs": [{"name": "z", "kind": "regression"}]}))
    for more, message in (
        ([f"--holdout={tmp_path / 'bad.csv'}"], "bad.csv: price: "),
        ([f"--holdout={tmp_path / 'empty.csv'}"], "has no rows"),
        ([f"--labels={tmp_path / 'labels.json'}"], "labels name z"),
        (["--metric=auc"], "--metric auc: NAME=VALUE"),
        (["--lookup=planet"], "no feature planet"),
        ([f"--signing-key={tmp_path / 'bad.csv'}"], "no private key"),
        ([f"--features={tmp_path / 'no.json'}"], "No such file"),
    ):
        assert main(["publish", model, *arguments, *more]) == 1
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/runs/*/published/*"))


def test_a_damaged_package_does_not_verify(package: Path, tmp_path: Path, capsys):
    copied = copy_package(package, tmp_path / "copied")
    (copied / SAVED_MODEL / "saved_model.pb").write_bytes(b"no")
    assert main(["verify", str(copied)]) == 1
    assert "saved_model/saved_model.pb has 2 bytes" in capsys.readouterr().err
    change_manifest(copied, step=-1)
    assert main(["inspect", str(copied)]) == 1
    assert "manifest.json: step" in capsys.readouterr().err

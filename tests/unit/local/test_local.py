"""The local cluster's pure parts: what is missing, what is started, what is written, what is said."""

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from modelyard_local.archives import write_archive, write_single_binary
from modelyard_local.building import source_hash
from modelyard_local.checks import LEAST_DISK, LEAST_MEMORY, Machine, problems
from modelyard_local.components import components
from modelyard_local.configuration import configuration_files
from modelyard_local.settings import Settings
from modelyard_local.steps import Steps

GOOD = Machine(
    is_root=True,
    file_systems=frozenset({"overlay", "tmpfs"}),
    has_cgroups=True,
    memory=LEAST_MEMORY,
    disk=LEAST_DISK,
    port_is_free=True,
    has_go=True,
)


def test_a_good_machine_has_no_problems():
    assert problems(GOOD, api_port=6443, built=False) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_root": False}, "not root"),
        ({"file_systems": frozenset()}, "overlay"),
        ({"has_cgroups": False}, "cgroups"),
        ({"memory": 1 << 30}, "1024 MiB of memory"),
        ({"disk": 1 << 30}, "1 GiB of disk"),
        ({"port_is_free": False}, "MODELYARD_API_PORT"),
        ({"has_go": False}, "Go 1.26"),
    ],
)
def test_each_problem_is_one_line_that_says_what_to_do(change: dict, words: str):
    [line] = problems(replace(GOOD, **change), api_port=6443, built=False)
    assert words in line
    assert "\n" not in line


def test_go_is_not_needed_once_everything_is_built():
    assert problems(replace(GOOD, has_go=False), api_port=6443, built=True) == []


def settings(**environment: str) -> Settings:
    return Settings.from_environment({"HOME": "/home/me", **environment})


def test_settings_have_defaults_below_the_users_own_folders():
    assert settings().cache == Path("/home/me/.cache/modelyard")
    assert settings(XDG_STATE_HOME="/var/state").state == Path("/var/state/modelyard/cluster")
    assert settings(MODELYARD_API_PORT="7443").api_port == 7443


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused_by_its_variable(port: str):
    with pytest.raises(ValueError, match="MODELYARD_API_PORT"):
        settings(MODELYARD_API_PORT=port)


def test_nothing_is_started_before_what_it_needs_and_nothing_lies_outside_the_state():
    started = components(settings(), Path("/binaries"))
    phases = {component.name: component.phase for component in started}
    assert [name for name, phase in phases.items() if phase == 0] == [
        "etcd",
        "containerd",
        "kube-apiserver",
        "api-relay",
    ]
    assert {"kubelet", "kube-proxy", "netpol", "volumes"} <= {name for name, phase in phases.items() if phase == 1}
    words = [word for component in started for word in component.command]
    paths = [word.split("=")[-1] for word in words if word.split("=")[-1].startswith("/")]
    state = ("/home/me/.local/state/modelyard/cluster", "/binaries")
    assert all(path.startswith(state) for path in paths), paths


def test_every_configuration_file_can_be_read_by_its_component():
    files = configuration_files(settings())
    for name, text in files.items():
        if name.endswith((".yaml", ".conflist")):
            assert json.loads(text), name
    assert json.loads(files["proxy.yaml"])["mode"] == "nftables"
    assert json.loads(files["audit.yaml"])["rules"][0]["level"] == "Metadata"


def test_an_archive_is_the_same_whoever_writes_it_and_when(tmp_path: Path):
    binary = tmp_path / "pause"
    archives = []
    for number in (1, 2):
        binary.write_bytes(b"\x7fELF")
        os.utime(binary, (number, number))
        archive = tmp_path / f"{number}.tar"
        write_single_binary(archive, "localhost/pause:1", binary)
        archives.append(archive.read_bytes())
    assert archives[0] == archives[1]
    with tarfile.open(tmp_path / "1.tar") as tar:
        [entry] = json.load(tar.extractfile("manifest.json"))
        config = json.load(tar.extractfile(entry["Config"]))
        layer = tar.extractfile(entry["Layers"][0]).read()
    assert entry["RepoTags"] == ["localhost/pause:1"]
    assert config["config"]["Cmd"] == ["/pause"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert inner.getnames() == ["pause"]


def test_an_archive_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        write_archive(tmp_path / "image.tar", "name", tmp_path / "missing", ["/x"])
    assert not (tmp_path / "image.tar").exists()


def test_the_hash_of_the_sources_ignores_tests_and_nothing_else(tmp_path: Path):
    (tmp_path / "main.go").write_text("package main")
    first = source_hash(tmp_path)
    (tmp_path / "main_test.go").write_text("package main")
    (tmp_path / "notes.md").write_text("x")
    assert source_hash(tmp_path) == first
    (tmp_path / "go.sum").write_text("x")
    assert source_hash(tmp_path) != first


def test_steps_are_plain_lines_with_their_seconds_where_there_is_no_terminal():
    now = [0.0]
    out = io.StringIO()
    steps = Steps(Console(file=out, width=100), lambda: now[0])
    with steps.step("images") as tell:
        tell("too early to be told")
        now[0] = 20.0
        tell("layer 3")
        now[0] = 21.5
    steps.finish("The cluster is up")
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines == [
        ["…", "images:", "layer", "3"],
        ["images", "21.5", "s"],
        ["The", "cluster", "is", "up", "in", "21.5", "s"],
    ]

"""What unit tests share: one package, made once a session by the real library."""

import sys
from pathlib import Path

import pytest

from modelyard.contract.wire import Published


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let code that asks find a script at work, not a notebook: workers of the tests have none."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    from tests.support.packages import publish_small

    return publish_small(tmp_path_factory.mktemp("published"))


@pytest.fixture
def package(published: Published) -> Path:
    """The folder of the package; tests that change it copy it first."""
    return Path(published.uri)

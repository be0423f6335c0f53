"""What unit tests share: one package, made once a session by the real library."""

from pathlib import Path

import pytest

from modelyard.contract.wire import Published


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    from tests.support.packages import publish_small

    return publish_small(tmp_path_factory.mktemp("published"))


@pytest.fixture
def package(published: Published) -> Path:
    """The folder of the package; tests that change it copy it first."""
    return Path(published.uri)

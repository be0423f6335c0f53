"""An existing cluster, named by a kube context: the same commands, and the machine is never touched."""

import re
import shutil
import subprocess
from pathlib import Path

from modelyard_local.cluster import ClusterError
from modelyard_local.settings import Settings
from modelyard_local.steps import Steps

__all__ = ["ExistingCluster"]


class ExistingCluster:
    """A cluster that somebody else runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def kubectl_path(self) -> Path:
        """The kubectl on PATH."""
        found = shutil.which("kubectl")
        if found is None:
            raise ClusterError("CONTEXT is set, but there is no kubectl on PATH: install one")
        return Path(found)

    @property
    def kubeconfig(self) -> Path:
        """A copy of the user's kubeconfig with this context alone, so that no other cluster is ever reached."""
        command = [str(self.kubectl_path), "config", "view", "--minify", "--flatten", "--raw"]
        done = subprocess.run([*command, f"--context={self.settings.context}"], capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"CONTEXT={self.settings.context}: {done.stderr.strip()}")
        name = re.sub(r"[^A-Za-z0-9._-]", "-", self.settings.context)
        target = self.settings.state.parent / "contexts" / f"{name}.kubeconfig"
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.touch(mode=0o600)
        target.write_text(done.stdout)
        return target

    def build(self, steps: Steps) -> None:
        """Build nothing."""
        steps.finish(f"Nothing to build for the existing cluster {self.settings.context}, looked at")

    def up(self, steps: Steps) -> None:
        """Verify that the context exists and answers."""
        with steps.step(f"context {self.settings.context}"):
            text = self.status()
        print(text)
        steps.finish(f"The cluster {self.settings.context} answers")

    def down(self, steps: Steps | None, *, reset: bool = False, purge: bool = False) -> None:
        """Leave an existing cluster alone."""
        if steps is not None:
            steps.finish(f"The cluster {self.settings.context} is not ours to stop: left alone")

    def status(self) -> str:
        """Return the cluster's version; raise ClusterError if it does not answer."""
        command = [str(self.kubectl_path), "--context", self.settings.context, "--request-timeout=10s", "version"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"the context {self.settings.context} does not answer: {done.stderr.strip()}")
        return done.stdout.strip()

    def load(self, archives: list[Path]) -> None:
        """Refuse: images reach an existing cluster through its registry."""
        raise ClusterError("an existing cluster takes images from a registry: set REGISTRY and run `make images`")

    def base_images(self) -> list[Path]:
        """Refuse: docker and podman pull public base images."""
        raise ClusterError("with REGISTRY, images are built on public base images")

    def enter(self, *options_and_command: str) -> list[str]:
        """Refuse: its nodes are not on this machine."""
        raise ClusterError("`exec` runs in the local cluster's node; an existing cluster's nodes are elsewhere")

"""`python -m tools.images COMMAND`: build the four images, load or push them, write the overlay that installs them.

An image's tag is a hash of everything it is built from, so an unchanged image is neither built nor loaded twice and a
changed one rolls whatever runs it. Engines: buildah (no daemon, the embedded default), docker, podman.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click

from modelyard_local.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "build" / "wheels"
DEPLOYMENT = ROOT / "build" / "deploy"
OVERLAY = """\
# Written by `make images`: config/default with the images that were built.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: modelyard-system
resources: [../../config/default]
images:
  - {{name: modelyard-operator, newName: {operator_name}, newTag: {operator_tag}}}
configMapGenerator:
  - name: modelyard-images
    behavior: merge
    literals:
      - training={training}
      - serving={serving}
      - serving-tensorflow={serving_tensorflow}
"""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its Containerfile and what goes into it."""

    name: str
    containerfile: str
    contents: tuple[str, ...]
    """Files and folders of the project that the image is built from."""
    arguments: tuple[str, ...] = ()
    """Build arguments, `NAME=VALUE`."""

    @property
    def repository(self) -> str:
        """Name without registry and tag."""
        return f"modelyard-{self.name}"


IMAGES = (
    Image(
        "operator",
        "operator/Containerfile",
        ("requirements/operator.txt", "modelyard/__init__.py", "modelyard/contract", "operator/modelyard_operator"),
    ),
    Image(
        "serving",
        "serving_image/Containerfile",
        ("requirements/serving.txt", "modelyard", "serving_image/modelyard_server"),
    ),
    Image(
        "training",
        "training_image/Containerfile",
        ("requirements/tensorflow.txt", "requirements/training.txt", "modelyard", "training_image/modelyard_trainer"),
    ),
    # after the training image, whose layer with TensorFlow it shares
    Image(
        "serving-tensorflow",
        "serving_image/Containerfile.tensorflow",
        ("requirements/tensorflow.txt", "requirements/serving.txt", "modelyard", "serving_image/modelyard_server"),
    ),
)


#: What the training image computes on, to the list of TensorFlow's packages in requirements/.
FLAVOURS = {"cpu": "tensorflow", "gpu": "tensorflow-gpu"}


def images_of(flavour: str) -> tuple[Image, ...]:
    """Return the images with the training image of a flavour."""
    if flavour == "cpu":
        return IMAGES
    name = FLAVOURS[flavour]
    return tuple(
        replace(image, contents=(f"requirements/{name}.txt", *image.contents), arguments=(f"FLAVOUR={name}",))
        if image.name == "training"
        else image
        for image in IMAGES
    )


def content_hash(image: Image, base: str, root: Path = ROOT) -> str:
    """Return 12 hex digits over the base's name and every file that the image is built from."""
    digest = hashlib.sha256(base.encode())
    for entry in (image.containerfile, *image.contents):
        path = root / entry
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def run(*command: str | Path, **kwargs: str) -> str:
    """Run a command, show its output only if it fails, and return its standard output."""
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", **kwargs}
    done = subprocess.run([str(c) for c in command], cwd=ROOT, env=environment, text=True, capture_output=True)
    if done.returncode:
        raise click.ClickException(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.strip()


def fetch_wheels(flavour: str) -> None:
    """Download, or build from source where there is no wheel, every Python package of the images."""
    names = dict.fromkeys(("operator", "serving", "training", FLAVOURS[flavour]))
    lists = [ROOT / "requirements" / f"{name}.txt" for name in names]
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()
    marker = WHEELS / ".complete"
    if marker.exists() and marker.read_text() == stamp:
        return
    WHEELS.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(WHEELS)]
    # one list at a time: of TensorFlow's flavours each has its own pins
    for path in lists:
        run(*pip, f"--requirement={path}", "pip")
    newest = max(WHEELS.glob("pip-*.whl"), key=lambda path: path.stat().st_mtime)
    # pip runs from its own wheel inside the build, whatever its version is called
    (WHEELS / "pip.whl").unlink(missing_ok=True)
    shutil.copyfile(newest, WHEELS / "pip.whl")
    marker.write_text(stamp)


class Buildah:
    """Builds without a daemon and hands over archives; its base images are made with debootstrap."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        driver = os.environ.get("MODELYARD_STORAGE_DRIVER", "overlay")
        self._buildah = ("buildah", "--storage-driver", driver)

    def bases(self) -> dict[str, str]:
        """Return the build arguments that name the base images, importing those on first use."""
        archives = run(sys.executable, "-m", "modelyard_local", "base-image").split()
        names = {"BASE": "localhost/modelyard-base", "BUILDER": "localhost/modelyard-builder"}
        bases = {}
        for (argument, name), archive in zip(names.items(), archives, strict=True):
            tag = hashlib.sha256(f"{archive}{Path(archive).stat().st_mtime_ns}".encode()).hexdigest()[:12]
            bases[argument] = f"{name}:{tag}"
            if not run(*self._buildah, "images", "--quiet", "--filter", f"reference={name}:{tag}"):
                pulled = run(*self._buildah, "pull", "--quiet", f"docker-archive:{archive}").split()[-1]
                run(*self._buildah, "tag", pulled, bases[argument])
        return bases

    def build(self, image: Image, reference: str, bases: dict[str, str]) -> None:
        """Build one image and keep its archive."""
        arguments = [f"--build-arg={name}={value}" for name, value in bases.items()]
        arguments += [f"--build-arg={argument}" for argument in image.arguments]
        options = ("--quiet", "--layers", "--ignorefile", ".containerignore", "--file", image.containerfile)
        run(*self._buildah, "bud", *options, *arguments, "--tag", reference, ".")
        archive = self.archive(reference)
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        run(*self._buildah, "push", "--quiet", reference, f"docker-archive:{partial}:{reference}")
        partial.rename(archive)
        # by the tag's form: another image's name may begin with this one's
        for old in archive.parent.glob(f"{image.repository}-{'[0-9a-f]' * 12}.tar"):
            if old != archive:
                old.unlink()

    def archive(self, reference: str) -> Path:
        """Return where an image's archive is kept."""
        name, tag = reference.rsplit("/", 1)[-1].split(":")
        return self._settings.cache / "images" / f"{name}-{tag}.tar"

    def has(self, reference: str) -> bool:
        """Say whether the image need not be built."""
        return self.archive(reference).exists()

    def deliver(self, references: list[str]) -> None:
        """Load the images into the local cluster."""
        run(sys.executable, "-m", "modelyard_local", "load", *(self.archive(reference) for reference in references))


class Docker:
    """Builds with docker or podman and pushes to a registry."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def bases(self) -> dict[str, str]:
        """The Containerfiles name public base images."""
        return {}

    def build(self, image: Image, reference: str, bases: dict[str, str]) -> None:
        """Build one image."""
        arguments = [f"--build-arg={argument}" for argument in image.arguments]
        options = ("--file", image.containerfile, *arguments, "--tag", reference)
        run(self._engine, "build", *options, ".", DOCKER_BUILDKIT="1")

    def has(self, reference: str) -> bool:
        """Say whether the image need not be built."""
        return subprocess.run([self._engine, "image", "inspect", reference], capture_output=True).returncode == 0

    def deliver(self, references: list[str]) -> None:
        """Push the images to the registry in their names."""
        for reference in references:
            run(self._engine, "push", reference)


def engine_for(registry: str, settings: Settings) -> Buildah | Docker:
    """Choose: a registry needs docker or podman; the local cluster takes buildah's archives."""
    if not registry:
        return Buildah(settings)
    for name in ("docker", "podman"):
        if shutil.which(name):
            return Docker(name)
    raise click.ClickException("REGISTRY is set, but neither docker nor podman is on PATH to push images with")


def write_overlay(references: dict[str, str]) -> None:
    """Write the kustomization that installs exactly these images."""
    DEPLOYMENT.mkdir(parents=True, exist_ok=True)
    name, tag = references["operator"].rsplit(":", 1)
    text = OVERLAY.format(
        operator_name=name,
        operator_tag=tag,
        training=references["training"],
        serving=references["serving"],
        serving_tensorflow=references["serving-tensorflow"],
    )
    (DEPLOYMENT / "kustomization.yaml").write_text(text)


_FLAVOUR = click.option(
    "--flavour", envvar="FLAVOUR", type=click.Choice(list(FLAVOURS)), default="cpu", help="What training computes on."
)


@click.group()
def main() -> None:
    """Build and deliver Modelyard's images."""


@main.command()
@click.option("--registry", envvar="REGISTRY", default="", help="Push to this registry instead of the local cluster.")
@click.option("--deliver/--no-deliver", default=True, help="Load into the cluster, or push.")
@_FLAVOUR
def build(registry: str, deliver: bool, flavour: str) -> None:
    """Build what changed, deliver it, and write build/deploy/kustomization.yaml."""
    engine = engine_for(registry, Settings.from_environment(os.environ))
    bases = engine.bases()
    references = {}
    for image in images_of(flavour):
        tag = content_hash(image, " ".join(bases.values()))
        references[image.name] = reference = f"{registry or 'localhost'}/{image.repository}:{tag}"
        started = time.monotonic()
        if engine.has(reference):
            click.echo(f"  {reference} is up to date")
            continue
        fetch_wheels(flavour)
        engine.build(image, reference, bases)
        click.echo(f"  {reference} built in {time.monotonic() - started:.1f} s")
    write_overlay(references)
    if deliver:
        started = time.monotonic()
        engine.deliver(list(references.values()))
        click.echo(f"  delivered in {time.monotonic() - started:.1f} s")


@main.command()
@_FLAVOUR
def wheels(flavour: str) -> None:
    """Fetch the Python packages of all images into build/wheels."""
    fetch_wheels(flavour)


if __name__ == "__main__":
    main()

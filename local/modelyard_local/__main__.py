"""`python -m modelyard_local COMMAND`: the local cluster, or with CONTEXT an existing one."""

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from modelyard_local.building import BuildError
from modelyard_local.cluster import ClusterError, LocalCluster
from modelyard_local.existing import ExistingCluster
from modelyard_local.settings import Settings
from modelyard_local.steps import Steps

Cluster = LocalCluster | ExistingCluster


def _steps() -> Steps:
    return Steps(Console(soft_wrap=True))


@click.group()
@click.option(
    "--context", envvar="CONTEXT", default="", help="Use this kube context's cluster instead of the local one."
)
@click.pass_context
def main(command: click.Context, context: str) -> None:
    """A real one-node Kubernetes on this machine, in namespaces of its own."""
    try:
        settings = Settings.from_environment({**os.environ, "CONTEXT": context})
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    command.obj = ExistingCluster(settings) if settings.context else LocalCluster(settings)


@main.command()
@click.pass_obj
def up(cluster: Cluster) -> None:
    """Bring the cluster up; nothing happens if it is up."""
    cluster.up(_steps())


@main.command()
@click.pass_obj
def build(cluster: Cluster) -> None:
    """Install and build what the cluster needs, without starting it."""
    cluster.build(_steps())


@main.command()
@click.option("--reset", is_flag=True, help="Forget all objects and volumes; keep images and certificates.")
@click.option("--purge", is_flag=True, help="Remove everything but the cache of built binaries.")
@click.pass_obj
def down(cluster: Cluster, reset: bool, purge: bool) -> None:
    """Stop the cluster. Objects and images stay for the next start."""
    cluster.down(_steps(), reset=reset, purge=purge)


@main.command()
@click.pass_obj
def status(cluster: Cluster) -> None:
    """Say how the cluster is; exit status 1 if it is down."""
    click.echo(cluster.status())


@main.command()
@click.pass_obj
def kubeconfig(cluster: Cluster) -> None:
    """Print the path of the kubeconfig."""
    click.echo(cluster.kubeconfig)


@main.command()
@click.pass_obj
def kubectl(cluster: Cluster) -> None:
    """Print the path of a kubectl."""
    click.echo(cluster.kubectl_path)


@main.command("audit-log")
@click.pass_obj
def audit_log(cluster: Cluster) -> None:
    """Print the path of the API server's record of the operator's requests."""
    click.echo(cluster.settings.audit_log)


@main.command()
@click.argument("component")
@click.pass_obj
def logs(cluster: Cluster, component: str) -> None:
    """Print the path of a component's log (`node` is the supervisor's)."""
    path = cluster.settings.logs / f"{component}.log"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in cluster.settings.logs.glob("*.log")))
        raise click.ClickException(f"no log of {component!r}; there are: {known}")
    click.echo(path)


@main.command()
@click.argument("archives", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.pass_obj
def load(cluster: Cluster, archives: tuple[Path, ...]) -> None:
    """Import image archives into the node."""
    cluster.load(list(archives))


@main.command("base-image")
@click.pass_obj
def base_image(cluster: Cluster) -> None:
    """Print the paths of the archives of the base and the builder image, making them on first use."""
    for archive in cluster.base_images():
        click.echo(archive)


@main.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(cluster: Cluster, command: tuple[str, ...]) -> None:
    """Run a command in the node's network namespace, where pods and services can be reached."""
    line = cluster.enter(*command)
    os.execvp(line[0], line)


if __name__ == "__main__":
    try:
        main()
    except (ClusterError, BuildError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)

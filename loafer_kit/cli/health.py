"""`loafer-kit health`: tells a container's supervisor whether the service is well."""

from typing import Annotated

import typer

from loafer_kit.operations import probe


def health(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Ask whether a restart would help; the default.")
    ] = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether every queue is being read.")
    ] = False,
) -> None:
    """Tell whether the service in this container is well.

    Exit code 0 means yes, and 1 no, with one line that says why. LOAFER_HEALTH_FILE names a file
    that the service replaces while it is well, for the service and for this command.
    """
    asked = [name for name, given in (("--live", live), ("--ready", ready)) if given]
    raise typer.Exit(probe.main(asked))

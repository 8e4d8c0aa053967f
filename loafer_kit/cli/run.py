"""`loafer-kit run`: import a service and run it."""

import sys
from typing import Annotated

import typer


def run(
    application_path: Annotated[
        str, typer.Argument(metavar="PATH[:APP]", help="The module of the service, and its name.")
    ],
    *,
    reloader: Annotated[
        bool | None,
        typer.Option(
            "--reloader/--no-reloader",
            "-r",
            help="Restart the service when its files change.",
            show_default="on with --debug",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "-w", "--workers", min=1, help="How many messages are handled at the same time."
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("-d", "--debug", help="Use asyncio's debug mode, and the reloader.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Log more; twice: everything."
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log errors only.")] = False,
) -> None:
    """Import and run an Application or a LoaferManager."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    if debug if reloader is None else reloader:
        from loafer_kit.cli.reloader import run_reloading

        options = ["--no-reloader", *_options(workers, debug, verbose, quiet)]
        sys.exit(run_reloading(application_path, options))
    from loafer_kit.cli.running import run_service
    from loafer_kit.cli.service_path import load_service

    service = load_service(application_path)
    run_service(service, workers=workers, debug=debug, verbose=verbose, quiet=quiet)


def _options(workers: int | None, debug: bool, verbose: int, quiet: bool) -> list[str]:
    return [
        *([f"--workers={workers}"] if workers else []),
        *(["--debug"] if debug else []),
        *["--verbose"] * verbose,
        *(["--quiet"] if quiet else []),
    ]

"""Running a service for the command line: its logs, its workers."""

import logging

from loafer_kit.applications import Application
from loafer_kit.managers import LoaferManager
from loafer_kit.services import Service


def run_service(
    service: Service, *, workers: int | None, debug: bool, verbose: int, quiet: bool
) -> None:
    """Run `service` to its end; raise what it failed with."""
    _show_logs(service, verbose, quiet)
    if isinstance(service, Application):
        service.run(workers or 1, debug=debug)
    elif isinstance(service, LoaferManager):
        if workers is not None:
            service.dispatcher.max_jobs = workers
        service.run(debug=debug)


def _show_logs(service: Service, verbose: int, quiet: bool) -> None:
    level = logging.ERROR if quiet else max(logging.WARNING - 10 * verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if quiet or verbose:  # asked for here, so it counts more than the service's own configuration
        service.logger.setLevel(level)
        logging.getLogger("loafer_kit").setLevel(level)

"""Runs the service: `python -m {{ cookiecutter.package }}`."""

import logging

from {{ cookiecutter.package }} import manager

if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    manager.run()

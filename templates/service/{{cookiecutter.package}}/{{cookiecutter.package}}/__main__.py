"""Runs the service: `python -m {{ cookiecutter.package }}`."""

from loafer_kit import logs

from {{ cookiecutter.package }} import manager

if __name__ == "__main__":
    logs.configure()
    manager.run()

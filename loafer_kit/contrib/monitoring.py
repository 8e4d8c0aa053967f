"""Monitoring: metrics and pages for probes of a service, by one line."""

from collections.abc import Mapping
from typing import Any, ClassVar

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.extensions import Extension
from loafer_kit.operations.http import Address
from loafer_kit.operations.monitors import Monitor
from loafer_kit.services import Service


class Monitoring(Extension):
    """Serves `/metrics`, `/livez`, `/readyz` and `/info` while the service runs.

    `MONITORING_HTTP` is where, `[host]:port`; without a host only this machine reaches it. The
    environment's `LOAFER_HTTP` counts before it. None, or an empty `LOAFER_HTTP`: nowhere.
    `MONITORING_EMF` is a namespace of CloudWatch: with it, the metrics are also written to standard
    output once a minute, in CloudWatch's embedded metric format.

    Raises `ConfigurationError` for another kind of address or namespace.

        monitoring = Monitoring(manager)
    """

    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {
        "MONITORING_HTTP": ":9464",
        "MONITORING_EMF": None,
    }

    def init_app(self, app: Service) -> None:
        """Watch the runs of `app`."""
        super().init_app(app)
        where, namespace = app.settings["MONITORING_HTTP"], app.settings["MONITORING_EMF"]
        if namespace is not None and (not isinstance(namespace, str) or not namespace):
            raise ConfigurationError(
                f"MONITORING_EMF must be the name of a namespace, not {namespace!r}."
            )
        address = None if where is None else str(Address.parse(where, "MONITORING_HTTP"))
        app.monitor = Monitor(app, address=address, emf_namespace=namespace)

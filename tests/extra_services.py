"""A local server that answers for further services of AWS."""

import contextlib

import pytest

from loafer_kit.local import LocalServer, gates


@contextlib.contextmanager
def server_with(services):
    """Run a local server for these services."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gates, "SERVICES", services)
            server = stack.enter_context(LocalServer())
        yield server

"""loafer_kit: write, run and operate services that live on queues."""

__version__ = "0.1.0"

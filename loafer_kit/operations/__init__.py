"""Shows what a running service does: metrics, and pages for probes. It changes nothing in the service."""

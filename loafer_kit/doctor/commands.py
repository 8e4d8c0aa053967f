"""Commands of AWS's own command line: what remedies tell to type."""

import shlex


def aws(endpoint_url: str | None, *words: str, region: str | None = None) -> str:
    """A command, quoted for a shell, for the endpoint that was looked at."""
    options = ["--endpoint-url", endpoint_url] if endpoint_url else []
    options += ["--region", region] if region else []
    return shlex.join(["aws", *options, *words])

"""The findings of `loafer-kit doctor`, and its remedies, run as AWS's command line would."""

import json
import shlex

from botocore.session import Session

#: Parameters with another name on the command line, which has a global option of that name.
_RENAMED = {"NotificationEndpoint": "Endpoint"}


def problems(found):
    """The subject, message and remedy of each problem; each must have a remedy."""
    listed = [item for item in found if item["level"] == "problem"]
    assert all(item["remedy"] for item in listed)
    return [(item["subject"], item["message"], item["remedy"]) for item in listed]


def notes(found, subject):
    """The messages of the notes about a subject."""
    return [
        item["message"] for item in found if (item["level"], item["subject"]) == ("note", subject)
    ]


def carry_out(remedy):
    """Send the request of the command at the end of a remedy."""
    _, *words = shlex.split(remedy[remedy.index("aws ") :])
    where = {}
    while words[0].startswith("--"):
        where[words[0]], *words = words[1:]
    service, operation, *given = words
    client = Session().create_client(
        service, region_name=where.get("--region"), endpoint_url=where.get("--endpoint-url")
    )
    options = zip(given[::2], given[1::2], strict=True)
    try:
        return getattr(client, operation.replace("-", "_"))(**dict(map(_parameter, options)))
    finally:
        client.close()


def _parameter(option):
    word, text = option
    name = "".join(part.capitalize() for part in word.split("-"))
    if name == "Attributes":
        return name, json.loads(text) if text.startswith("{") else dict([text.split("=")])
    return _RENAMED.get(name, name), text

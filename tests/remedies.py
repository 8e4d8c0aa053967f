"""What `loafer-kit doctor` finds, and its remedies carried out as AWS's own command line would."""

import json
import shlex

from botocore.session import Session

#: What the command line calls otherwise than the API, since it has options of that name.
_RENAMED = {"NotificationEndpoint": "Endpoint"}


def problems(found):
    """The problems among findings: subject, message and remedy; each has one."""
    listed = [item for item in found if item["level"] == "problem"]
    assert all(item["remedy"] for item in listed)
    return [(item["subject"], item["message"], item["remedy"]) for item in listed]


def notes(found, subject):
    """The messages of the notes about something."""
    return [
        item["message"] for item in found if (item["level"], item["subject"]) == ("note", subject)
    ]


def carry_out(remedy):
    """Run the command at the end of a remedy: the same request, with the same parameters."""
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

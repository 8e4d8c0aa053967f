"""What `loafer-kit doctor` finds, and its remedies carried out as AWS's own command line would."""

import json
import shlex

from botocore import xform_name
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
    with_values = zip(given[::2], given[1::2], strict=True)
    parameters = {_parameter(option): value for option, value in with_values}
    for name, value in parameters.items():
        if name == "Attributes":
            parameters[name] = _map(value)
    try:
        return getattr(client, xform_name(operation.replace("-", "_")))(**parameters)
    finally:
        client.close()


def _parameter(option):
    name = "".join(word.capitalize() for word in option.removeprefix("--").split("-"))
    return _RENAMED.get(name, name)


def _map(text):
    return json.loads(text) if text.startswith("{") else dict([text.split("=")])

"""The operations of an AsyncAPI document that receive, in version 2 or 3."""

from collections.abc import Iterator
from dataclasses import dataclass

from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult
from loafer_kit.scaffold.sources.references import References
from loafer_kit.scaffold.spec import names


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that receives: its name, its channel and the messages."""

    name: str | None
    node: Node
    channel: Node
    address: str
    messages: list[Node]


def received(root: Node, references: References, result: ImportResult) -> list[Operation]:
    """The operations that receive; a problem if there are none."""
    version = root["asyncapi"]
    reader = _READERS.get(str(version.value)[:1])
    if reader is None:
        message = f"must be a version 2.x or 3.x, not {names.shown(str(version.value))}"
        result.problem(version, message)
        return []
    read, word = reader
    found = list(read(root, references, result))
    if not found:
        result.problem(root, f"receives nothing: there is no {word}")
    return found


def _version_2(root: Node, references: References, result: ImportResult) -> Iterator[Operation]:
    """Version 2 calls it `publish` when others send and the application receives."""
    for address, place in root["channels"].items():
        channel = references.follow(place)
        if "subscribe" in channel:
            result.note(channel["subscribe"], _SENDS)
        elif "publish" not in channel:
            result.note(channel, _UNUSED)
        if "publish" in channel:
            node = references.follow(channel["publish"])
            message = references.down(node, "message")
            messages = list(message["oneOf"].elements()) or [message]
            yield Operation(node["operationId"].text, node, channel, address, messages)


def _version_3(root: Node, references: References, result: ImportResult) -> Iterator[Operation]:
    used: set[object] = set()
    for name, place in root["operations"].items():
        node = references.follow(place)
        used.add(str(node["channel"]["$ref"].value))
        if node["action"].value != "receive":
            result.note(node, _SENDS)
            continue
        channel = references.down(node, "channel")
        used.add(channel.path)
        key = str(channel.path[-1]) if channel.path else name
        messages = list(node["messages"].elements())
        messages = messages or [item for _, item in channel["messages"].items()]
        yield Operation(name, node, channel, channel["address"].text or key, messages)
    for name, place in root["channels"].items():
        reference = "#/channels/" + name.replace("~", "~0").replace("/", "~1")
        if used.isdisjoint([place.path, reference, str(place["$ref"].value)]):
            result.note(place, _UNUSED)


_SENDS = "sends: left to the handlers"
_UNUSED = "is left out: no operation uses it"
_READERS = {
    "2": (_version_2, "`publish`"),
    "3": (_version_3, "operation with `action: receive`"),
}

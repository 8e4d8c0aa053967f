"""Identifiers of queues and topics in CloudFormation and Terraform."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# The boundaries of words in camel case: between `orders` and `Created`, `HTTP` and `Errors`.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Identifier:
    """The words of a name; the first begins with a letter."""

    words: tuple[str, ...]

    @property
    def camel_case(self) -> str:
        """For CloudFormation: OrdersCreated."""
        return "".join(word[0].upper() + word[1:] for word in self.words)

    @property
    def snake_case(self) -> str:
        """For Terraform: `orders_created`."""
        return "_".join(self.words).lower()


def identifiers(of: Iterable[str]) -> Mapping[str, Identifier]:
    """An identifier for each name, unique in any case: `orders.fifo` becomes Orders."""
    found: dict[str, Identifier] = {}
    for name in dict.fromkeys(of):
        words = _words(name.removesuffix(".fifo"))
        taken = {other.camel_case.lower() for other in found.values()}
        numbers = ("" if n == 1 else str(n) for n in range(1, len(found) + 2))
        free = (Identifier((*words, number) if number else words) for number in numbers)
        found[name] = next(word for word in free if word.camel_case.lower() not in taken)
    return found


def _words(name: str) -> tuple[str, ...]:
    parts = re.findall(r"[A-Za-z0-9]+", name)
    words = [word for part in parts for word in _HUMP.split(part)] or ["Unnamed"]
    if len(words) > 1 and words[-1].lower() == "queue":
        del words[-1]
    return tuple(words) if words[0][0].isalpha() else ("The", *words)

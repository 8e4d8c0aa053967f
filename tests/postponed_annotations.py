"""Handlers with postponed annotations; some of the names exist only for type checkers."""

from __future__ import annotations

import dataclasses
import typing
from typing import NotRequired

from typing_extensions import TypedDict

if typing.TYPE_CHECKING:
    from somewhere import Metadata, Unseen


class Part(TypedDict, total=False):
    article: typing.Required[str]
    parts: list[Part]


class Box(TypedDict):
    part: Part | None
    label: NotRequired[str]


@dataclasses.dataclass
class Parcel:
    boxes: list[Box]
    inside: Parcel | None = None


@dataclasses.dataclass
class Unfinished:
    unseen: Unseen


async def handle_parcel(parcel: Parcel, metadata: Metadata) -> bool:
    return True


async def handle_parcels(parcels: list[Parcel], metadata: Metadata) -> bool:
    return True


async def handle_unseen(unseen: Unseen, metadata: Metadata) -> bool:
    return True


async def handle_unseen_parcel(parcel: Parcel | Unseen, metadata) -> bool:
    return True


async def handle_unfinished(unfinished: Unfinished, metadata) -> bool:
    return True


async def handle_anything(message: dict[str, typing.Any], metadata: Metadata) -> bool:
    return True


async def call_back(app: Unseen, parcel: Parcel) -> None:
    app.seen.append(parcel)

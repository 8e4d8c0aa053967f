"""CallbackList: the callbacks registered for one occasion, in the order in which they run."""

from typing import Any, TypeVar

from loafer_kit.engine.callables import is_async
from loafer_kit.types import Callback

CallbackType = TypeVar("CallbackType", bound=Callback)


class CallbackList(list[Callback]):
    """A list: `insert(0, callback)` puts a callback before those that are registered already."""

    def register(self, callback: CallbackType) -> CallbackType:
        """Append `callback` and return it, so that this serves as a decorator.

        Raises `TypeError` for a plain function.
        """
        if not is_async(callback):
            raise TypeError("The callback must be a coroutine.")
        self.append(callback)
        return callback

    async def notify(self, *args: Any) -> None:
        """Await every callback with `args`, in order; the first exception ends it."""
        for callback in tuple(self):
            await callback(*args)

    async def pipe(self, owner: object, value: Any) -> Any:
        """Await `callback(owner, value)`, feeding each the last one's answer; return the last."""
        for callback in tuple(self):
            value = await callback(owner, value)
        return value

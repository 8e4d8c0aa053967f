"""CallbackList: the callbacks for one occasion, in the order of their calls."""

from typing import Any, TypeVar

from loafer_kit.engine.callables import is_async
from loafer_kit.types import Callback

CallbackType = TypeVar("CallbackType", bound=Callback)


class CallbackList(list[Callback]):
    """A list of coroutine functions; `insert(0, callback)` puts one before the others."""

    def register(self, callback: CallbackType) -> CallbackType:
        """Append `callback` and return it, so that this works as a decorator.

        Raises `TypeError` for a plain function.
        """
        if not is_async(callback):
            raise TypeError("The callback must be a coroutine.")
        self.append(callback)
        return callback

    async def notify(self, *args: Any) -> None:
        """Await every callback with `args`, in order, until one raises."""
        for callback in tuple(self):
            await callback(*args)

    async def pipe(self, owner: object, value: Any) -> Any:
        """Await `callback(owner, value)` in order, passing each result to the next callback."""
        for callback in tuple(self):
            value = await callback(owner, value)
        return value

"""Crew: the children of one parent as one service: what they show, and how they are asked."""

import asyncio
import contextlib
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from loafer_kit.operations import merging
from loafer_kit.operations.children import Child, memory_of
from loafer_kit.operations.control import RECENT, Actions, ControlError, ask
from loafer_kit.operations.samples import Family
from loafer_kit.operations.states import State

#: Actions whose effect new children inherit.
_STANDING = ("pause", "resume", "rate", "concurrency")

#: Seconds that a child gets to answer what an operator asks.
_ANSWER_TIME = 5.0


class Crew:
    """The children of a parent. It is what the pages, the health file and the socket show."""

    def __init__(self, count: int, versions: Mapping[str, str]) -> None:
        #: How many children there should be.
        self.count = count
        self._versions = versions
        self._began = time.monotonic()
        self.children: list[Child] = []
        self.stopping = False
        #: What operators have changed, and new children have to do first.
        self.standing: dict[tuple[str, str], dict[str, Any]] = {}
        #: The metrics of children that have ended.
        self._departed: list[Family] = []
        #: The routes that `pause` has paused.
        self._paused: list[str] = []

    def remove(self, child: Child) -> None:
        """Take a child out that has ended; what it counted stays."""
        self.children.remove(child)
        self._departed = merging.together([self._departed, merging.lasting(child.families)])

    @property
    def state(self) -> State:
        """Ready when as many children are as there should be."""
        if self.stopping:
            return "stopping"
        ready = sum(child.state == "ready" and not child.leaves for child in self.children)
        return "ready" if ready >= self.count else "starting"

    def problems(self) -> list[str]:
        """Return the problems of all children."""
        return _named((child, child.problems) for child in self.children)

    def unready(self) -> list[str]:
        """Return what all children wait for."""
        return _named((child, child.unready) for child in self.children)

    def families(self) -> list[Family]:
        """Return the metrics of all children, as they were within the last second."""
        return merging.together([self._departed, *(child.families for child in self.children)])

    def info(self) -> dict[str, Any]:
        """Return versions, state and routes."""
        return {
            **self._versions,
            "python": platform.python_version(),
            "state": self.state,
            "uptime": round(time.monotonic() - self._began, 3),
            "routes": self.routes(),
        }

    def routes(self) -> dict[str, dict[str, object]]:
        """Return the limits and the condition of each route."""
        samples = {
            (family.name, dict(labels)["route"]): value
            for family in self.families()
            if family.name in ("loafer_slots_total", "loafer_paused", "loafer_breaker_open")
            for labels, value in family.samples.items()
        }
        return {
            route: {
                "concurrency": int(value),
                "paused": bool(samples["loafer_paused", route]),
                "breaker_open": bool(samples["loafer_breaker_open", route]),
            }
            for (name, route), value in samples.items()
            if name == "loafer_slots_total"
        }

    async def follow(
        self, child: Child, every: float, patience: float, answered: Callable[[], object]
    ) -> None:
        """Ask a child how it is, until it ends."""
        while child in self.children:
            with contextlib.suppress(ControlError, TimeoutError):
                async with asyncio.timeout(patience):
                    vitals = await ask(child.socket, "vitals")
                    if child.answered is None:  # what was asked for while it started
                        for request in list(self.standing.values()):
                            await ask(child.socket, **request)
                child.answered = time.monotonic()
                child.state, child.problems = vitals["state"], vitals["problems"]
                child.unready = vitals["unready"]
                child.families = merging.from_data(vitals["metrics"])
                answered()
            await asyncio.sleep(every)

    def actions(self) -> Actions:
        """Return what an operator can ask of all children, or of one by its process id."""

        def one_or_all(action: str) -> Callable[..., Any]:
            async def perform(pid: int | None = None, **parameters: object) -> Any:
                if pid is not None:
                    return await self._ask(self.child(pid), action, parameters)
                return await self._ask_all(action, parameters)

            return perform

        return {
            name: one_or_all(name) for name in ("status", "recent", "queues", "dump", *_STANDING)
        }

    async def pause(self) -> None:
        """Pause the routes that are not paused."""
        paused = [name for name, facts in self.routes().items() if not facts["paused"]]
        self._paused += paused
        for name in paused:
            await self._ask_all("pause", {"route": name})

    async def resume(self) -> None:
        """Resume the routes that `pause` has paused."""
        paused, self._paused = self._paused, []
        for name in paused:
            await self._ask_all("resume", {"route": name})

    def child(self, pid: object) -> Child:
        """Return the child with this process id; raise `ControlError` if there is none."""
        for child in self.children:
            if child.pid == pid:
                return child
        known = ", ".join(str(child.pid) for child in self.children)
        raise ControlError(f"There is no process {pid!r}; there are: {known}")

    async def _ask(self, child: Child, action: str, parameters: Mapping[str, object]) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_TIME):
                return await ask(child.socket, action, **parameters)
        except TimeoutError:
            raise ControlError(
                f"Process {child.pid} has not answered within {_ANSWER_TIME:g} s."
            ) from None

    async def _ask_all(self, action: str, parameters: dict[str, object]) -> Any:
        steers = action in _STANDING
        children = [
            child
            for child in self.children
            if child.answered is not None and not (steers and child.leaves)
        ]
        if not children:
            raise ControlError("No process has started yet: try again.")
        asked = children[:1] if action == "queues" else children
        answers = await asyncio.gather(
            *(self._ask(child, action, parameters) for child in asked), return_exceptions=True
        )
        results, errors = [], []
        for child, answer in zip(asked, answers, strict=True):
            if isinstance(answer, BaseException):
                errors += [] if child.leaves or child not in self.children else [answer]
            else:
                results.append((child, answer))
        if steers and results:
            self._remember(action, parameters)
        if errors and (steers or not results):
            raise errors[0]
        if not results:
            raise ControlError("The processes are ending: try again.")
        return self._joined(action, results)

    def _remember(self, action: str, parameters: dict[str, object]) -> None:
        """Have later children do it first; a later change of the same kind replaces it."""
        kind = "pause" if action == "resume" else action
        route = parameters.get("route")
        if route is None:
            self.standing = {
                key: request for key, request in self.standing.items() if key[0] != kind
            }
        else:
            self.standing[kind, str(route)] = {"action": action, **parameters}

    def _joined(self, action: str, results: list[tuple[Child, Any]]) -> Any:
        answers = [answer for _, answer in results]
        if action == "status":
            processes = [
                {
                    "pid": child.pid,
                    "state": found["state"],
                    "uptime": found["uptime"],
                    "loop_lag": found["loop_lag"],
                    "memory": memory_of(child.pid),
                }
                for child, found in results
            ]
            return {**merging.merged(answers), "state": self.state, "processes": processes}
        if action == "recent":
            everything = [message for answer in answers for message in answer]
            return sorted(everything, key=lambda message: message["time"])[-RECENT:]
        if action == "dump":
            return [{"pid": child.pid, **call} for child, answer in results for call in answer]
        return answers[0]


def _named(lines: Iterable[tuple[Child, list[str]]]) -> list[str]:
    return [f"process {child.pid}: {line}" for child, found in lines for line in found]

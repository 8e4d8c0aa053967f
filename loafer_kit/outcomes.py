"""Outcomes: what was decided about a handled message, for its provider to carry out.

`str(outcome)` names the decision. What the source made of it is logged by the provider.
"""

from collections.abc import Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field

from loafer_kit.exceptions import DeleteMessage, RejectMessage, RetryMessage


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Success: the provider removes the message from its source."""

    def __str__(self) -> str:
        return "acknowledged"


@dataclass(frozen=True, slots=True)
class Leave:
    """Failure: the source is told nothing and redelivers the message in its own time."""

    #: Why it failed, for the dead letter if this was its last delivery.
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        return "left"


@dataclass(frozen=True, slots=True)
class Retry:
    """Failure: redeliver after `delay` seconds; with None the provider computes the delay."""

    delay: float | None = None

    #: Why it failed, for the dead letter if this was its last delivery.
    reason: str = field(default="", compare=False)

    #: How often it has failed in this process, this time included; 0 if that is not known.
    failures: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return "to be retried" + ("" if self.delay is None else f" after {self.delay:g} s")


@dataclass(frozen=True, slots=True)
class Release(Retry):
    """No failure: the handler did not run to its end, so the message goes back at once."""

    delay: float | None = 0

    def __str__(self) -> str:
        return "to be given back"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Permanent failure: to the dead-letter queue, or like `Leave` if there is none.

    A reason that is not a string becomes one, as `reason_text` writes it.
    """

    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", reason_text(self.reason))

    def __str__(self) -> str:
        return "rejected"


Outcome = Acknowledge | Leave | Retry | DeadLetter


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of one message, and the exception that led to it, if any."""

    outcome: Outcome
    error: BaseException | None = None


#: The exceptions by which a handler decides. Any other is a failure, also a `LoaferException`.
Request = DeleteMessage | RetryMessage | RejectMessage
REQUESTS = (DeleteMessage, RetryMessage, RejectMessage)

ACKNOWLEDGE = Acknowledge()
LEAVE = Leave()
RELEASE = Release()


def reason_text(reason: object) -> str:
    """Return any reason as text: an exception with its type, even one that cannot be printed."""
    try:
        if isinstance(reason, BaseException):
            return f"{type(reason).__name__}: {reason}"
        return str(reason)
    except Exception:  # noqa: BLE001 - the reason is the user's object
        return f"{type(reason).__name__} (its text cannot be shown)"


def from_answer(answer: object) -> Outcome:
    """Return the outcome for a handler's answer.

    An instance (or the class) of `DeleteMessage`, `RetryMessage` or `RejectMessage` means the same
    as when raised; any other answer acknowledges if it is true. Raises `TypeError` for an
    answer that is always true.
    """
    if answer is True:  # most of all answers
        return ACKNOWLEDGE
    if isinstance(answer, REQUESTS):
        return from_exception(answer)
    if isinstance(answer, type) and issubclass(answer, REQUESTS):
        return from_exception(answer())
    if truth_of(answer):
        return ACKNOWLEDGE
    return Leave(f"the handler returned {_shown(answer)}")


def is_result(answer: object) -> bool:
    """Return whether an answer is a result to pass on: it is true, and it is no decision."""
    kind = answer if isinstance(answer, type) else type(answer)
    if answer is True or issubclass(kind, REQUESTS):
        return False
    try:
        return truth_of(answer)
    except TypeError:
        return True


def _shown(answer: object) -> str:
    plain = answer is None or isinstance(answer, bool | int | float)
    return repr(answer) if plain else f"an empty {type(answer).__name__}"


def truth_of(answer: object) -> bool:
    """Return whether `answer` is true.

    Booleans, None, numbers, text, bytes, lists, dicts and other collections may be false, as may
    any object whose class defines `__bool__` or `__len__`. A generator, a function or another
    object without a truth of its own is always true, so it says nothing of the work: raises
    `TypeError`.
    """
    kind = type(answer)
    if isinstance(answer, type) or not (hasattr(kind, "__bool__") or hasattr(kind, "__len__")):
        what = f"the class {answer.__name__}" if isinstance(answer, type) else f"a {kind.__name__}"
        raise TypeError(f"The answer is {what}, which is always true: return True or False.")
    return bool(answer)


def from_exception(exc: Request) -> Outcome:
    """Return the outcome that a handler requests by raising `exc`."""
    match exc:
        case DeleteMessage():
            return ACKNOWLEDGE
        case RetryMessage():
            reason = exc.reason or "the handler asked for a retry"
            return Retry(exc.delay, reason=reason_text(reason))
        case RejectMessage():
            return DeadLetter(reason_text(exc.reason))


def from_batch_answer(answer: object, size: int) -> list[Outcome]:
    """Return the outcomes of a batch handler's answer, in the order of the messages.

    A sequence, an iterator or a dict's values hold an answer for each message; a mapping, answers
    by position; any other answer is for all messages. A message without an answer has failed.
    Raises `TypeError` for an answer that is longer than the batch, or for a position outside it.
    """
    if isinstance(answer, Mapping):
        answers = dict(answer)
    elif isinstance(answer, Sequence | Iterator | ValuesView) and not isinstance(
        answer, str | bytes
    ):
        answers = dict(enumerate(answer))
    else:
        return [from_answer(answer)] * size
    if any(position not in range(size) for position in answers):
        raise TypeError(
            f"The batch handler answered positions {sorted(answers)!r} of {size} messages."
        )
    return [from_answer(answers.get(position)) for position in range(size)]

"""Requests in, always one answer out (contract 3)."""

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from ocpp16_bridge.mqtt.model import from_json
from ocpp16_bridge.mqtt.problems import describe, kind, legible, shown
from ocpp16_bridge.mqtt.variables import Publisher, to_json
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

MAX_PAYLOAD = 65536  # bytes
MAX_WAITING = 32  # requests of one command, besides the one in work
MAX_REPLY_TOPIC = 200  # bytes
MAX_ID = 64  # characters
REPEAT_WITHIN = 60.0  # s in which the same request gets the same reply
# Remembered replies, and bytes of them; more are forgotten, oldest first: memory is bounded whatever clients send.
MAX_REMEMBERED = 768
MAX_REMEMBERED_BYTES = 2**22


class CommandError(Exception):
    """Raised by a handler: the reply is an error with this code."""

    def __init__(self, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **details}


class Request(NamedTuple):
    """One message on `BASE/request/<command>`."""

    command: str
    payload: bytes
    retained: bool = False
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expires_at: float | None = None  # monotonic


@dataclass(frozen=True)
class CommandHandler:
    """Carries out one command: arguments in, `data` of the reply out."""

    arguments: TypeAdapter[Any] | None  # None: there are none
    reads: bool
    act: Callable[..., Any] | None  # one turn
    converse: Callable[..., Coroutine[Any, Any, Any]] | None = None


@dataclass(slots=True)
class _Job:
    """A request on its way to its reply."""

    request: Request
    topic: str  # of the reply
    id: str | int | None = None
    arguments: tuple[Any, ...] = ()
    key: bytes | None = None  # the same for the same request again
    duplicates: list[Request] = field(default_factory=list)


class Commands:
    """Takes requests, gives replies; conversations of one command run one after the other."""

    def __init__(
        self,
        base_topic: str,
        turns: Turns,
        monotonic: Callable[[], float],
        start: Callable[[Coroutine[Any, Any, None], str], None],
        count: Callable[[str], None],
    ) -> None:
        self._base = base_topic + "/"
        self._reply_topics = (base_topic + "/reply/", base_topic + "/response/")
        self._turns = turns
        self._monotonic = monotonic
        self._start = start
        self._count = count
        self._in_work: set[str] = set()
        self._waiting: dict[str, deque[_Job]] = {}
        self._unanswered: dict[bytes, _Job] = {}
        self._remembered: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()  # oldest first
        self._remembered_bytes = 0
        self.handlers: dict[str, CommandHandler] = {}
        self.publisher: Publisher

    def received(self, request: Request) -> None:
        """Answer ``request``, now or when its conversation ends. An empty payload is no request."""
        if not request.payload:
            return
        job = _Job(request, self._base + "response/" + request.command)
        try:
            if request.retained:
                self._clear(job)
            self._admit(job, self._open(job))
        except CommandError as error:
            self._refuse(job, error)
        except Exception as error:  # noqa: BLE001 - it is logged with its traceback
            self._failed(job, error)

    def _clear(self, job: _Job) -> None:
        """A retained request would run again at every start: it is taken away, and refused whatever it says."""
        self.publisher.publish(self._base + "request/" + job.request.command, b"", retain=True)
        with suppress(CommandError):
            self._open(job)  # for its id and its reply topic
        raise CommandError("retained_request", "a request must not be retained: it is not carried out")

    # -- from the payload to the arguments

    def _open(self, job: _Job) -> dict[str, Any]:
        """Read the envelope and return the arguments. Reply topic and id come first: an error reply needs them, too."""
        may_reply = self._take_reply_topic(job, job.request.response_topic)
        message: object = _load(job.request.payload)
        arguments: dict[str, Any] = message if isinstance(message, dict) else {}
        request_id = arguments.pop("id", None)
        reply_to = arguments.pop("reply_to", None)
        if _is_id(request_id):
            job.id = request_id
        if job.request.response_topic is None:
            may_reply = self._take_reply_topic(job, reply_to)
        if not may_reply:
            raise self._bad_reply_topic()
        if arguments is not message:
            raise CommandError("bad_request", f"payload: must be a JSON object, got {kind(message)}")
        if request_id is not None and job.id is None:
            raise CommandError(
                "bad_request",
                f"id: must be an integer or a string of at most {MAX_ID} characters, got {_id_shown(request_id)}",
            )
        return arguments

    def _take_reply_topic(self, job: _Job, topic: Any) -> bool:
        """Whether ``topic`` may be used, or there is none; then ``job`` is answered there."""
        if topic is None:
            return True
        if not self._may_reply_on(topic):
            return False
        job.topic = topic
        return True

    def _bad_reply_topic(self) -> CommandError:
        return CommandError(
            "bad_reply_topic",
            f"the reply topic must lie under {self._reply_topics[0]} or {self._reply_topics[1]}, "
            f"have at most {MAX_REPLY_TOPIC} bytes and no wildcard",
        )

    def _may_reply_on(self, topic: Any) -> bool:
        """The daemon may write where the client may not: never publish to a topic a client merely names."""
        return (
            isinstance(topic, str)
            and topic.startswith(self._reply_topics)
            and topic not in self._reply_topics
            and topic.isprintable()
            and "+" not in topic
            and "#" not in topic
            and len(topic.encode()) <= MAX_REPLY_TOPIC
        )

    # -- who may be carried out

    def _admit(self, job: _Job, arguments: dict[str, Any]) -> None:
        request = job.request
        self._check_expiry(request)
        handler = self.handlers.get(request.command)
        if handler is None:
            raise CommandError("unknown_command", f"there is no command {legible(request.command)}")
        key = None if handler.reads else _key(job)
        if key is not None and self._is_repeated(job, key):
            return
        job.key = key
        job.arguments = _validated(handler, arguments)
        if handler.converse is None:
            self._act(job, handler)
        else:
            self._enqueue(job)

    def _check_expiry(self, request: Request) -> None:
        if request.expires_at is not None and request.expires_at <= self._monotonic():
            raise CommandError("expired", "the message expired before it was carried out")

    def _is_repeated(self, job: _Job, key: bytes) -> bool:
        """Answer a duplicate with the first reply; one whose first is still in work is answered when that is."""
        first = self._unanswered.get(key)
        if first is not None:
            if len(first.duplicates) >= MAX_WAITING:
                raise CommandError("busy", "the first request of this id is still in work")
            first.duplicates.append(job.request._replace(payload=first.request.payload))  # the same, kept once
            return True
        self._forget_old()
        known = self._remembered.get(key)
        if known is None:
            return False
        self._publish(job.topic, _as_duplicate(known[1]), job.request)
        return True

    # -- carrying out

    def _act(self, job: _Job, handler: CommandHandler) -> None:
        assert handler.act is not None  # noqa: S101 - one of the two
        with self._turns.turn():
            reply = _reply(job, handler.act(*job.arguments))  # what can't be said fails the turn
            self._turns.answer(lambda: self._answer(job, reply))

    def _enqueue(self, job: _Job) -> None:
        command = job.request.command
        waiting = self._waiting.setdefault(command, deque())
        if len(waiting) >= MAX_WAITING:
            job.key = None
            raise CommandError("busy", f"{MAX_WAITING} requests of {command} are waiting already: try again later")
        if job.key is not None:
            self._unanswered[job.key] = job
        waiting.append(job)
        if command not in self._in_work:
            self._begin_next(command)

    def _begin_next(self, command: str) -> None:
        waiting = self._waiting[command]
        self._in_work.discard(command)
        while waiting and command not in self._in_work:
            self._begin(waiting.popleft())

    def _begin(self, job: _Job) -> None:
        try:
            self._check_expiry(job.request)
        except CommandError as error:
            self._drop(job, error)
            return
        command = job.request.command
        self._in_work.add(command)
        self._start(self._converse(job), "request " + command)

    def _drop(self, job: _Job, error: CommandError) -> None:
        """Refuse what has waited in vain; it was not carried out, so the next one of its kind is."""
        if job.key is not None:
            del self._unanswered[job.key]
            job.key = None
        self._refuse(job, error)
        for duplicate in job.duplicates:
            self.received(duplicate)

    async def _converse(self, job: _Job) -> None:
        command = job.request.command
        converse = self.handlers[command].converse
        assert converse is not None  # noqa: S101 - only these are enqueued
        try:
            self._answer(job, _reply(job, await converse(*job.arguments)))
        except CommandError as error:
            self._refuse(job, error)
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        except Exception as error:  # noqa: BLE001 - it is logged with its traceback
            self._failed(job, error)
        self._begin_next(command)

    def _abandon(self, job: _Job) -> None:
        """The daemon ends: what is in work and what waits for it is not carried out any more."""
        command = job.request.command
        waiting = self._waiting.pop(command)
        self._in_work.discard(command)
        for each in (job, *waiting):
            self._refuse(each, CommandError("stopped", "ocpp16-bridge ends"))

    # -- the reply

    def _refuse(self, job: _Job, error: CommandError) -> None:
        self._count(error.error["code"])
        logger.debug("request %s is refused: %s", legible(job.request.command), error)
        self._answer(job, _error_reply(job, error.error))

    def _failed(self, job: _Job, error: Exception) -> None:
        extra = {"mqtt_topic": self._base + "request/" + job.request.command}
        logger.error("request %s failed", legible(job.request.command), exc_info=error, extra=extra)
        self._count("internal")
        message = "an error of ocpp16-bridge itself: see its log"
        self._answer(job, _error_reply(job, {"code": "internal", "message": message}))

    def _answer(self, job: _Job, reply: bytes) -> None:
        self._publish(job.topic, reply, job.request)
        if job.key is None:
            return
        self._unanswered.pop(job.key, None)
        self._remember(job.key, reply)
        for duplicate in job.duplicates:
            self._publish(job.topic, _as_duplicate(reply), duplicate)

    def _publish(self, topic: str, reply: bytes, request: Request) -> None:
        self.publisher.publish(topic, reply, correlation_data=request.correlation_data)

    # -- the same request again

    def _remember(self, key: bytes, reply: bytes) -> None:
        self._remembered[key] = (self._monotonic(), reply)
        self._remembered_bytes += len(reply)
        self._forget_old()

    def _forget_old(self) -> None:
        stale = self._monotonic() - REPEAT_WITHIN
        while self._remembered and (self._next_to_forget < stale or self._remembers_too_much):
            _, (_, reply) = self._remembered.popitem(last=False)
            self._remembered_bytes -= len(reply)

    @property
    def _next_to_forget(self) -> float:
        return next(iter(self._remembered.values()))[0]

    @property
    def _remembers_too_much(self) -> bool:
        return len(self._remembered) > MAX_REMEMBERED or self._remembered_bytes > MAX_REMEMBERED_BYTES


def _load(payload: bytes) -> Any:
    if len(payload) > MAX_PAYLOAD:
        raise CommandError("bad_request", f"payload: must have at most {MAX_PAYLOAD} bytes, got {len(payload)}")
    try:
        return from_json(payload)
    except ValueError as error:
        raise CommandError("bad_json", f"payload: must be one JSON object in UTF-8: {error}") from None


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID
    return isinstance(value, int) and not isinstance(value, bool)


def _id_shown(value: Any) -> str:
    return f"{len(value)} characters" if isinstance(value, str) else shown(value)


def _reply(job: _Job, data: Any) -> bytes:
    if job.id is None:
        return to_json({"status": "ok", "data": data})
    return to_json({"id": job.id, "status": "ok", "data": data})


def _error_reply(job: _Job, error: dict[str, str]) -> bytes:
    reply = {"status": "error", "error": error}
    return to_json(reply if job.id is None else {"id": job.id, **reply})


def _as_duplicate(reply: bytes) -> bytes:
    """``reply``, an object, with one more member."""
    return reply[:-1] + b',"duplicate":true}'


def _validated(handler: CommandHandler, arguments: dict[str, Any]) -> tuple[Any, ...]:
    if handler.arguments is not None:
        try:
            return (handler.arguments.validate_python(arguments),)
        except ValidationError as error:
            raise CommandError("bad_request", describe(error, handler.arguments)) from None
    if arguments:
        raise CommandError("bad_request", f"{legible(next(iter(arguments)))}: there is no such argument")
    return ()


def _key(job: _Job) -> bytes | None:
    """The same for the same request again; None where it names itself neither by id nor by Correlation Data."""
    name = job.request.correlation_data if job.id is None else repr(job.id).encode()
    if name is None:
        return None
    parts = (job.request.command.encode(), job.topic.encode(), name, job.request.payload)
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()

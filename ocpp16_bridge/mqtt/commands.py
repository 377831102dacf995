"""Requests in, always one answer out (contract 3)."""

import hashlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ocpp16_bridge.mqtt.problems import describe
from ocpp16_bridge.mqtt.variables import Publisher, to_json
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

MAX_PAYLOAD = 65536  # bytes
MAX_WAITING = 32  # requests of one command, besides the one in work
MAX_REPLY_TOPIC = 200  # bytes
MAX_ID = 64  # characters
REPEAT_WITHIN = 60.0  # s in which the same request gets the same reply
# Remembered replies; more are forgotten, oldest first: memory is bounded whatever clients send.
MAX_REMEMBERED = 512


class CommandError(Exception):
    """Raised by a handler: the reply is an error with this code."""

    def __init__(self, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **details}


@dataclass(frozen=True)
class Request:
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


@dataclass
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
        self._in_work: dict[str, _Job] = {}
        self._waiting: dict[str, deque[_Job]] = {}
        self._unanswered: dict[bytes, _Job] = {}
        self._remembered: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()
        self.handlers: dict[str, CommandHandler] = {}
        self.publisher: Publisher

    def received(self, request: Request) -> None:
        """Answer ``request``, now or when its conversation ends. An empty payload is no request."""
        if not request.payload:
            return
        job = _Job(request, self._base + "response/" + request.command)
        if request.retained:
            # It would run again at every start: clear the topic.
            self.publisher.publish(self._base + "request/" + request.command, b"", retain=True)
        try:
            self._admit(job, self._open(job))
        except CommandError as error:
            self._refuse(job, error)
        except Exception:
            self._failed(job)

    # -- from the payload to the arguments

    def _open(self, job: _Job) -> dict[str, Any]:
        """Read the envelope and return the arguments. Reply topic and id come first: an error reply needs them, too."""
        message: object = self._load(job)
        arguments: dict[str, Any] = message if isinstance(message, dict) else {}
        request_id = arguments.pop("id", None)
        reply_to = arguments.pop("reply_to", None)
        if _is_id(request_id):
            job.id = request_id
        if reply_to is not None and job.request.response_topic is None:
            self._set_reply_topic(job, reply_to)
        if arguments is not message:
            raise CommandError("bad_request", f"payload: must be a JSON object, got {_json_type(message)}")
        if request_id is not None and job.id is None:
            raise CommandError("bad_request", f"id: must be an integer or a string of 1 to {MAX_ID} characters")
        return arguments

    def _load(self, job: _Job) -> Any:
        if job.request.response_topic is not None:
            self._set_reply_topic(job, job.request.response_topic)
        payload = job.request.payload
        if len(payload) > MAX_PAYLOAD:
            raise CommandError("bad_request", f"payload: must have at most {MAX_PAYLOAD} bytes, got {len(payload)}")
        try:
            return json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise CommandError("bad_json", f"the payload must be one JSON object: {error}") from None

    def _set_reply_topic(self, job: _Job, topic: Any) -> None:
        if not self._may_reply_on(topic):
            raise CommandError(
                "bad_reply_topic",
                f"the reply topic must lie under {self._reply_topics[0]} or {self._reply_topics[1]}, "
                f"have at most {MAX_REPLY_TOPIC} bytes and no wildcard",
            )
        job.topic = topic

    def _may_reply_on(self, topic: Any) -> bool:
        """The daemon may write where the client may not: never publish to a topic a client merely names."""
        return (
            isinstance(topic, str)
            and topic.startswith(self._reply_topics)
            and topic not in self._reply_topics
            and topic.isprintable()
            and not set("+#") & set(topic)
            and len(topic.encode()) <= MAX_REPLY_TOPIC
        )

    # -- who may be carried out

    def _admit(self, job: _Job, arguments: dict[str, Any]) -> None:
        request = job.request
        if request.retained:
            raise CommandError("retained_request", "a request must not be retained: it is not carried out")
        self._check_expiry(request)
        handler = self.handlers.get(request.command)
        if handler is None:
            raise CommandError("unknown_command", f"there is no command {request.command[:80]}")
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
            first.duplicates.append(job.request)
            return True
        known = self._remembered.get(key)
        if known is None or known[0] + REPEAT_WITHIN < self._monotonic():
            return False
        self._publish(job.topic, {**known[1], "duplicate": True}, job.request)
        return True

    # -- carrying out

    def _act(self, job: _Job, handler: CommandHandler) -> None:
        assert handler.act is not None  # noqa: S101 - one of the two
        with self._turns.turn():
            reply = {"status": "ok", "data": handler.act(*job.arguments)}
            self._turns.answer(lambda: self._reply(job, reply))

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
        self._in_work.pop(command, None)
        while waiting and command not in self._in_work:
            self._begin(waiting.popleft())

    def _begin(self, job: _Job) -> None:
        try:
            self._check_expiry(job.request)
        except CommandError as error:
            self._refuse(job, error)
            return
        command = job.request.command
        converse = self.handlers[command].converse
        assert converse is not None  # noqa: S101 - only these are enqueued
        self._in_work[command] = job
        self._start(self._converse(job, converse(*job.arguments)), "request " + command)

    async def _converse(self, job: _Job, conversation: Coroutine[Any, Any, Any]) -> None:
        try:
            self._reply(job, {"status": "ok", "data": await conversation})
        except CommandError as error:
            self._refuse(job, error)
        except Exception:
            self._failed(job)
        self._begin_next(job.request.command)

    # -- the reply

    def _refuse(self, job: _Job, error: CommandError) -> None:
        self._count(error.error["code"])
        logger.debug("request %s is refused: %s", job.request.command, error)
        self._reply(job, {"status": "error", "error": error.error})

    def _failed(self, job: _Job) -> None:
        logger.exception("request %s failed", job.request.command, extra={"mqtt_topic": job.topic})
        self._count("internal")
        message = "an error of ocpp16-bridge itself: see its log"
        self._reply(job, {"status": "error", "error": {"code": "internal", "message": message}})

    def _reply(self, job: _Job, reply: dict[str, Any]) -> None:
        whole = reply if job.id is None else {"id": job.id, **reply}
        self._publish(job.topic, whole, job.request)
        if job.key is None:
            return
        self._unanswered.pop(job.key, None)
        self._remember(job.key, whole)
        for duplicate in job.duplicates:
            self._publish(job.topic, {**whole, "duplicate": True}, duplicate)

    def _publish(self, topic: str, reply: dict[str, Any], request: Request) -> None:
        self.publisher.publish(topic, to_json(reply), correlation_data=request.correlation_data)

    def _remember(self, key: bytes, reply: dict[str, Any]) -> None:
        now = self._monotonic()
        self._remembered[key] = (now, reply)
        while len(self._remembered) > MAX_REMEMBERED or self._is_stale(next(iter(self._remembered)), now):
            self._remembered.popitem(last=False)

    def _is_stale(self, key: bytes, now: float) -> bool:
        return self._remembered[key][0] + REPEAT_WITHIN < now


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return 1 <= len(value) <= MAX_ID
    return isinstance(value, int) and not isinstance(value, bool)


def _json_type(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _validated(handler: CommandHandler, arguments: dict[str, Any]) -> tuple[Any, ...]:
    if handler.arguments is not None:
        try:
            return (handler.arguments.validate_python(arguments),)
        except ValidationError as error:
            raise CommandError("bad_request", describe(error)) from None
    if arguments:
        raise CommandError("bad_request", f"{next(iter(arguments))[:80]}: there is no such argument")
    return ()


def _key(job: _Job) -> bytes | None:
    """The same for the same request again; None where it names itself neither by id nor by Correlation Data."""
    name = job.request.correlation_data if job.id is None else repr(job.id).encode()
    if name is None:
        return None
    parts = (job.request.command.encode(), job.topic.encode(), name, job.request.payload)
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()

"""What the demo prints: sentences, and under them, indented, the traffic that results."""

# ruff: noqa: T201 - a command prints

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from ocpp16_bridge.demo.happenings import DaemonEnded, DaemonStarted, Happening, Link, MqttMessage, OcppMessage

LONGEST_PAYLOAD = 120  # characters

# Topics on which others than the daemon write.
_TO_DAEMON = ("request/", "hardware/")
_FROM_DAEMON = ("hardware/request/",)


class Narrator:
    """Prints line by line.

    Args:
        base_topic: that of all MQTT messages.
        now: the local time of day.

    """

    def __init__(self, base_topic: str, now: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone()) -> None:
        self._base = base_topic
        self._now = now

    def say(self, text: str) -> None:
        try:
            print(text, flush=True)
        except OSError:  # the terminal is closed, or `head` has seen enough
            _stop_printing()

    def show(self, happening: Happening) -> None:
        milliseconds = f"{self._now():%H:%M:%S.%f}"[:-3]
        self.say(f"   {milliseconds}  {_line(happening, self._base)}")


def _line(happening: Happening, base: str) -> str:
    match happening:
        case OcppMessage(sender, name, payload):
            return f"OCPP  {'←' if sender == 'CSMS' else '→'} CSMS   {name} {_short(payload)}"
        case Link(is_open, close_code):
            return f"OCPP  ─ CSMS   websocket {'open' if is_open else f'closed ({close_code})'}"
        case MqttMessage(topic, payload, is_retained):
            to_daemon = topic.startswith(_TO_DAEMON) and not topic.startswith(_FROM_DAEMON)
            mark = "  [retained]" if is_retained else ""
            return f"MQTT  {'→' if to_daemon else '←'} daemon {base}/{topic} {_short(payload)}{mark}"
        case DaemonStarted(process_id):
            return f"the daemon starts, process {process_id}"
        case DaemonEnded(status):
            return f"the daemon ended, exit status {status}"


def _short(payload: object) -> str:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return text if len(text) <= LONGEST_PAYLOAD else text[: LONGEST_PAYLOAD - 1] + "…"


def _stop_printing() -> None:
    """Nobody reads any longer: end as if the terminal were closed."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stdout.fileno())
    os.close(silence)
    signal.raise_signal(signal.SIGTERM)

"""The command line: what is asked for, and the exit status (contract 5)."""

# ruff: noqa: PLC0415 - each command loads only what it needs: the daemon starts sooner
# ruff: noqa: T201 - a command prints

import argparse
import faulthandler
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ocpp16_bridge import __version__, logs

DEFAULT_CONFIG = Path("/etc/ocpp16-bridge/config.toml")

EXIT_FAILURE = 1
EXIT_TIMEOUT = 2
EXIT_CONFIGURATION = 78  # EX_CONFIG: systemd does not try again

# Not `__main__`: its records belong to this package's logger.
logger = logging.getLogger("ocpp16_bridge.command_line")

Command = Callable[[argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    """argparse's own exit status for a misspelt line is 2, which means a time-out here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_FAILURE, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command that ``arguments`` name; the exit status."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        return EXIT_FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ocpp16-bridge",
        description="An OCPP 1.6J charge point between a CSMS (websocket) and everything else on the board (MQTT).",
    )
    parser.add_argument("--version", action="version", version=f"ocpp16-bridge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, explanation: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=explanation, description=explanation)
        added.set_defaults(command=command)
        return added

    def add_configured(name: str, command: Command, explanation: str) -> argparse.ArgumentParser:
        added = add(name, command, explanation)
        added.add_argument(
            "--config",
            type=Path,
            default=DEFAULT_CONFIG,
            metavar="FILE",
            help="configuration file (default: %(default)s)",
        )
        return added

    add_configured("run", _run, "Run the daemon.")
    add_configured("check-config", _check_config, "Say what is wrong with the configuration; exit status 0 or 78.")
    call = add_configured("call", _call, "Send a request to the running daemon over MQTT and print the reply.")
    call.add_argument("name", metavar="COMMAND", help="such as get_configuration_key")
    call.add_argument(
        "arguments", metavar="JSON", nargs="?", default="{}", help='such as \'{"keys":["HeartbeatInterval"]}\''
    )
    call.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (default: %(default)g)")
    reset = add_configured(
        "reset-configuration",
        _reset_configuration,
        "Forget stored values of configuration keys, so that those of the file hold; the daemon must be stopped.",
    )
    reset.add_argument("keys", metavar="KEY", nargs="*", help="which (default: all)")
    simulate = add_configured(
        "simulate",
        _simulate,
        "Try a CSMS without hardware: a simulated EVSE and its card reader play sessions with the running daemon.",
    )
    simulate.add_argument("--connector", type=int, default=1, metavar="N", help="which (default: %(default)s)")
    simulate.add_argument(
        "--sessions", type=_whole_above_zero, metavar="N", help="how many (default: until interrupted)"
    )
    simulate.add_argument(
        "--speed", type=_above_zero, default=1.0, metavar="X", help="time passes X times as fast (default: 1)"
    )
    simulate.add_argument(
        "--id-tag", default="04AB12CD", metavar="TAG", help="the card, up to 20 characters (default: %(default)s)"
    )
    simulate.add_argument("--fault", action="store_true", help="a fault comes and goes in the middle of each session")
    add_configured("schedule", _schedule, "Show the composite schedules of all connectors as tables and text plots.")
    demo = add("demo", _demo, "Show it all: a private broker, a small CSMS and the daemon, until interrupted.")
    demo.add_argument(
        "--exit-after-session", action="store_true", help="end with status 0 once one whole session went through"
    )
    return parser


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def _whole_above_zero(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_above_zero.__name__ = "number above 0"  # argparse says: invalid … value
_whole_above_zero.__name__ = "whole number above 0"


def _run(options: argparse.Namespace) -> int:
    from ocpp16_bridge.configuration_file import ConfigurationError
    from ocpp16_bridge.daemon import run
    from ocpp16_bridge.store import StoreError, StoreTooNewError

    faulthandler.enable()  # a hang that the watchdog ends leaves its stack in the journal
    os.umask(0o077)  # no file of ours is for others
    logs.configure_logging("info", os.environ)
    try:
        run(options.config, os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            logger.error("%s", problem)  # noqa: TRY400 - the text says it all
        return EXIT_CONFIGURATION
    except StoreError as error:
        logger.error("%s", error)  # noqa: TRY400 - the text says it all
        return EXIT_CONFIGURATION if isinstance(error, StoreTooNewError) else EXIT_FAILURE
    except Exception:
        logger.exception("the daemon ends after an error of its own")
        return EXIT_FAILURE
    return 0


def _check_config(options: argparse.Namespace) -> int:
    from ocpp16_bridge.charge_point import check
    from ocpp16_bridge.configuration_file import ConfigurationError, load_settings

    try:
        load_settings(options.config, os.environ, check)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIGURATION
    print(f"{options.config}: good")
    return 0


def _call(options: argparse.Namespace) -> int:
    from ocpp16_bridge.cli.call import call

    return call(options.config, options.name, options.arguments, options.timeout)


def _reset_configuration(options: argparse.Namespace) -> int:
    from ocpp16_bridge.cli.reset_configuration import reset_configuration

    return reset_configuration(options.config, options.keys)


def _simulate(options: argparse.Namespace) -> int:
    from ocpp16_bridge.cli.simulate import Play, simulate

    play = Play(options.connector, options.sessions, options.speed, options.id_tag, options.fault)
    return simulate(options.config, play)


def _schedule(options: argparse.Namespace) -> int:
    from ocpp16_bridge.cli.schedule import schedule

    return schedule(options.config)


def _demo(options: argparse.Namespace) -> int:
    from ocpp16_bridge.demo import demo

    return demo(exit_after_session=options.exit_after_session)


if __name__ == "__main__":
    sys.exit(main())

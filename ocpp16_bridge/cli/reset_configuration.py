"""`ocpp16-bridge reset-configuration`: forget stored values of configuration keys (contract 5)."""

# ruff: noqa: T201 - a command prints

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ocpp16_bridge.charge_point import check, standard_keys
from ocpp16_bridge.configuration_file import ConfigurationError, load_settings
from ocpp16_bridge.configuration_keys import Access, ConfigurationKey
from ocpp16_bridge.first_values import custom_keys
from ocpp16_bridge.store import Store, StoreError, StoreTooNewError
from ocpp16_bridge.turn import Turns

EXIT_FAILURE = 1

Keys = dict[str, ConfigurationKey[Any]]  # by lower-case name


def reset_configuration(config: Path, names: Sequence[str]) -> int:
    """Forget the values of the keys ``names``, in any case, or of all; those of the file hold at the next start.

    If one of them is no key nothing is forgotten.
    """
    try:
        settings = load_settings(config, os.environ, check)
        keys = {key.name.lower(): key for key in [*standard_keys(), *custom_keys(settings)]}
        if unknown := [name for name in names if name.lower() not in keys]:
            print(f"nothing is forgotten: there is no configuration key {', '.join(unknown)}", file=sys.stderr)
            return EXIT_FAILURE
        _reset(settings.storage.directory, keys, names)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except (StoreError, PermissionError) as error:
        print(error, file=sys.stderr)
        if isinstance(error.__cause__ or error, PermissionError):
            print("run this as root or as the daemon's user", file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, StoreTooNewError) else EXIT_FAILURE
    return 0


def _reset(directory: Path, keys: Keys, names: Sequence[str]) -> None:
    if not (directory / "store.sqlite").exists():  # don't make one, which would not be the daemon's own
        print(f"nothing is stored in {directory}")
        return
    with closing(Store(directory)) as store:
        stored = store.collection("configuration_key", str)
        asked = {name.lower() for name in names}
        forgotten = {name: value for name, value in stored.items() if not names or name.lower() in asked}
        with Turns(store).turn():
            for name in forgotten:
                stored.delete(name)
    for name, value in sorted(forgotten.items()):
        print(f"forgotten: {name}{_shown(keys.get(name.lower()), value)}")
    for name in sorted(asked - {name.lower() for name in forgotten}):
        print(f"not stored: {keys[name].name}")
    if not forgotten and not names:
        print("no configuration key is stored")


def _shown(key: ConfigurationKey[Any] | None, value: str) -> str:
    """Write-only keys are secrets; what a key was that is declared no longer is unknown."""
    return "" if key is None or key.access is Access.WRITE_ONLY else f" = {value}"

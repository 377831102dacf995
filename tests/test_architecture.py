"""Who may know whom: the package's imports, read from its sources."""

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "ocpp16_bridge"
ROOT = Path(__file__).parents[1] / PACKAGE
FILES = sorted(ROOT.rglob("*.py"))

MOST_LINES = 610  # of a file; the median is to be about 120

# From the top down: a module imports from its own layer and those below. Where a layer has several parts, these don't
# know each other.
LAYERS = (
    (("__main__",), ("cli",), ("demo",)),
    (("daemon",), ("simulator",)),
    (("charge_point",),),
    (("features",),),
    (("feature",),),
    (("csms",), ("mqtt",), ("first_values",), ("handlers",)),
    (("configuration_keys",), ("conversations",), ("clock",), ("configuration_file",)),
    (("settings",), ("store",), ("turn",), ("timestamps",), ("logs",)),
    (("systemd",), ("authorization_key",), ("transfers",), ("exchange",)),
)
# `__main__` is the command line: it starts what stands beside it.
MAY_START = {"__main__": {"cli", "demo"}}
EVERYWHERE = {"__init__"}  # the version


def name_of(file: Path) -> str:
    """Such as `csms.connection`; a package is named by its `__init__`."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def imports(file: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever in it; of `from x import y` both x and x.y."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


NAMES = {name_of(file) for file in FILES}


def own_imports(file: Path) -> set[str]:
    """The modules of the package that a file imports, as `name_of` names them."""
    found = set()
    for module in imports(file):
        name = module.removeprefix(PACKAGE).removeprefix(".")
        if module.split(".")[0] == PACKAGE:
            found |= {name or "__init__", f"{name}.__init__"} & NAMES
    return found - {name_of(file)}


def part(name: str) -> str:
    return name.partition(".")[0]


def layer(name: str) -> int:
    (number,) = [n for n, parts in enumerate(LAYERS) if (part(name),) in parts]
    return number


def may_import(importer: str, imported: str) -> bool:
    own, other = part(importer), part(imported)
    if other in EVERYWHERE or own == other or other in MAY_START.get(own, ()):
        return True
    return own not in EVERYWHERE and layer(importer) < layer(imported)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_downwards_only(file: Path) -> None:
    """`csms` and `mqtt` know neither each other nor a feature; nothing but the command line knows `cli` and `demo`."""
    upwards = {imported for imported in own_imports(file) if not may_import(name_of(file), imported)}
    assert upwards == set()


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {name_of(file): {name for name in own_imports(file) if not name.endswith("__init__")} for file in FILES}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the cycle


SOCKETS = {"socket", "socketserver", "websockets", "aiomqtt", "paho"}
STREAMS = {"open_connection", "open_unix_connection", "start_server", "start_unix_server", "create_connection"}


@pytest.mark.parametrize("file", [file for file in FILES if part(name_of(file)) == "features"], ids=name_of)
def test_features_know_no_socket(file: Path) -> None:
    assert {module for module in imports(file) if module.split(".")[0] in SOCKETS} == set()
    attributes = {node.attr for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute)}
    assert attributes & STREAMS == set()


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("random", "daemon"),  # chance and ids are injected
        ("uuid", "daemon"),
        ("time", "clock"),
        ("sqlite3", "store"),
        ("websockets", "csms.connection"),
        ("aiomqtt", "mqtt.connection"),
        ("paho", "mqtt.connection"),
    ],
)
def test_a_library_of_the_outer_world_has_one_owner_in_the_daemon(library: str, owner: str) -> None:
    of_the_daemon = (file for file in FILES if part(name_of(file)) not in {"cli", "demo", "simulator"})
    importers = {name_of(file) for file in of_the_daemon for module in imports(file) if module.split(".")[0] == library}
    assert importers == {owner}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_has_a_purpose_and_a_size_to_be_read_at_once(file: Path) -> None:
    assert file.stem not in {"utils", "util", "helpers", "helper", "base", "common", "misc"}
    assert ast.get_docstring(tree(file)), "says what it is, and its section"
    assert len(file.read_text().splitlines()) <= MOST_LINES

"""The arrows between the rooms: who may import whom, read from the source.

A room is a package or module directly below ``anoean_stream``, or ``trainer``. An import inside a
function counts like any other; only ``if TYPE_CHECKING:`` would not run, and we do not use it.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Rooms that any other may use, and that use only each other.
COMMON = {"errors", "settings", "secretfile", "observe", "__init__"}

CONFIG = {"configfile", "configsources", "configyaml", "configdocs"}
"""The loader of the settings; only the command line uses it."""

ARROWS: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "settings": set(),
    "secretfile": set(),
    "observe": set(),
    "configdocs": set(),
    "configyaml": set(),
    "configsources": {"configyaml"},
    "configfile": {"configdocs", "configsources"},
    "features": set(),
    "detector": {"features"},
    "records": {"features", "detector"},
    "overload": {"records"},
    "pipeline": {"records", "detector", "features"},
    "compare": {"pipeline", "records", "detector", "features"},
    "kafka": {"records"},
    "registry": {"detector", "features", "records"},
    "gate": {"pipeline", "registry", "records", "detector", "features"},
    "simulate": {"records", "features"},
    "reconcile": {"records"},
    "delivery": {"pipeline", "records", "detector", "features", "kafka"},
    "serving": {
        "compare",
        "pipeline",
        "records",
        "detector",
        "features",
        "kafka",
        "registry",
    },
    "agents": {
        "serving",
        "delivery",
        "pipeline",
        "overload",
        "records",
        "detector",
        "features",
        "kafka",
        "registry",
    },
    "app": {
        "agents",
        "serving",
        "delivery",
        "pipeline",
        "overload",
        "records",
        "detector",
        "features",
        "kafka",
        "registry",
    },
    "trainer": {"features", "detector", "records", "registry"},
}
"""room -> rooms it may use, besides `COMMON`. ``cli`` stands at the top and may use all."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / "anoean_stream").rglob("*.py")):
        yield path.relative_to(ROOT / "anoean_stream").parts[0].removesuffix(".py"), path
    for path in sorted((ROOT / "trainer").rglob("*.py")):
        yield "trainer", path


def rooms_used(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    used = set()
    for name in names:
        top, _, rest = name.partition(".")
        if top == "trainer":
            used.add("trainer")
        elif top == "anoean_stream" and rest:
            used.add(rest.split(".", maxsplit=1)[0])
    return used & ({*ARROWS, "cli"} | CONFIG)


def test_every_room_is_on_the_map() -> None:
    rooms = {room for room, _ in modules()}

    assert rooms - {"cli"} <= set(ARROWS), "draw the arrows of a new room in ARROWS"


@pytest.mark.parametrize(
    ("room", "path"), list(modules()), ids=[str(path.relative_to(ROOT)) for _, path in modules()]
)
def test_imports_follow_the_arrows(room: str, path: Path) -> None:
    if room == "cli":
        return
    allowed = ARROWS.get(room, set()) | COMMON | {room}

    used = rooms_used(path.read_text(encoding="utf-8"))

    assert used <= allowed, f"{room} must not import {', '.join(sorted(used - allowed))}"


def test_a_forbidden_import_would_be_seen() -> None:
    source = "def f():\n    from anoean_stream import agents\n    import trainer.run\n"

    assert rooms_used(source) == {"agents", "trainer"}


def test_arrows_have_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(ARROWS):
        free = {room for room in ARROWS if room not in done and ARROWS[room] - {"cli"} <= done}
        assert free, f"a cycle among {sorted(set(ARROWS) - done)}"
        done |= free


@pytest.mark.parametrize("module", ["anoean_stream.app", "anoean_stream.cli.serve"])
def test_worker_imports_no_training_library(module: str) -> None:
    program = (
        f"import sys, {module};"
        "print(sorted({'torch', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'matplotlib', 'trainer'}"
        " & set(sys.modules)))"
    )

    finished = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "[]"

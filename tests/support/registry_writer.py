"""Processes that write to a registry: one that promotes as fast as it can, one that dies in between.

``python -m tests.support.registry_writer promote URL NAME N`` moves the champion and counts up a
file N times each, trying again after each conflict.

``... die URL NAME BUNDLE ACTION`` does the action again and again, killed by SIGKILL before its
first write, before its second, and so on until it comes to its end; after each death another
process looks whether everything is sound, and writes.
"""

import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import urllib3

from anoean_stream.errors import ConflictError
from anoean_stream.registry import Registry
from anoean_stream.registry.store import open_store

FILE_WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
"""Audit events of Python that change a folder; `open` only when it is for writing."""

N_VERSIONS = 4


def promote(url: str, name: str, n_moves: int) -> None:
    """Move and count, and print the moves and the number of conflicts."""
    registry, store = Registry(url), open_store(url)
    moves: list[tuple[str | None, str]] = []
    n_conflicts = n_counted = 0
    targets = itertools.cycle(str(1 + (os.getpid() + step) % N_VERSIONS) for step in range(97))
    while len(moves) < n_moves:
        to = next(targets)
        try:
            moves.append((registry.set_alias(name, "champion", to), to))
        except ConflictError:
            n_conflicts += 1
    path = f"{name}/counter.json"
    while n_counted < n_moves:
        try:
            found: bytes | None = store.read(path, max_bytes=100)
        except FileNotFoundError:
            found = None
        if store.exchange(path, str(int(found or 0) + 1).encode(), expected=found):
            n_counted += 1
        else:
            n_conflicts += 1
    print(json.dumps({"moves": moves, "conflicts": n_conflicts}))


def arm(url: str, n_writes: int) -> None:
    """Kill this process before its n-th write to the registry."""
    left = itertools.count(n_writes - 1, -1)

    def before_write() -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if url.startswith("s3://"):
        for call in ("put", "delete"):
            setattr(obstore, call, _after(before_write, getattr(obstore, call)))
    elif url.startswith("mlflow+"):
        urllib3.PoolManager.request = _unless_get(before_write)  # type: ignore[method-assign]  # a library's, counted
    else:
        sys.addaudithook(_hook(os.path.realpath(url), before_write))


def _unless_get(first: Callable[[], None]) -> Any:
    request = urllib3.PoolManager.request

    def counted(pool: urllib3.PoolManager, method: str, *words: Any, **named: Any) -> Any:
        if method != "GET":
            first()
        return request(pool, method, *words, **named)

    return counted


def _hook(root: str, first: Callable[[], None]) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event not in FILE_WRITES or (event == "open" and not words[2] & os.O_ACCMODE):
            return
        path = str(words[0])
        # What rmtree removes is named relative to an open folder.
        if path.startswith(root) or (event in {"os.remove", "os.rmdir"} and "/" not in path):
            first()

    return hook


def _after(first: Callable[[], None], call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*words: Any, **named: Any) -> Any:
        first()
        return call(*words, **named)

    return wrapped


def act(registry: Registry, name: str, bundle: Path, action: str) -> None:
    """Do what is to be interrupted."""
    if action == "publish":
        registry.publish(bundle, name)
    elif action == "promote":
        registry.set_alias(name, "champion", registry.version_numbers(name)[-2])
    elif action == "rollback":
        registry.roll_back(name, hold_down_s=60)
    else:
        registry.collect(name, keep=1)


def die_at(url: str, name: str, bundle: Path, action: str, n_writes: int) -> None:
    """Do it, and be killed before that write."""
    arm(url, n_writes)
    act(Registry(url), name, bundle, action)


def check(registry: Registry, name: str, bundle: Path) -> None:
    """Read everything, then write: the next one must not notice."""
    record = registry.alias_record(name, "champion")
    for version in {*registry.version_numbers(name), *registry.aliases(name).values()}:
        registry.load(name, version)
    number = registry.publish(bundle, name)
    registry.load(name, number)
    if registry.set_alias(name, "champion", number) != record.version:
        raise AssertionError(record)
    if registry.alias_record(name, "champion").history[0] != record.version:
        raise AssertionError(record)


def die(url: str, name: str, bundle: Path, action: str) -> None:
    """Print before how many writes the action died."""
    for n_writes in itertools.count(1):
        died = in_process(partial(die_at, url, name, bundle, action, n_writes))
        if in_process(lambda: check(Registry(url), name, bundle)):
            sys.exit(f"not sound after {action} died before write {n_writes}")
        if not died:
            print(n_writes - 1)
            return


def in_process(call: Callable[[], object]) -> bool:
    """Run it in a process of its own, and return whether that was killed; a failure ends all."""
    pid = os.fork()
    if pid == 0:
        try:
            call()
        except BaseException:  # noqa: BLE001 - this process ends here, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in {0, -signal.SIGKILL}:
        sys.exit("see above")
    return code != 0


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "promote":
        promote(words[0], words[1], int(words[2]))
    else:
        die(words[0], words[1], Path(words[2]), words[3])

"""Rolling back, holding a version down, and two that move an alias at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from anoean_stream.errors import ConflictError, ModelNotFoundError, RegistryError
from anoean_stream.registry import Registry
from anoean_stream.registry.store import open_store

BundleFolder = Callable[[int], Path]


@pytest.fixture
def served(registry: Registry, bundle_folder: BundleFolder) -> Registry:
    """A registry in which the versions 1, 2 and 3 were champion one after the other."""
    for version in ("1", "2", "3"):
        registry.publish(bundle_folder(int(version) % 2), "edge")
        registry.set_alias("edge", "champion", version, by="ann@desk")
    return registry


def history(registry: Registry) -> tuple[str, tuple[str, ...]]:
    record = registry.alias_record("edge", "champion")
    return record.version, record.history


def remove_version(registry: Registry, version: str) -> None:
    store = open_store(registry.url)
    store.remove(f"edge/versions/{version}/manifest.json")
    store.remove_folder(f"edge/versions/{version}")


def test_the_champion_remembers_what_it_was(served: Registry) -> None:
    assert history(served) == ("3", ("2", "1"))

    served.set_alias("edge", "champion", "1")

    assert history(served) == ("1", ("3", "2"))


def test_a_second_roll_back_goes_further_and_never_to_what_was_left(served: Registry) -> None:
    assert served.roll_back("edge", by="worker-1", reason="alerts") == ("3", "2")
    record = served.alias_record("edge", "champion")
    assert (record.updated_by, record.reason) == ("worker-1", "alerts")
    assert served.aliases("edge") == {"champion": "2", "previous": "1"}

    assert served.roll_back("edge") == ("2", "1")
    assert served.aliases("edge") == {"champion": "1"}

    with pytest.raises(ModelNotFoundError, match=r"no version to roll back to.*one of 1, 2, 3"):
        served.roll_back("edge")


def test_after_a_roll_back_and_a_promotion_the_way_back_is_to_what_served(served: Registry) -> None:
    served.roll_back("edge")
    served.set_alias("edge", "champion", "3")

    assert served.roll_back("edge") == ("3", "2")


def test_a_version_that_is_gone_is_passed_over(served: Registry) -> None:
    remove_version(served, "2")

    assert served.roll_back("edge") == ("3", "1")
    assert history(served) == ("1", ())


def test_a_champion_without_a_history_falls_back_to_previous(served: Registry) -> None:
    # As versions before this one wrote it.
    open_store(served.url).replace("edge/aliases/champion.json", b'{"version":"3"}')

    assert served.roll_back("edge") == ("3", "2")


def test_without_a_champion_there_is_nothing_to_roll_back(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    registry.publish(bundle_folder(0), "edge")

    with pytest.raises(ModelNotFoundError, match="no alias 'champion'"):
        registry.roll_back("edge")


def test_what_was_left_is_held_down_until_a_person_promotes_it(served: Registry) -> None:
    served.roll_back("edge", hold_down_s=60)

    held = served.alias_record("edge", "champion").held
    assert set(held) == {"3"}
    until = datetime.fromisoformat(held["3"])
    assert timedelta(seconds=50) < until - datetime.now(UTC) <= timedelta(seconds=60)

    served.set_alias("edge", "champion", "1")
    assert set(served.alias_record("edge", "champion").held) == {"3"}
    served.set_alias("edge", "champion", "3")
    assert served.alias_record("edge", "champion").held == {}


def test_a_hold_down_that_is_over_is_forgotten(served: Registry) -> None:
    served.roll_back("edge", hold_down_s=1e-3)
    past = b'{"version":"2","history":["1"],"held":{"3":"2026-01-01T00:00:00.000Z"}}'
    open_store(served.url).replace("edge/aliases/champion.json", past)

    served.set_alias("edge", "champion", "1")

    assert served.alias_record("edge", "champion").held == {}


def test_without_a_hold_down_nothing_is_held(served: Registry) -> None:
    served.roll_back("edge")

    assert served.alias_record("edge", "champion").held == {}


def test_a_move_that_was_decided_on_something_else_is_refused(served: Registry) -> None:
    for move in (
        lambda: served.set_alias("edge", "champion", "1", if_version="2"),
        lambda: served.roll_back("edge", if_version="2"),
        lambda: served.set_alias("edge", "shadow", "1", if_version="2"),
    ):
        with pytest.raises(ConflictError, match=r"names version (3|None), not 2"):
            move()

    served.roll_back("edge", if_version="3")
    assert served.alias_version("edge", "champion") == "2"


def test_of_two_that_move_at_once_one_is_told(
    served: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(served.url)
    exchange = served._store.exchange

    def after_another(path: str, data: bytes, *, expected: bytes | None) -> bool:
        other.set_alias("edge", "champion", "2", by="bob@desk")
        return exchange(path, data, expected=expected)

    monkeypatch.setattr(served._store, "exchange", after_another)

    with pytest.raises(ConflictError, match=r"moved by bob@desk to version 2 meanwhile"):
        served.set_alias("edge", "champion", "1")

    assert other.aliases("edge") == {"champion": "2", "previous": "3"}


def test_a_version_that_is_removed_meanwhile_does_not_stay_champion(
    served: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = served._store.exchange

    def after_removal(path: str, data: bytes, *, expected: bytes | None) -> bool:
        remove_version(served, "1")
        return exchange(path, data, expected=expected)

    monkeypatch.setattr(served._store, "exchange", after_removal)

    with pytest.raises(ConflictError, match="version 1 of model 'edge' was removed"):
        served.set_alias("edge", "champion", "1")

    assert history(served) == ("3", ("2", "1"))


def test_a_long_history_and_a_long_reason_are_cut(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    for _ in range(25):
        version = registry.publish(bundle_folder(0), "edge")
        registry.set_alias("edge", "champion", version, reason="ä" * 2000)

    record = registry.alias_record("edge", "champion")
    assert record.history == tuple(str(number) for number in range(24, 4, -1))
    assert len(record.reason) == 500


def test_an_alias_is_removed_but_never_the_champion(served: Registry) -> None:
    served.set_alias("edge", "shadow", "1")

    assert served.remove_alias("edge", "shadow") == "1"
    assert served.remove_alias("edge", "shadow") is None
    with pytest.raises(RegistryError, match="champion cannot be removed"):
        served.remove_alias("edge", "champion")

    assert served.aliases("edge") == {"champion": "3", "previous": "2"}

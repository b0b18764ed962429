"""Thresholds that a person asked for: set, rolled back, broken, set by two at once."""

import pytest

from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import ConflictError, ModelNotFoundError, RegistryError
from anoean_stream.registry import Registry
from anoean_stream.registry.store import open_store


def rate(value: float) -> ThresholdChoice:
    return ThresholdChoice(kind="false_positive_rate", value=value, set_by="ann@desk")


def test_none_was_asked_for_at_first(registry: Registry) -> None:
    file = registry.threshold("edge")

    assert file.choice is None
    assert file.earlier == ()


def test_a_threshold_is_set_and_rolled_back_step_by_step(registry: Registry) -> None:
    assert registry.set_threshold("edge", rate(0.1)) is None
    assert registry.set_threshold("edge", rate(0.2)) == rate(0.1)

    assert registry.roll_back_threshold("edge") == (rate(0.2), rate(0.1))
    assert registry.roll_back_threshold("edge") == (rate(0.1), None)
    assert registry.threshold("edge").choice is None
    with pytest.raises(ModelNotFoundError, match=r"no earlier threshold.*threshold set"):
        registry.roll_back_threshold("edge")


def test_none_takes_it_back_and_is_a_step_too(registry: Registry) -> None:
    registry.set_threshold("edge", rate(0.1))

    assert registry.set_threshold("edge", None) == rate(0.1)

    assert registry.threshold("edge").choice is None
    assert registry.roll_back_threshold("edge") == (None, rate(0.1))


def test_so_many_are_remembered(registry: Registry) -> None:
    for step in range(1, 31):
        registry.set_threshold("edge", rate(step / 100))

    earlier = registry.threshold("edge").earlier
    assert earlier == tuple(rate(step / 100) for step in range(29, 9, -1))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"choice": 3}', b'{"choice": null, "x": 1}', b"[" * 5000],
    ids=["empty", "list", "number", "unknown", "nested"],
)
def test_a_broken_file_is_named_with_the_way_out(registry: Registry, content: bytes) -> None:
    open_store(registry.url).replace("edge/threshold.json", content)

    for act in (
        lambda: registry.threshold("edge"),
        lambda: registry.set_threshold("edge", rate(0.1)),
        lambda: registry.roll_back_threshold("edge"),
    ):
        with pytest.raises(RegistryError, match=r"edge/threshold\.json is no threshold file"):
            act()


def test_of_two_that_set_one_at_once_one_is_told(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Registry(registry.url)
    exchange = registry._store.exchange

    def after_another(path: str, data: bytes, *, expected: bytes | None) -> bool:
        other.set_threshold("edge", rate(0.3))
        return exchange(path, data, expected=expected)

    monkeypatch.setattr(registry._store, "exchange", after_another)

    with pytest.raises(ConflictError, match="set by somebody else meanwhile"):
        registry.set_threshold("edge", rate(0.1))

    assert registry.threshold("edge").choice == rate(0.3)

"""The stop's clock, and an app without a wire."""

import asyncio

import pytest

from anoean_stream.kafka.wire import StopClock, Wire, WireListener, wire_of
from anoean_stream.settings import Settings


def test_each_step_of_a_stop_has_the_time_up_to_its_share() -> None:
    now = 100.0
    clock = StopClock(10.0, clock=lambda: now)

    assert clock.left_s(0.6) == 6.0  # not started: the full share
    clock.start()
    now = 105.0
    clock.start()  # changes nothing

    assert clock.left_s(0.6) == pytest.approx(1.0)
    assert clock.left_s(0.95) == pytest.approx(4.5)
    now = 120.0
    assert clock.left_s(0.95) == 0.0


def test_an_app_without_a_wire_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"needs app\.wire"):
        wire_of(object())


def test_a_wire_has_the_stop_clock_of_its_settings() -> None:
    wire = Wire(Settings.model_validate({"worker": {"shutdown_deadline_s": 7}}), asyncio.Event())

    assert wire.stop_clock.left_s(1.0) == 7.0
    assert isinstance(wire.listener, WireListener)

"""What a candidate must show on this worker's traffic before it serves."""

from pathlib import Path

import msgspec
import pytest

from anoean_stream.detector.bundle import Bundle, read_bundle_folder
from anoean_stream.detector.detector import Detector
from anoean_stream.errors import IncompatibleBundleError, IntegrityError
from anoean_stream.features.contract import FeatureContract
from anoean_stream.records.chunk import Chunk
from anoean_stream.serving.candidate import RecentRecords, check_candidate
from tests.support.models import make_bundle, make_detector, make_golden, make_rows


def bundle_of(folder: Path, detector: Detector | None = None, *, seed: int = 0) -> Bundle:
    make_bundle(folder, detector=detector, seed=seed)
    return read_bundle_folder(folder)


def traffic(n: int = 200, **fields: object) -> list[bytes]:
    return [msgspec.json.encode(row | fields) for row in make_rows(n, seed=5)]


def check(
    bundle: Bundle,
    champion: Bundle | None,
    recent: list[bytes],
    *,
    budget_us: float = 10_000,
) -> None:
    check_candidate(
        bundle,
        champion=None if champion is None else champion.detector.contract,
        recent=recent,
        contract_dead_share=0.05,
        latency_budget_us=budget_us,
        max_record_bytes=10_000,
    )


def renamed(detector: Detector, **names: str) -> Detector:
    """The same model, for an exporter that calls some fields otherwise."""

    def rename(contract: FeatureContract) -> FeatureContract:
        return msgspec.structs.replace(
            contract,
            numbers=tuple(
                msgspec.structs.replace(one, name=names.get(one.name, one.name))
                for one in contract.numbers
            ),
            categories=tuple(
                msgspec.structs.replace(one, name=names.get(one.name, one.name))
                for one in contract.categories
            ),
        )

    return Detector(rename(detector.contract), detector.encoder, detector.calibration)


def test_a_sound_model_of_the_same_traffic_may_serve(tmp_path: Path) -> None:
    champion = bundle_of(tmp_path / "a")

    check(bundle_of(tmp_path / "b", seed=1), champion, traffic())


@pytest.mark.parametrize(
    "names", [{"duration": "flow_ms"}, {"proto": "ip_protocol"}], ids=["number", "category"]
)
def test_a_field_that_no_recent_record_has_is_named(tmp_path: Path, names: dict[str, str]) -> None:
    champion = bundle_of(tmp_path / "a")
    strange = bundle_of(tmp_path / "b", renamed(make_detector(), **names))

    with pytest.raises(IncompatibleBundleError, match=next(iter(names.values()))):
        check(strange, champion, traffic())


def test_a_field_that_training_saw_missing_may_be_missing(tmp_path: Path) -> None:
    champion = bundle_of(tmp_path / "a")
    strange = bundle_of(tmp_path / "b", renamed(make_detector(), bytes_in="in_bytes"))

    check(strange, champion, traffic())  # bytes_in has gaps in make_rows


def test_a_field_that_the_champion_misses_as_well_is_the_traffics_fault(tmp_path: Path) -> None:
    champion = bundle_of(tmp_path / "a")
    recent = [
        msgspec.json.encode({key: row[key] for key in row if key != "duration"})
        for row in make_rows(100)
    ]

    check(bundle_of(tmp_path / "b", seed=1), champion, recent)


def test_records_that_only_the_champion_can_read_are_counted(tmp_path: Path) -> None:
    champion = bundle_of(tmp_path / "a")
    # The exporter has a word where the candidate wants a number.
    strange = bundle_of(tmp_path / "b", renamed(make_detector(), duration="note"))
    recent = [*traffic(180), *traffic(20, note="abc")]

    with pytest.raises(IncompatibleBundleError, match="20 of 200 recent records"):
        check(strange, champion, recent)


def test_few_records_and_a_first_model_prove_nothing(tmp_path: Path) -> None:
    champion = bundle_of(tmp_path / "a")
    strange = bundle_of(tmp_path / "b", renamed(make_detector(), duration="flow_ms"))

    check(strange, champion, traffic(49))
    check(strange, None, traffic(200))


def test_a_slow_model_names_budget_and_setting(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "a")

    with pytest.raises(IncompatibleBundleError, match=r"the budget is 0\.001 us \(swap\.latency"):
        check(bundle, None, [], budget_us=0.001)


def test_a_golden_score_that_differs_comes_first(tmp_path: Path) -> None:
    detector = make_detector()
    golden = make_golden(detector)
    wrong = msgspec.structs.replace(golden, scores=tuple(one + 1 for one in golden.scores))
    make_bundle(tmp_path / "a", detector=detector, golden=wrong)

    with pytest.raises(IntegrityError, match="the trainer computed"):
        check(read_bundle_folder(tmp_path / "a"), None, [])


def test_recent_records_are_some_of_each_chunk_and_bounded() -> None:
    recent = RecentRecords()
    for number in range(100):
        values = [b"%d" % number] * 1000
        values[0] = b"x" * 100_000
        recent.offer(Chunk("t", 0, values, [None] * 1000, range(1000), [-1] * 1000))

    kept = recent.values()

    assert len(kept) == 512
    assert len(set(kept)) >= 4
    assert max(map(len, kept)) < 10


def test_one_chunk_is_enough_to_conclude_from_and_all_of_it_counts() -> None:
    recent = RecentRecords()
    values = [b"%d" % number for number in range(500)]

    recent.offer(Chunk("t", 0, values, [None] * 500, range(500), [-1] * 500))

    kept = sorted(map(int, recent.values()))
    assert len(kept) == 128
    assert kept[0] < 50
    assert kept[-1] > 350

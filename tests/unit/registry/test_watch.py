"""A model is handed over when it is sound; whatever else happens, the old one goes on serving."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from anoean_stream.detector.bundle import FILES, Bundle, Golden, ServedModel
from anoean_stream.errors import (
    BundleError,
    IncompatibleBundleError,
    IntegrityError,
    ModelNotFoundError,
    RegistryError,
)
from anoean_stream.pipeline import verify_bundle
from anoean_stream.registry import ModelWatch, Registry
from anoean_stream.registry.polling import Polling
from anoean_stream.registry.store import open_store
from tests.support.models import make_bundle, make_detector, make_golden

BundleFolder = Callable[[int], Path]
DEADLINE_S = 20.0
NEVER_S = 86400.0


def in_time(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await coroutine

    asyncio.run(bounded())


class Worker:
    """What a worker does with a watch: remembers the model, the refusals and the threads."""

    def __init__(
        self,
        registry: Registry,
        *,
        poll_interval_s: float = NEVER_S,
        verify: Callable[[Bundle], None] = verify_bundle,
        executor: Executor | None = None,
    ) -> None:
        self.models: list[ServedModel] = []
        self.refusals: list[tuple[str | None, BundleError | RegistryError]] = []
        self.loads = 0
        self.load_threads: set[str] = set()
        self.model_threads: set[int] = set()
        self.changed = asyncio.Event()
        self._verify = verify
        self.watch = ModelWatch[ServedModel](
            registry,
            name="edge",
            alias="champion",
            prepare=self._prepare,
            on_model=self._on_model,
            on_refused=self._on_refused,
            executor=executor,
        )
        self.polling = Polling((self.watch.poll_now,), interval_s=poll_interval_s, jitter=0.1)

    @property
    def versions(self) -> list[str]:
        return [model.version for model in self.models]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def _prepare(self, model: ServedModel) -> ServedModel:
        self.loads += 1
        self.load_threads.add(threading.current_thread().name)
        self._verify(model.bundle)
        return model

    def _on_model(self, model: ServedModel) -> None:
        self.models.append(model)
        self.model_threads.add(threading.get_ident())
        self.changed.set()

    def _on_refused(
        self, name: str, version: str | None, error: BundleError | RegistryError
    ) -> None:
        assert name == "edge"
        self.refusals.append((version, error))
        self.changed.set()


def publish(registry: Registry, folder: Path, *, alias: str | None = "champion") -> str:
    version = registry.publish(folder, "edge")
    if alias:
        registry.set_alias("edge", alias, version)
    return version


def test_the_model_that_the_alias_names_is_handed_over(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))
    publish(registry, bundle_folder(1), alias=None)

    async def scenario() -> None:
        worker = Worker(registry)

        assert await worker.watch.poll_now()

        assert worker.versions == ["1"]
        assert worker.watch.served is worker.models[0]
        assert worker.models[0].name == "edge"

    in_time(scenario())


def test_loading_happens_in_the_given_thread_and_the_callback_on_the_loop(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))

    async def scenario(executor: Executor) -> None:
        worker = Worker(registry, executor=executor)

        await worker.watch.poll_now()

        assert worker.load_threads == {"loader_0"}
        assert worker.model_threads == {threading.get_ident()}

    with ThreadPoolExecutor(1, thread_name_prefix="loader") as executor:
        in_time(scenario(executor))


def test_the_loop_turns_while_a_model_loads(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))
    go_on = threading.Event()

    async def scenario() -> None:
        worker = Worker(registry, verify=lambda _: check(go_on.wait(DEADLINE_S)))
        polling = asyncio.ensure_future(worker.watch.poll_now())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not polling.done()

        go_on.set()

        assert await polling

    in_time(scenario())


def check(outcome: bool) -> None:  # noqa: FBT001  an assertion that a lambda can make
    assert outcome


def test_a_promoted_version_is_taken_without_a_restart(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry, poll_interval_s=0.1)
        running = asyncio.create_task(worker.polling.run())
        await worker.until(lambda: worker.versions == ["1"])

        publish(registry, bundle_folder(1))
        await worker.until(lambda: worker.versions == ["1", "2"])
        registry.set_alias("edge", "champion", "1")
        await worker.until(lambda: worker.versions == ["1", "2", "1"])

        worker.polling.stop()
        await running
        assert worker.refusals == []

    in_time(scenario())


def test_what_did_not_change_is_not_loaded_again(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry)

        polls = [await worker.watch.poll_now() for _ in range(5)]

        assert polls == [True, False, False, False, False]
        assert worker.loads == 1

    in_time(scenario())


def test_an_alias_written_again_does_not_swap(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()

        registry.set_alias("edge", "champion", "1", by="someone@else")

        assert not await worker.watch.poll_now()
        assert worker.versions == ["1"]

    in_time(scenario())


def test_a_registry_that_was_wiped_and_filled_again_is_noticed(
    tmp_path: Path, bundle_folder: BundleFolder
) -> None:
    registry = Registry(str(tmp_path / "models"))
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()

        (tmp_path / "models").rename(tmp_path / "old")
        publish(registry, bundle_folder(1))
        await worker.watch.poll_now()

        assert worker.versions == ["1", "1"]
        assert len({model.bundle.sha256 for model in worker.models}) == 2

    in_time(scenario())


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_version_is_refused_once_and_taken_when_it_is_mended(
    tmp_path: Path, bundle_folder: BundleFolder, file: str, damage: str
) -> None:
    registry = Registry(str(tmp_path))
    publish(registry, bundle_folder(0))
    publish(registry, bundle_folder(1), alias=None)
    path = tmp_path / "edge/versions/2" / file
    sound = path.read_bytes()

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()
        registry.set_alias("edge", "champion", "2")
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(sound[:-7] if damage == "truncated" else b"X" + sound[1:])

        for _ in range(3):
            assert not await worker.watch.poll_now()

        [(version, error)] = worker.refusals
        assert version == "2"
        assert file in str(error)
        assert "versions/2" in str(error)
        assert worker.versions == ["1"]

        path.write_bytes(sound)
        assert await worker.watch.poll_now()
        assert worker.versions == ["1", "2"]

    in_time(scenario())


def test_an_object_store_in_the_middle_of_a_copy_keeps_the_old_model(
    bundle_folder: BundleFolder,
) -> None:
    registry = Registry("memory://watch-half-written")
    store = open_store(registry.url)
    publish(registry, bundle_folder(0))
    new = bundle_folder(1)

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()
        # Somebody copies file by file, the manifest first, and has moved the alias already.
        store.replace("edge/versions/2/manifest.json", (new / "manifest.json").read_bytes())
        registry.set_alias("edge", "champion", "2")
        for file in FILES[1:]:
            assert not await worker.watch.poll_now()
            store.replace(f"edge/versions/2/{file}", (new / file).read_bytes())

        assert await worker.watch.poll_now()

        assert worker.versions == ["1", "2"]
        assert [(v, getattr(e, "file", None)) for v, e in worker.refusals] == [
            ("2", file) for file in FILES[1:]
        ]

    in_time(scenario())


def test_a_golden_score_that_differs_is_refused(
    registry: Registry, bundle_folder: BundleFolder, tmp_path: Path
) -> None:
    publish(registry, bundle_folder(0))
    detector = make_detector(seed=3)
    golden = make_golden(detector)
    wrong = Golden(golden.records, (*golden.scores[:-1], golden.scores[-1] + 1))
    make_bundle(tmp_path / "wrong", detector=detector, golden=wrong)

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()

        publish(registry, tmp_path / "wrong")
        await worker.watch.poll_now()

        [(version, error)] = worker.refusals
        assert version == "2"
        assert isinstance(error, IntegrityError)
        assert error.file == "golden.json"
        assert worker.versions == ["1"]

    in_time(scenario())


def test_an_incompatible_version_is_refused_once_and_not_loaded_again(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))
    publish(registry, bundle_folder(1), alias=None)

    def only_the_first(bundle: Bundle) -> None:
        if bundle.manifest.training["seed"] != 0:
            raise IncompatibleBundleError("wants a field 'dst_port'", file="contract.json")

    async def scenario() -> None:
        worker = Worker(registry, verify=only_the_first)
        await worker.watch.poll_now()
        registry.set_alias("edge", "champion", "2")

        for _ in range(3):
            await worker.watch.poll_now()

        assert [version for version, _ in worker.refusals] == ["2"]
        assert worker.loads == 2
        assert worker.versions == ["1"]

    in_time(scenario())


def test_going_back_from_a_refused_version_is_no_swap(
    tmp_path: Path, bundle_folder: BundleFolder
) -> None:
    registry = Registry(str(tmp_path))
    publish(registry, bundle_folder(0))
    publish(registry, bundle_folder(1), alias=None)
    (tmp_path / "edge/versions/2/golden.json").write_bytes(b"")

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()
        for version in ("2", "1", "2"):
            registry.set_alias("edge", "champion", version)
            assert not await worker.watch.poll_now()

        assert worker.versions == ["1"]
        # Asked for twice, refused twice.
        assert [version for version, _ in worker.refusals] == ["2", "2"]

    in_time(scenario())


def test_without_a_model_it_waits_says_so_once_and_takes_the_first(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    async def scenario() -> None:
        worker = Worker(registry, poll_interval_s=0.1)
        running = asyncio.create_task(worker.polling.run())
        await worker.until(lambda: bool(worker.refusals))
        for _ in range(3):
            await worker.watch.poll_now()

        publish(registry, bundle_folder(0))
        await worker.until(lambda: worker.versions == ["1"])

        worker.polling.stop()
        await running
        version, error = worker.refusals[0]
        assert version is None
        assert isinstance(error, ModelNotFoundError)
        sentences = [str(error) for _, error in worker.refusals]
        assert len(set(sentences)) == len(sentences)

    in_time(scenario())


def test_a_model_that_nobody_promoted_is_another_thing_to_say(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()

        publish(registry, bundle_folder(0), alias=None)
        for _ in range(2):
            await worker.watch.poll_now()

        first, second = (str(error) for _, error in worker.refusals)
        assert "there is no registry" in first
        assert "no alias 'champion'" in second

    in_time(scenario())


def test_a_registry_that_goes_away_and_comes_back_is_reported_each_time(
    tmp_path: Path, bundle_folder: BundleFolder
) -> None:
    registry = Registry(str(tmp_path / "models"))
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry)
        await worker.watch.poll_now()

        for _ in range(2):
            (tmp_path / "models").rename(tmp_path / "away")
            for _ in range(3):
                assert not await worker.watch.poll_now()
            (tmp_path / "away").rename(tmp_path / "models")
            assert not await worker.watch.poll_now()

        assert [version for version, _ in worker.refusals] == [None, None]
        assert worker.versions == ["1"]

    in_time(scenario())


def test_stopping_does_not_wait_for_the_interval(registry: Registry) -> None:
    async def scenario() -> None:
        worker = Worker(registry, poll_interval_s=NEVER_S)
        running = asyncio.create_task(worker.polling.run())
        await worker.until(lambda: bool(worker.refusals))
        assert not running.done()

        worker.polling.stop()
        worker.polling.stop()

        await running

    in_time(scenario())


def test_stopping_abandons_a_load(registry: Registry, bundle_folder: BundleFolder) -> None:
    publish(registry, bundle_folder(0))
    loading, go_on = threading.Event(), threading.Event()

    def slow(_: Bundle) -> None:
        loading.set()
        go_on.wait(DEADLINE_S)

    async def scenario() -> None:
        worker = Worker(registry, verify=slow)
        running = asyncio.create_task(worker.polling.run())
        await asyncio.to_thread(loading.wait, DEADLINE_S)

        worker.polling.stop()
        await running

        go_on.set()
        assert worker.models == []

    in_time(scenario())


def test_cancelling_ends_the_watch(registry: Registry, bundle_folder: BundleFolder) -> None:
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry)
        running = asyncio.create_task(worker.polling.run())
        await worker.until(lambda: worker.versions == ["1"])

        running.cancel()

        with pytest.raises(asyncio.CancelledError):
            await running

    in_time(scenario())


def test_an_unknown_error_ends_the_watch(registry: Registry, bundle_folder: BundleFolder) -> None:
    publish(registry, bundle_folder(0))

    def broken(_: Bundle) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        worker = Worker(registry, verify=broken)

        with pytest.raises(ZeroDivisionError):
            await worker.polling.run()

        assert worker.refusals == []

    in_time(scenario())


def test_polls_at_the_same_time_hand_over_once(
    registry: Registry, bundle_folder: BundleFolder
) -> None:
    publish(registry, bundle_folder(0))

    async def scenario() -> None:
        worker = Worker(registry)

        polls = await asyncio.gather(*(worker.watch.poll_now() for _ in range(4)))

        assert sorted(polls) == [False, False, False, True]
        assert worker.versions == ["1"]

    in_time(scenario())


def test_waits_are_spread_around_the_interval(registry: Registry) -> None:
    worker = Worker(registry, poll_interval_s=10.0)

    waits = [worker.polling._wait_s() for _ in range(500)]

    assert min(waits) >= 9.0
    assert max(waits) <= 11.0
    assert max(waits) - min(waits) > 1.0

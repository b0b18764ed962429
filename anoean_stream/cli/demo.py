"""``anoean demo``: everything once, on made-up traffic, in two minutes."""

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.live import Live
from rich.markup import escape

from anoean_stream.cli.alert_view import AlertTable
from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.demo_stage import (
    UNSEEN,
    Child,
    Worker,
    child,
    demo_settings,
    write_config,
    write_history,
)
from anoean_stream.cli.demo_summary import Summary, summarise
from anoean_stream.cli.options import DebugOption, JsonOption
from anoean_stream.cli.pace import Pace
from anoean_stream.cli.parcels import from_simulator
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.reader import Reader
from anoean_stream.cli.sender import Sender
from anoean_stream.registry.registry import Registry
from anoean_stream.settings import Settings
from anoean_stream.simulate import Simulator

_ATTACK_SHARE: Final = 0.03
_MALFORMED_SHARE: Final = 0.002

_ALERT_ROWS: Final = 12
_LOOK_EVERY: Final = 200
"""Records between two looks at the alerts while there is no time to wait."""
_SAY_EVERY_S: Final = 5.0
"""Seconds between two lines where there is no terminal."""

_AFTER_SWAP: Final = 0.4
"""Share of the live time that the second model gets at the least."""
_LIVE_LIMIT_S: Final = 90.0
"""Seconds of traffic before a second model that is still not there is given up."""

_EXIT_LOST: Final = 1


def demo(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Seed of traffic and training.")] = 0,
    seconds: Annotated[
        float, typer.Option(min=5, max=3600, metavar="S", help="Seconds of live traffic.")
    ] = 30.0,
    rate: Annotated[
        float, typer.Option(min=10, max=100_000, metavar="N", help="Live records a second.")
    ] = 1000.0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show the whole path on made-up traffic: train, serve, alert, swap the model, count.

    Starts an embedded broker, trains on a simulated history, starts a real worker and sends it
    live traffic with attacks (one kind was never in the history) and some malformed records. In the
    middle a second model takes over. Nothing is left behind. The exit code is 1 when a record was
    lost or the second model never decided.

    [bold]Examples[/]

    [cyan]anoean demo[/]

    [cyan]anoean demo --json --seconds 20[/]
    """
    quiet_librdkafka(debug=debug)
    # A killed demo must end its children too: SIGTERM takes the same way out as Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    summary = _run(seed=seed, live_s=seconds, rate_per_s=rate)
    if as_json:
        print_json(summary.as_dict())
    else:
        out.print(summary.render())
    if summary.lost:
        err.print(f"[bold red]error:[/] {summary.lost} records are not accounted for")
    if not summary.is_swapped:
        err.print("[bold red]error:[/] no second model raised an alert: there was no swap")
    if summary.lost or not summary.is_swapped:
        raise typer.Exit(_EXIT_LOST)


def _run(*, seed: int, live_s: float, rate_per_s: float) -> Summary:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="anoean-demo-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        config, history = folder / "config.yaml", folder / "history.jsonl"
        config.write_text("{}\n")
        _say(1, "an embedded broker")
        broker = stack.enter_context(
            child("broker", "--port", "0", "--json", config=config, log=folder / "broker.log")
        )
        settings = demo_settings(str(broker.first_answer()["bootstrap_servers"]), folder)
        write_config(config, settings)
        _say(2, f"a history of labelled flows, with every kind of attack but {UNSEEN}")
        write_history(history, seed=seed)
        _say(3, "training on it")
        with child(*_train(history, seed=seed), config=config) as training:
            _tell_model(training.first_answer())
        _say(4, "a worker")
        serving = stack.enter_context(child("serve", config=config, log=folder / "serve.log"))
        worker = Worker(serving)
        worker.wait_until_ready()
        _say(5, "live traffic; meanwhile a second model is trained, and takes over when it is done")
        second = stack.enter_context(
            child(*_train(history, seed=seed + 1), config=config, log=folder / "train.log")
        )
        n_sent = _live(settings, worker, second, seed=seed, live_s=live_s, rate_per_s=rate_per_s)
        _say(6, "counting: everything is read back from the topics")
        metrics = worker.wait_for_records(n_sent)
        serving.stop()
        return summarise(settings, metrics, unseen_kind=UNSEEN, seconds=time.monotonic() - began_s)


def _live(
    settings: Settings,
    worker: Worker,
    second: Child,
    *,
    seed: int,
    live_s: float,
    rate_per_s: float,
) -> int:
    """Send traffic, show alerts, promote the second model when it is there; return records sent."""
    simulator = Simulator(seed=seed + 1000, attack_share=_ATTACK_SHARE, flows_per_s=rate_per_s)
    parcels = from_simulator(simulator, malformed_share=_MALFORMED_SHARE, seed=seed)
    sender, pace = Sender(settings), Pace(rate_per_s)
    swap = _Swap(settings, second, worker)
    began_s = time.monotonic()
    ends_s = began_s + live_s
    with (
        Reader(settings, settings.topics.alerts, group="demo.watch") as reader,
        _board() as (table, show),
    ):
        reader.start_at({partition: high for partition, (_, high) in reader.bounds().items()})
        for number, parcel in enumerate(parcels):
            wait_s = pace.wait_s()
            if wait_s or number % _LOOK_EVERY == 0:
                now_s = time.monotonic()
                for message in reader.poll(wait_s):
                    table.add(msgspec.json.decode(message.value() or b""))
                worker.process.require_running()
                if swap.look(at_least_until_s=began_s + live_s * (1 - _AFTER_SWAP), now_s=now_s):
                    ends_s = max(ends_s, now_s + live_s * _AFTER_SWAP)
                gives_up = now_s > began_s + _LIVE_LIMIT_S
                if (now_s > ends_s and swap.is_done) or gives_up:
                    break
                show(f"{sender.n_sent:,} records sent, {table.n_alerts:,} alerts, {swap.state}")
                sender.poll()
                left_s = wait_s - (time.monotonic() - now_s)
                if left_s > 0:
                    time.sleep(left_s)
            sender.send(settings.topics.input, parcel.value, key=parcel.key, headers=parcel.headers)
        sender.finish()
    return sender.n_sent


class _Swap:
    """Waits for the second model, then makes it champion."""

    def __init__(self, settings: Settings, training: Child, worker: Worker) -> None:
        self._settings = settings
        self._training = training
        self._worker = worker
        self._version: str | None = None
        self.is_done = False
        self.state = "model 1 decides, model 2 is in training"

    def look(self, *, at_least_until_s: float, now_s: float) -> bool:
        """Take the next step; return True once, when the worker has taken the model."""
        if self.is_done:
            return False
        if self._version is None:
            # Not before the first model has had its part of the time.
            if self._training.process.poll() is None or now_s < at_least_until_s:
                return False
            self._version = str(self._training.first_answer()["version"])
            name = self._settings.model.name
            Registry(self._settings.registry.url).set_alias(name, "champion", self._version)
            self.state = f"model {self._version} is promoted"
        if not any(line.get("model", "").endswith(f"@{self._version}") for line in self._taken()):
            return False
        self.is_done = True
        self.state = f"model {self._version} decides"
        return True

    def _taken(self) -> list[dict[str, Any]]:
        lines = self._worker.process.lines()
        return [line for line in lines if line.get("event") == "model_in_use"]


@contextmanager
def _board() -> Iterator[tuple[AlertTable, Callable[[str], None]]]:
    """A live table on a terminal, a line every few seconds elsewhere; both on stderr."""
    table = AlertTable(_ALERT_ROWS)
    if not err.is_terminal:
        said_s = 0.0

        def say(caption: str) -> None:
            nonlocal said_s
            if time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                err.print(f"      {caption}")

        yield table, say
        return
    with Live(console=err, refresh_per_second=6) as live:
        yield table, lambda caption: live.update(table.render(caption=caption))


def _train(history: Path, *, seed: int) -> tuple[str, ...]:
    return (
        "train", "--data", str(history), "--label-column", "label", "--normal-value", "0",
        "--attack-column", "attack", "--json", "--set", f"training.seed={seed}",
        "--checkpoint", str(history.with_name(f"train-{seed}.checkpoint")),
    )  # fmt: skip


def _tell_model(trained: dict[str, Any]) -> None:
    err.print(
        f"      model {trained['version']}: AUPR {trained['metrics']['aupr']:.4f} on held-out flows, "
        f"{trained['seconds']:.0f} s"
    )


def _say(step: int, what: str) -> None:
    err.print(f"[bold cyan]{step}/6[/] {escape(what)}", soft_wrap=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

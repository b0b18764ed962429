"""``anoean broker``: the embedded Kafka in a process of its own, on a port that stays the same."""

import asyncio
import signal
from typing import Annotated, Final

import typer

from anoean_stream.cli.console import err, print_json
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.errors import BrokerError
from anoean_stream.kafka.embedded import PARTITIONS, EmbeddedBroker
from anoean_stream.kafka.topics import topic_uses

_HOST: Final = "127.0.0.1"
_BLOCK_BYTES: Final = 65536


def broker(
    *,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Port to listen on; 0 takes a free one."
        ),
    ] = 9092,
    more_topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic", metavar="NAME", help="One more topic; may be repeated.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Run an embedded Kafka for trying things out, until Ctrl-C.

    It keeps everything in memory, listens on 127.0.0.1 only, and has all topics that the settings name
    with four partitions each; it cannot make more later (`--topic` names them now). The address is
    printed on stdout as soon as it answers; with the default port the other commands find it without any
    setting. Not for production.

    [bold]Examples[/]

    [cyan]anoean broker[/]

    [cyan]anoean broker --port 0 --json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    with EmbeddedBroker() as embedded:
        topics = (*topic_uses(settings), *(more_topics or ()))
        embedded.create_topics(topics)
        asyncio.run(_run(embedded, port=port, topics=topics, as_json=as_json))
    err.print("the embedded broker has stopped; what was in it is gone")


async def _run(
    embedded: EmbeddedBroker, *, port: int, topics: tuple[str, ...], as_json: bool
) -> None:
    stop_asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_asked.set)
    server = None
    address = embedded.bootstrap
    if port:
        server = await forward(port, to=embedded.bootstrap)
        address = f"{_HOST}:{port}"
    if as_json:
        document = {"bootstrap_servers": address, "topics": topics, "partitions": PARTITIONS}
        print_json(document)
    else:
        print(address, flush=True)  # noqa: T201  # the result, for $(...) in a shell
        err.print(
            f"embedded broker at [bold]{address}[/] with topics {', '.join(topics)} "
            f"({PARTITIONS} partitions each); Ctrl-C stops it"
        )
    await stop_asked.wait()
    if server is not None:
        server.close()


async def forward(port: int, *, to: str) -> asyncio.Server:
    """Listen on a fixed port and pass every connection on to the mock cluster.

    The mock cluster chooses its own port and cannot be told another. A client needs the fixed one
    only for its first question: the answer names the real port, and it connects there.

    Raises
    ------
    BrokerError
        When the port is taken.
    """
    host, _, real_port = to.rpartition(":")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(real_port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    try:
        return await asyncio.start_server(pass_on, _HOST, port)
    except OSError as error:
        message = (
            f"cannot listen on {_HOST}:{port} ({error.strerror}); is another broker running? "
            f"stop it, or choose a port with --port (0 takes a free one)"
        )
        raise BrokerError(message) from error


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(_BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass  # either side hung up: that is how connections end
    finally:
        writer.close()

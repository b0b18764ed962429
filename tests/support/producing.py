"""Our Faust producer, started alone, for the time of a `with` block."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anoean_stream.kafka.producer import Producer
from anoean_stream.kafka.wire import WireListener
from anoean_stream.settings import Settings
from tests.support.chunk_worker import make_app


@asynccontextmanager
async def running_producer(
    settings: Settings, *, listener: WireListener | None = None
) -> AsyncIterator[Producer]:
    """Start the producer of a Faust app in this event loop, and stop it."""
    app = make_app(settings, listener=listener or WireListener())
    app.loop = asyncio.get_running_loop()
    producer = app.producer
    assert isinstance(producer, Producer)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()

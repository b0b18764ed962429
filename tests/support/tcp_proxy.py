"""A TCP proxy that can fall silent, as a network does when a cable is pulled.

`cut` keeps every connection open and carries nothing, in either direction, and lets new ones hang:
no reset and no FIN, so that only time-outs can notice. (A broker that is killed resets connections;
that is the easier fault.)
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, Self

_BLOCK: Final = 65_536
_START_S: Final = 5.0


class TcpProxy:
    """Forwards a port to another on this machine, from a thread of its own.

    Parameters
    ----------
    target_port : int
        Where connections go, on 127.0.0.1.
    port : int
        Where to listen, on 127.0.0.1; 0 takes a free one.
    """

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        self._target_port = target_port
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._open: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{target_port}", daemon=True)

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        assert self._listening.wait(_START_S), "the proxy does not listen"
        return self

    def cut(self) -> None:
        """Carry nothing from now on; connections stay open."""
        assert self._open is not None
        self._loop.call_soon_threadsafe(self._open.clear)

    def heal(self) -> None:
        """Carry again, also what was held back."""
        assert self._open is not None
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """Close every connection and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_START_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._open is not None
        await self._open.wait()
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # the broker is down, and that is what the client shall see
            writer.transport.abort()
            return
        self._spawn(self._carry(reader, there[1], writer))
        self._spawn(self._carry(there[0], writer, there[1]))

    def _spawn(self, carrying: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(carrying)
        self._tasks.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        assert self._open is not None
        try:
            while block := await reader.read(_BLOCK):
                await self._open.wait()
                writer.write(block)
                await writer.drain()
        except OSError:
            back.transport.abort()  # a reset on one side is a reset on the other
        finally:
            writer.transport.abort()

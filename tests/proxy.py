"""A TCP proxy that fails as networks do, and a front that speaks TLS.

with Proxy(server.port.number) as link:
client = redis.Redis(port=link.port)
link.mode = "blackhole"
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from typing import Literal, Self

Mode = Literal["pass", "blackhole", "reset", "delay", "cut", "oneway", "zombie"]

MODES: tuple[Mode, ...] = ("pass", "blackhole", "reset", "delay", "cut", "oneway", "zombie")
"""What becomes of what is sent:

pass       it arrives
blackhole  nothing arrives either way, and what was sent arrives once the link is healed
reset      every connection is reset, a new one at once
delay      each piece arrives `seconds` late
cut        an answer breaks off in its middle, and the connection ends
oneway     what the client sends arrives; the answers only once the link is healed
zombie     the connections of now are dead for ever and nobody is told; new ones work
"""


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    dead: bool = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is None:
                continue
            # A connection of TLS that has ended knows no socket, and in Python 3.11.2 no way to be
            # aborted either; it does not say so.
            with contextlib.suppress(OSError, AttributeError):
                if (raw := writer.get_extra_info("socket")) is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


class Proxy:
    """Listens on 127.0.0.1 and passes on to another port of this machine, as `mode` says.

    ``met`` counts what the modes have done: a test that met no fault has shown nothing.
    """

    def __init__(
        self, target: int, *, seconds: float = 1.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.target = target
        self.seconds = seconds
        self.port = 0
        self.met = 0
        self._tls = tls
        self._mode: Mode = "pass"
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10), "the proxy listens"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        done = threading.Event()

        def change() -> None:
            self._mode = mode
            for connection in list(self._connections):
                if mode == "zombie":
                    connection.dead = True
                    self.met += 1
                elif mode == "reset":
                    connection.reset()
                    self.met += 1
            self._changed.set()
            self._changed = asyncio.Event()
            done.set()

        self._loop.call_soon_threadsafe(change)
        assert done.wait(10), "the proxy lives"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        )
        self.port = listening.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        listening.close()
        for connection in self._connections:
            connection.reset()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(client=writer)
        self._connections.add(connection)
        try:
            if self._mode == "reset":
                self.met += 1
                connection.reset()
                return
            while self._mode == "blackhole":
                self.met += 1
                await self._changed.wait()
            back, connection.server = await asyncio.open_connection("127.0.0.1", self.target)
            there = asyncio.create_task(self._pump(connection, reader, connection.server, "there"))
            here = asyncio.create_task(self._pump(connection, back, writer, "back"))
            await asyncio.gather(there, here)
        except (OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._connections.discard(connection)
            for end in (connection.client, connection.server):
                if end is not None:
                    end.close()

    async def _pump(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        way: str,
    ) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await source.read(65_536):
                await self._pass_on(connection, data, sink, way)
        if connection.dead:
            return  # The other side is never told.
        with contextlib.suppress(OSError, RuntimeError):
            sink.close()

    async def _pass_on(
        self, connection: _Connection, data: bytes, sink: asyncio.StreamWriter, way: str
    ) -> None:
        while self._mode == "blackhole" or (self._mode == "oneway" and way == "back"):
            self.met += 1
            await self._changed.wait()
        if connection.dead:
            return
        if self._mode == "delay":
            self.met += 1
            await asyncio.sleep(self.seconds)
        if self._mode == "cut" and way == "back":
            self.met += 1
            sink.write(data[: len(data) // 2])
            await sink.drain()
            for end in (connection.client, connection.server):
                if end is not None:
                    end.close()
            return
        sink.write(data)
        await sink.drain()

"""HTTP by asyncio, as little of it as thousands of connections at once need: one request, its reply, and every event of a stream.

SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import json
import resource
import socket
import struct
from urllib.parse import urlsplit

LIMIT = 64 << 20  # bytes of one line or chunk
CLIENT_FILES = 512  # descriptors of this process besides the connections


class Broken(Exception):
    """The reply is not HTTP, or it ended too early."""


def allow_connections(count):
    """Raises this process' limit of descriptors for so many connections; AssertionError when the system does not allow it."""
    wanted = count + CLIENT_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        assert hard == resource.RLIM_INFINITY or hard >= wanted, f"ulimit -n is {hard}, {count} connections need {wanted}"
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Reply:
    """`events`: the payloads of a stream as bytes, [DONE] left out; `done`: it was there, and last. `body`: of a reply that is no stream."""

    def __init__(self):
        self.status = 0
        self.headers = {}
        self.events = []
        self.done = False
        self.body = b""

    def json(self):
        return json.loads(self.body)

    def objects(self):
        return [json.loads(event) for event in self.events]


class Connection:
    """Made with `await Connection.open(url)`. One request at a time."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, url):
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=LIMIT))

    @staticmethod
    def request(method, path, body=None, headers=None):
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: kit", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content

    def send(self, method, path, body=None, headers=None):
        self.writer.write(self.request(method, path, body, headers))

    async def ask(self, method, path, body=None, headers=None, on_event=None):
        """Sends, then reads the whole reply. `on_event(reply)` is called after each event of a stream; what it returns, if anything,
        ends the reading there."""
        self.send(method, path, body, headers)
        return await self.read(on_event)

    async def read(self, on_event=None):
        reply = Reply()
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            reply.status = int(lines[0].split()[1])
            reply.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            stream = reply.headers.get("content-type", "").startswith("text/event-stream")
            if reply.headers.get("transfer-encoding") != "chunked":
                length = int(reply.headers.get("content-length", -1))
                reply.body = await (self.reader.readexactly(length) if length >= 0 else self.reader.read(-1))
                if stream:
                    self.take(reply, reply.body)
                return reply
            while True:
                size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
                chunk = (await self.reader.readexactly(size + 2))[:-2]
                if size == 0:
                    return reply
                if not stream:
                    reply.body += chunk
                    continue
                self.take(reply, chunk)
                if on_event is not None and on_event(reply):
                    return reply
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
            raise Broken(f"{error!r} after status {reply.status}, {len(reply.events)} events, {reply.events[-1:]}") from error

    @staticmethod
    def take(reply, chunk):
        """Whole events only: the server sends each in one chunk."""
        for part in chunk.split(b"\n\n"):
            if not part:
                continue
            if not part.startswith(b"data: ") or reply.done:
                raise Broken(f"no event, or one after [DONE]: {part[:200]!r}")
            if part == b"data: [DONE]":
                reply.done = True
            else:
                reply.events.append(part[6:])

    async def close(self):
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    def vanish(self):
        """Gone without a word: a reset, not an end."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def ask(url, method, path, body=None, headers=None):
    """One request on a connection of its own."""
    connection = await Connection.open(url)
    try:
        return await connection.ask(method, path, body, headers)
    finally:
        await connection.close()

"""HTTP/1.1 as the clients speak it: connections, with TLS or without, and the framing of responses."""

import asyncio
import errno
import fcntl
import re
import socket
import ssl
import struct
import termios

# A response head is never longer.
HEAD_MAX = 65_536
# No more bytes are received at a time.
RECEIVED_MAX = 262_144
# The state of a connection in the kernel that has been reset (`TCP_CLOSE`).
CLOSED = 7


class Broken(Exception):
    """A response that ends too early. `kind` says where: before the head, within it, or within the body."""

    def __init__(self, kind, how, is_reset=False):
        super().__init__(f"{how} {kind}")
        self.kind, self.is_reset = kind, is_reset


class Malformed(Exception):
    """Bytes that are no response."""


class Head:
    """The head of a response."""

    def __init__(self, data):
        status, *lines = data.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", status)
        if not match:
            raise Malformed(f"no status line: {status[:200]!r}")
        self.status = int(match[1])
        self.fields = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise Malformed(f"no field line: {line[:200]!r}")
            name, value = name.lower(), value.strip()
            self.fields[name] = f"{self.fields[name]}, {value}" if name in self.fields else value

    def get(self, name, default=None):
        """Returns the value of a field."""
        return self.fields.get(name, default)

    def length(self):
        """Returns the promised length of the body, or None if it is chunked."""
        if self.get("transfer-encoding") == "chunked" and "content-length" not in self.fields:
            return None
        value = self.get("content-length", "")
        if not value.isdigit() or "transfer-encoding" in self.fields:
            raise Malformed(f"no framing: {self.fields}")
        return int(value)

    def is_last(self):
        """Returns whether the connection ends with this response."""
        return self.get("connection", "").lower() == "close"

    def __repr__(self):
        return f"{self.status} {self.fields}"


class Connection:
    """A connection to the gateway. Close it in every case."""

    def __init__(self, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.received = b""
        # How many bytes were received so far.
        self.taken = 0
        # When it began to wait for bytes, or None.
        self.waiting_since = None
        self._loop = asyncio.get_running_loop()

    async def open(self, port):
        """Connects."""
        await self._loop.sock_connect(self.socket, ("127.0.0.1", port))

    async def send(self, data):
        """Sends bytes."""
        await self._loop.sock_sendall(self.socket, data)

    async def receive(self, limit=RECEIVED_MAX):
        """Returns the next bytes, or none at the end. Lets the other clients have their turns."""
        self.waiting_since = self._loop.time()
        try:
            await asyncio.sleep(0)
            data = await self._loop.sock_recv(self.socket, limit)
            self.taken += len(data)
            return data
        finally:
            self.waiting_since = None

    async def _more(self, kind, limit=RECEIVED_MAX):
        try:
            data = await self.receive(limit)
        except OSError as error:
            raise Broken(kind, f"reset ({errno.errorcode.get(error.errno)})", True) from error
        if not data:
            raise Broken(kind, "closed")
        return data

    async def head(self, limit=RECEIVED_MAX):
        """Returns the next response head."""
        while b"\r\n\r\n" not in self.received:
            if len(self.received) > HEAD_MAX:
                raise Malformed("a head without end")
            self.received += await self._more("within the head" if self.received else "before the head", limit)
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        return Head(head)

    async def body(self, length, limit=RECEIVED_MAX):
        """Yields the bytes of a body of this length, or of a chunked one."""
        if length is None:
            async for data in self._chunks(limit):
                yield data
            return
        while length:
            data = self.received or await self._more("within the body", min(limit, length))
            self.received = data[length:]
            data = data[:length]
            length -= len(data)
            yield data

    async def _chunks(self, limit):
        while True:
            size = int(await self._line(limit), 16)
            if not size:
                break
            async for data in self.body(size, limit):
                yield data
            if await self._line(limit):
                raise Malformed("a chunk without end")
        if await self._line(limit):
            raise Malformed("a trailer that was not announced")

    async def _line(self, limit):
        while b"\r\n" not in self.received:
            self.received += await self._more("within the body", limit)
        line, _, self.received = self.received.partition(b"\r\n")
        return line

    def is_reset(self):
        """Returns whether the other side has reset the connection. Reads nothing."""
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == CLOSED

    def arrived(self):
        """Returns how many bytes have arrived."""
        return self.taken + self.unread()

    def unread(self):
        """Returns how many bytes have arrived and were not read."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.FIONREAD, b"\0" * 4))[0]

    def peek(self):
        """Returns the first bytes that were not read, without reading them."""
        try:
            return self.socket.recv(100, socket.MSG_PEEK)
        except OSError:
            return b""

    def half_close(self, how=socket.SHUT_WR):
        """Says that no more requests come."""
        try:
            self.socket.shutdown(how)
        except OSError:
            pass

    def abandon(self):
        """Wakes whoever waits for bytes: there will be none."""
        self.half_close(socket.SHUT_RDWR)

    def reset(self):
        """Ends the connection with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        """Ends the connection."""
        self.socket.close()


class Secure(Connection):
    """A connection with TLS. The bytes that are counted are those that go over the wire."""

    def __init__(self, receive_buffer=None):
        super().__init__(receive_buffer)
        context = ssl.create_default_context()
        # The certificate is made for one run, and says nothing of the gateway.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname="localhost")

    async def open(self, port):
        """Connects, and shakes hands."""
        await super().open(port)
        await self._do(self._tls.do_handshake)

    async def send(self, data):
        """Sends bytes."""
        self._tls.write(data)
        await self._flush()

    async def receive(self, limit=RECEIVED_MAX):
        """Returns the next bytes, or none at the end."""
        try:
            return await self._do(lambda: self._tls.read(limit))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            # Cut off, which is the end of the connection without that of what was sent.
            return b""

    async def _do(self, step):
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await super().receive()
                if data:
                    self._arrived.write(data)
                else:
                    self._arrived.write_eof()
            else:
                await self._flush()
                return done

    async def _flush(self):
        if self._leaving.pending:
            await super().send(self._leaving.read())

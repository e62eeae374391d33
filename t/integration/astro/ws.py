"""A WebSocket client (RFC 6455) that is strict about what it reads and sends
whatever it is told to, also what no client may.

A thread of its own reads, so that pings are answered while a test is busy
elsewhere; a test asks for frames with a time limit.
"""

import base64
import hashlib
import os
import select
import socket
import ssl
import struct
import threading
import time

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

REPO = os.path.abspath(os.path.join(os.path.dirname(__file__), '../../..'))
BUILD = os.path.join(REPO, os.environ.get('ASTRO_BUILD', 'build'))

# Everything takes longer under the sanitizers.
SLOW = float(os.environ.get('ASTRO_TEST_SLOW')
             or (2 if os.path.exists(f'{BUILD}/sanitized') else 1))


class HandshakeRefused(Exception):
    def __init__(self, status, headers, body):
        super().__init__(f'{status} {body[:200]!r}')
        self.status, self.headers, self.body = status, headers, body


class ServerViolation(AssertionError):
    """The server sent what RFC 6455 or consult.v1 does not allow."""


class Timeout(AssertionError):
    pass


def frame(opcode, payload=b'', fin=True, rsv=0, mask=True, length=None):
    """One frame.  length: announce that many bytes instead of the payload's,
    as an int (shortest form) or as ready bytes after the first octet."""
    head = bytes([(0x80 if fin else 0) | (rsv << 4) | opcode])
    bit = 0x80 if mask else 0

    if isinstance(length, bytes):
        head += length
    else:
        n = len(payload) if length is None else length
        if n < 126:
            head += bytes([bit | n])
        elif n < 65536:
            head += struct.pack('>BH', bit | 126, n)
        else:
            head += struct.pack('>BQ', bit | 127, n)

    if not mask:
        return head + payload

    key = os.urandom(4) if mask is True else mask
    return head + key + masked(payload, key)


def masked(payload, key):
    if not payload:
        return b''
    pad = (key * (len(payload) // 4 + 1))[:len(payload)]
    n = int.from_bytes(payload, 'big') ^ int.from_bytes(pad, 'big')
    return n.to_bytes(len(payload), 'big')


class WebSocket:
    def __init__(self, port, host='127.0.0.1', tls=None, path='/ws',
                 protocols=('consult.v1',), headers=(), method='GET',
                 version='13', key=None, auto_pong=True, timeout=10,
                 skip=()):
        """tls: an SSLContext, or None for a plain socket.  skip: names of
        handshake headers that are left out."""
        self.timeout = timeout * SLOW
        self.auto_pong = auto_pong
        self.lock = threading.Lock()            # over the socket
        self.whole = threading.Lock()           # over one frame being sent
        self.changed = threading.Condition()    # over what follows
        self.frames = []                # (opcode, payload) of whole messages
        self.close_code = None          # that the server sent
        self.close_reason = None
        self.eof = False                # TCP has ended
        self.violation = None
        self.sent_close = False
        self.paused = False
        self.thread = None

        self.sock = socket.create_connection((host, port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=host)

        try:
            self._handshake(host, port, path, protocols, headers, method,
                            version, key, skip)
        except BaseException:
            self.sock.close()
            raise

        self.sock.setblocking(False)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # -- handshake ---------------------------------------------------------

    def _handshake(self, host, port, path, protocols, headers, method,
                   version, key, skip):
        key = base64.b64encode(os.urandom(16)).decode() if key is None else key
        send = [('Host', f'{host}:{port}'), ('Upgrade', 'websocket'),
                ('Connection', 'Upgrade'), ('Sec-WebSocket-Key', key),
                ('Sec-WebSocket-Version', version)]
        if protocols:
            send.append(('Sec-WebSocket-Protocol', ', '.join(protocols)))
        skip = {name.lower() for name in skip}
        send = [(n, v) for n, v in send if n.lower() not in skip]
        send += list(headers)
        self.sock.sendall(f'{method} {path} HTTP/1.1\r\n'.encode()
                          + ''.join(f'{n}: {v}\r\n' for n, v in send).encode()
                          + b'\r\n')

        data = b''
        while b'\r\n\r\n' not in data:
            more = self.sock.recv(4096)
            if not more:
                raise HandshakeRefused(0, {}, data)
            data += more

        head, self.buffer = data.split(b'\r\n\r\n', 1)
        lines = head.decode('latin-1').split('\r\n')
        status = int(lines[0].split(' ')[1])
        self.headers = {n.strip().lower(): v.strip() for n, v in
                        (line.split(':', 1) for line in lines[1:])}

        if status != 101:
            raise HandshakeRefused(status, self.headers, self.buffer)

        accept = base64.b64encode(
            hashlib.sha1(key.encode() + GUID).digest()).decode()
        if self.headers.get('sec-websocket-accept') != accept:
            raise ServerViolation('wrong Sec-WebSocket-Accept')
        if self.headers.get('upgrade', '').lower() != 'websocket' \
                or self.headers.get('connection', '').lower() != 'upgrade':
            raise ServerViolation(f'bad 101: {self.headers}')
        self.protocol = self.headers.get('sec-websocket-protocol')
        if self.protocol is not None and self.protocol not in protocols:
            raise ServerViolation(f'selected {self.protocol!r}, not offered')

    # -- reading -----------------------------------------------------------

    def _run(self):
        try:
            parts = self._parse()
            next(parts)
            if self.buffer:
                parts.send(self.buffer)
            while True:
                data = self._receive()
                if not data:
                    break
                parts.send(data)
        except (ServerViolation, StopIteration) as e:
            self.violation = self.violation or str(e)
        except (OSError, ValueError):
            pass
        finally:
            with self.changed:
                self.eof = True
                self.changed.notify_all()

    def _receive(self):
        while True:
            while self.paused:
                time.sleep(0.01)
            with self.lock:
                try:
                    return self.sock.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
                except ssl.SSLError:
                    return b''
            # may be closed under our hands: fileno is -1 then, ValueError
            select.select([self.sock], [], [], 0.5)

    def _parse(self):
        """A generator fed with bytes; hands out whole messages."""
        buffer = bytearray()

        def need(n):
            while len(buffer) < n:
                buffer.extend((yield))
            data = bytes(buffer[:n])
            del buffer[:n]
            return data

        message, opcode_of, compressed = b'', None, 0

        while True:
            first, second = yield from need(2)
            fin, rsv, opcode = first & 0x80, first & 0x70, first & 0x0f
            n = second & 0x7f

            if self.close_code is not None:
                raise ServerViolation('a frame after the close frame')
            if second & 0x80:
                raise ServerViolation('a masked frame from the server')
            if rsv & ~self.rsv_agreed:
                raise ServerViolation('RSV bits that nobody negotiated')
            if rsv and (opcode == CONT or opcode >= 8):
                raise ServerViolation('RSV1 on what cannot be compressed')
            if opcode not in (CONT, TEXT, BINARY, CLOSE, PING, PONG):
                raise ServerViolation(f'opcode {opcode}')
            if opcode >= 8 and (n > 125 or not fin):
                raise ServerViolation('a long or fragmented control frame')

            if n == 126:
                n, = struct.unpack('>H', (yield from need(2)))
                if n < 126:
                    raise ServerViolation('a length longer than need be')
            elif n == 127:
                n, = struct.unpack('>Q', (yield from need(8)))
                if n < 65536:
                    raise ServerViolation('a length longer than need be')

            data = yield from need(n)

            if opcode >= 8:
                self._control(opcode, data)
                continue
            if (opcode == CONT) != (opcode_of is not None):
                raise ServerViolation('fragments out of order')
            if opcode != CONT:
                opcode_of, compressed = opcode, rsv
            message += data
            if fin:
                if compressed:
                    message = self.inflate(message)
                self._message(opcode_of, message)
                message, opcode_of = b'', None

    def _message(self, opcode, payload):
        if opcode == TEXT:
            payload.decode('utf-8')     # ValueError: the thread ends
        with self.changed:
            self.frames.append((opcode, payload))
            self.on_message(opcode, payload)
            self.changed.notify_all()

    rsv_agreed = 0

    def inflate(self, data):
        """For those who agree on permessage-deflate: see deflate.py."""
        raise NotImplementedError

    def on_message(self, opcode, payload):
        """For those who build on this; called with self.changed held."""

    def _control(self, opcode, data):
        if opcode == PING and self.auto_pong:
            self._quietly(frame(PONG, data))
        if opcode == CLOSE:
            if len(data) == 1:
                raise ServerViolation('a close frame of one byte')
            code = struct.unpack('>H', data[:2])[0] if data else 1005
            with self.changed:
                self.close_code = code
                self.close_reason = data[2:].decode('utf-8')
                self.changed.notify_all()
            if not self.sent_close and self.auto_pong:
                self.sent_close = True
                self._quietly(frame(CLOSE, data[:2]))
            return
        with self.changed:
            self.frames.append((opcode, data))
            self.changed.notify_all()

    # -- writing -----------------------------------------------------------

    def _quietly(self, data):
        try:
            self.send_raw(data)
        except OSError:
            pass

    def send_raw(self, data):
        """All of it, or OSError: also when the server reads no more."""
        with self.whole:
            self._send(memoryview(data), time.monotonic() + self.timeout)

    def _send(self, view, until):
        while view:
            with self.lock:
                try:
                    view = view[self.sock.send(view):]
                    continue
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError,
                        BlockingIOError):
                    pass
            if time.monotonic() > until:
                raise TimeoutError('the server reads no more')
            select.select([], [self.sock], [], 0.05)

    def send_frame(self, opcode, payload=b'', **kw):
        if opcode == CLOSE:
            self.sent_close = True
        self.send_raw(frame(opcode, payload, **kw))

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    # -- asking ------------------------------------------------------------

    def wait(self, ready, timeout=None, what='what the test waits for'):
        """Waits until ready() is true and returns that."""
        until = time.monotonic() + (self.timeout if timeout is None
                                    else timeout * SLOW)
        with self.changed:
            while True:
                self.check()
                found = ready()
                if found:
                    return found
                left = until - time.monotonic()
                if left <= 0 or self.eof:
                    raise Timeout(f'{self!r}: no {what}'
                                  + (' before the end' if self.eof else ''))
                self.changed.wait(left)

    def check(self):
        if self.violation:
            raise ServerViolation(self.violation)

    def next_frame(self, opcode=None, timeout=None):
        """Takes the oldest frame (of that opcode)."""
        def find():
            for i, (op, _) in enumerate(self.frames):
                if opcode is None or op == opcode:
                    return [self.frames.pop(i)]
            return None
        return self.wait(find, timeout, f'frame {opcode}')[0]

    def wait_close(self, timeout=None):
        """The close code the server sent; waits for the end of TCP, too."""
        until = time.monotonic() + (self.timeout if timeout is None
                                    else timeout * SLOW)
        with self.changed:
            while not self.eof and time.monotonic() < until:
                self.changed.wait(until - time.monotonic())
        if not self.eof:
            raise Timeout(f'{self!r}: the server did not end the connection')
        self.check()
        return self.close_code

    @property
    def open(self):
        return not self.eof and self.close_code is None

    # -- ending ------------------------------------------------------------

    def close(self, code=1000, timeout=None):
        """The close handshake, started by us; the code that came back."""
        if not self.sent_close and not self.eof:
            self.sent_close = True
            self._quietly(frame(CLOSE, struct.pack('>H', code)))
        try:
            return self.wait_close(timeout)
        finally:
            self.drop()

    def drop(self):
        """As a phone that lost its network, but for the FIN."""
        self.paused = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self.thread is not None:
            self.thread.join(5)
        self.sock.close()

    def reset(self):
        """Ends the connection by RST."""
        linger = struct.pack('ii', 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.paused = False
        with self.lock:
            self.sock.close()
        if self.thread is not None:
            self.thread.join(5)

    def pause(self):
        """Reads nothing until resume(), as a slow client does."""
        self.paused = True

    def resume(self):
        self.paused = False

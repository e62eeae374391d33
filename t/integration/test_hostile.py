"""What one hostile client may cost the others, with the limits as they are.
"""

import re
import socket
import time
import zlib

import pytest

from astro.fixtures import watch
from astro.stack import Stack, eventually
from astro.ws import TEXT, WebSocket, frame

FRAMES_S, FRAMES_BURST, FRAME_BYTES = 1000, 5000, 512


@pytest.fixture(scope='module')
def strict():
    stack = Stack(settings={
        'astro_limit': f'frame rate={FRAMES_S}/s burst={FRAMES_BURST}'},
        workers=1)
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(strict):
    yield from watch(strict)


def deflated(text):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, data[:-4], rsv=4, mask=b'mask')


def received(stack, kind):
    text = stack.rest.get('/metrics').body.decode()
    return int(re.search(rf'^astro_messages_in_total{{type="{kind}"}} (\d+)$',
                         text, re.M).group(1))


@pytest.mark.parametrize('tls', [False, True])
def test_what_inflates_is_handled_in_small_pieces(stack, tls):
    """Half a thousand messages of 64 KB fit into 64 KB: they must not all be
    parsed because they were read at once."""
    text = b'{"type":"nothing","payload":{"a":[' \
        + b','.join([b'1'] * 32000) + b']}}'
    bomb = deflated(text)
    assert len(bomb) < 200
    before = received(stack, 'unknown')
    client = WebSocket(stack.port if tls else stack.plain_port,
                       tls=stack.tls if tls else None,
                       headers=[('Sec-WebSocket-Extensions',
                                 'permessage-deflate')])
    stack.clients.append(client)
    begin = time.monotonic()
    client.send_raw(bomb * 500)
    time.sleep(0.5)
    handled = received(stack, 'unknown') - before
    took = time.monotonic() - begin
    cost = len(text) / FRAME_BYTES
    assert 1 <= handled * cost <= FRAMES_BURST + FRAMES_S * (took + 1) \
        + 1024 / len(bomb) * cost


def test_what_came_with_the_request_is_paid_for_as_well(stack):
    """Frames right behind the request, in nginx's buffer for its header."""
    bomb = deflated(b'{"type":"nothing","payload":{"a":['
                    + b','.join([b'1'] * 32000) + b']}}')
    before = limited(stack)
    sock = socket.create_connection(('127.0.0.1', stack.plain_port), 10)
    try:
        sock.sendall(b'GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n'
                     b'Upgrade: websocket\r\nConnection: Upgrade\r\n'
                     b'Sec-WebSocket-Version: 13\r\n'
                     b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
                     b'Sec-WebSocket-Protocol: consult.v1\r\n'
                     b'Sec-WebSocket-Extensions: permessage-deflate\r\n'
                     # beyond client_header_buffer_size: the next has 8 KB
                     b'X-Fill: ' + b'f' * 1200 + b'\r\n\r\n'
                     + bomb * (6000 // len(bomb)))
        assert b' 101 ' in sock.recv(4096)
        eventually(lambda: limited(stack) > before, 5, 'a pause')
    finally:
        sock.close()


def limited(stack):
    text = stack.rest.get('/metrics').body.decode()
    return int(re.search(r'^astro_limited_total{class="frame"} (\d+)$', text,
                         re.M).group(1))

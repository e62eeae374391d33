"""What one hostile client may cost the others, with the limits as they are.
"""

import re
import time
import zlib

import pytest

from astro.fixtures import watch
from astro.stack import Stack
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

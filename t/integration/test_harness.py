"""The tests' own tools: what they promise the other tests."""

import pytest

from astro.ws import PING, TEXT, frame, masked


@pytest.mark.parametrize('size, head', [
    (0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_frame_lengths(size, head):
    assert len(frame(TEXT, b'x' * size, mask=False)) == head + size
    assert len(frame(TEXT, b'x' * size)) == head + 4 + size


def test_masking_is_its_own_inverse():
    data = bytes(range(256)) * 3 + b'\x01'
    key = b'\x01\x80\xff\x00'
    assert masked(masked(data, key), key) == data
    # RFC 6455 section 5.7
    assert frame(TEXT, b'Hello', mask=b'\x37\xfa\x21\x3d') == bytes.fromhex(
        '818537fa213d7f9f4d5158')
    assert frame(PING, b'Hello', mask=False) == bytes.fromhex(
        '890548656c6c6f')

"""Pictures of a browser in fewer bytes: with a palette of 256 colours."""

import collections
import zlib

HEAD = b'\x89PNG\r\n\x1a\n'


def chunks(png):
    at = len(HEAD)
    while at < len(png):
        n = int.from_bytes(png[at:at + 4], 'big')
        yield png[at + 4:at + 8], png[at + 8:at + 8 + n]
        at += 12 + n


def rows(data, wide, step):
    """Lines of bytes, as they were before each was told as a difference."""
    size, before = wide * step, bytes(wide * step)
    for at in range(0, len(data), size + 1):
        kind, line = data[at], bytearray(data[at + 1:at + 1 + size])
        if kind == 1:
            for i in range(step, size):
                line[i] = (line[i] + line[i - step]) & 255
        elif kind == 2:
            line = bytearray((x + y) & 255 for x, y in zip(line, before))
        elif kind == 3:
            for i in range(size):
                left = line[i - step] if i >= step else 0
                line[i] = (line[i] + (left + before[i]) // 2) & 255
        elif kind == 4:
            for i in range(size):
                a = line[i - step] if i >= step else 0
                b, c = before[i], before[i - step] if i >= step else 0
                pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                near = a if pa <= pb and pa <= pc else b if pb <= pc else c
                line[i] = (line[i] + near) & 255
        yield bytes(line)
        before = line


def shrunk(png):
    parts = dict(chunks(png))
    wide = int.from_bytes(parts[b'IHDR'][:4], 'big')
    step = {2: 3, 6: 4}[parts[b'IHDR'][9]]
    data = zlib.decompress(b''.join(d for k, d in chunks(png)
                                    if k == b'IDAT'))
    lines = [[line[i:i + 3] for i in range(0, len(line), step)]
             for line in rows(data, wide, step)]
    count = collections.Counter(c for line in lines for c in line)
    palette = [c for c, _ in count.most_common(256)]
    index = {c: n for n, c in enumerate(palette)}
    near = {}                       # those that look the same: once for all
    for colour in count:
        if colour not in index:
            key = tuple(x >> 3 for x in colour)
            if key not in near:
                near[key] = index[min(palette, key=lambda c, of=colour: sum(
                    (x - y) ** 2 for x, y in zip(c, of)))]
            index[colour] = near[key]
    flat = b''.join(b'\0' + bytes(index[c] for c in line) for line in lines)
    head = parts[b'IHDR'][:8] + b'\x08\x03\0\0\0'
    return HEAD + b''.join(
        len(d).to_bytes(4, 'big') + k + d + zlib.crc32(k + d).to_bytes(4, 'big')
        for k, d in ((b'IHDR', head), (b'PLTE', b''.join(palette)),
                     (b'IDAT', zlib.compress(flat, 9)), (b'IEND', b'')))

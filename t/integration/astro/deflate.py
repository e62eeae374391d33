"""A WebSocket client with permessage-deflate (RFC 7692), as strict as ws.py:
what the server compresses is read with no more than what was agreed."""

import re
import zlib

from .ws import BINARY, CONT, TEXT, ServerViolation, WebSocket

RSV1 = 4
NAME = 'permessage-deflate'
PARAMS = ('server_no_context_takeover', 'client_no_context_takeover',
          'server_max_window_bits', 'client_max_window_bits')


class Deflating(WebSocket):
    def __init__(self, port, offer=NAME, headers=(), **kw):
        """offer: a header line, or several in a list, or None."""
        offers = [offer] if isinstance(offer, str) else offer or []
        self.packer = self.unpacker = None
        self.agreed = None              # {parameter: value or True}
        self.packed = []                # RSV1 payloads of the server
        super().__init__(port, headers=[
            *headers, *(('Sec-WebSocket-Extensions', o) for o in offers)], **kw)

    def _handshake(self, *args):
        super()._handshake(*args)
        line = self.headers.get('sec-websocket-extensions')
        if line is None:
            return

        name, *params = [p.strip() for p in line.split(';')]
        if name != NAME:
            raise ServerViolation(f'extension {line!r}')
        self.agreed = {}
        for param in params:
            key, _, value = param.partition('=')
            if key not in PARAMS or key in self.agreed:
                raise ServerViolation(f'extension {line!r}')
            if key.endswith('bits'):
                if not re.fullmatch('[89]|1[0-5]', value):
                    raise ServerViolation(f'extension {line!r}')
                self.agreed[key] = int(value)
            elif value:
                raise ServerViolation(f'extension {line!r}')
            else:
                self.agreed[key] = True
        self.rsv_agreed = 0x40

    # -- what comes --------------------------------------------------------

    def inflate(self, data):
        self.packed.append(data)
        if not data:
            raise ServerViolation('a compressed message of no octets')
        if self.unpacker is None \
                or 'server_no_context_takeover' in self.agreed:
            bits = self.agreed.get('server_max_window_bits', 15)
            self.unpacker = zlib.decompressobj(wbits=-bits)
        try:
            return self.unpacker.decompress(data + b'\0\0\xff\xff')
        except zlib.error as e:
            raise ServerViolation(f'not DEFLATE: {e}') from e

    # -- what goes ---------------------------------------------------------

    def pack(self, payload, level=6):
        """A message as it is sent, in our window."""
        if not payload:
            return b'\0'
        if self.packer is None or 'client_no_context_takeover' in self.agreed:
            bits = self.agreed.get('client_max_window_bits', 15)
            # zlib has no window of 8: what it makes of 9 fits into it
            self.packer = zlib.compressobj(level, zlib.DEFLATED,
                                           -max(9, bits))
        data = self.packer.compress(payload)
        data += self.packer.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(b'\0\0\xff\xff')
        return data[:-4]

    def send_packed(self, payload, opcode=None, pieces=1):
        opcode = opcode or (TEXT if isinstance(payload, str) else BINARY)
        if isinstance(payload, str):
            payload = payload.encode()
        data = self.pack(payload)
        size = -(-len(data) // pieces)
        parts = [data[i:i + size] for i in range(0, len(data), size)]
        for i, part in enumerate(parts):
            self.send_frame(CONT if i else opcode, part,
                            rsv=0 if i else RSV1, fin=i == len(parts) - 1)

"""What goes over a WebSocket, as the document says it (x-websocket)."""

import functools

from .schema import document, wrong


@functools.lru_cache
def described():
    return document()['x-websocket']


@functools.lru_cache
def reply_schema(kind):
    """Of a reply without an error; kind None: to nobody knows what."""
    known = described()['requests'].get(kind)
    payload = (known and known['reply']) or {'type': 'object'}
    return {'type': 'object', 'required': ['type', 'id', 'payload'],
            'properties': {'type': {'const': 'reply'},
                           'id': {'type': 'integer', 'minimum': 1},
                           'payload': payload}}


ERROR = {'type': 'object', 'required': ['type', 'error'],
         'properties': {'type': {'const': 'reply'},
                        'id': {'type': 'integer', 'minimum': 1},
                        'error': {'$ref': '#/x-websocket/schemas/Error'}}}


def wrong_frame(message, asked=None):
    """None, or how a frame of the server's is not what the document says.
    asked: the request that it is the reply to, as (type, payload)."""
    kind = message.get('type')
    if kind == 'reply' and 'error' in message:
        return wrong(ERROR, message, 'reply', strict=True)
    if kind == 'reply':
        said = wrong(reply_schema(asked and asked[0]), message,
                     f'reply to {asked and asked[0]}', strict=True)
        return said or asked and wrong_request(*asked)
    known = described()['events'].get(kind)
    if known is None:
        return f'no event is called {kind} in conf/openapi/frames.json'
    return wrong(known['frame'], message, kind, strict=True)


def wrong_request(kind, payload):
    """The same of a request that was not refused."""
    known = described()['requests'].get(kind)
    if known is None:
        return f'no request is called {kind} in conf/openapi/frames.json'
    return wrong(known['payload'], payload or {}, f'{kind} that was good')

"""What the tests talk to the server with: a stack of its own, and clients.

stack.py   starts and stops a whole private system, and its parts
ws.py      a WebSocket client that can also break the protocol
client.py  consult.v1 on top of it: hello, requests, durable events
rest.py    HTTPS requests
"""

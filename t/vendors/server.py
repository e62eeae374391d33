#!/usr/bin/python3
"""A vendor on loopback: HTTP/1.1, faults, and a door for the test behind it.

    server.py VENDOR [--port N] [--books FOLDER] [--seed N]
              [--key SECRET | --key-file FILE] [--tls CERT KEY]

VENDOR is a file of this folder, VENDOR_api.py, with a class Api:

    Api(books, key)         of Books; key: what callers must show
    key_of(request)         what two requests must not share at one time, or
                            None; and busy(): the Reply to the second one
    handle(request)         -> Reply; does it, or not, in one go
    error(status, text)     -> Reply, in the vendor's words
    do(what, arguments)     what a test may ask the world to do
    sign(body, secret)      -> the headers of a webhook
    events                  a list: what handle() and do() want told, taken
                            by the server

Prints "port N" when it listens.  The test's door is /_stub, without a key:

    POST /_stub/faults      {name: value}: see faults.py; {} clears them
    POST /_stub/webhook     {url, secret, ca}; POST /_stub/flush
    POST /_stub/do          {what, ...}: what customers and banks do
    POST /_stub/checkout    {secret}: the vendor's page, of vendors that have
                            checkout(secret): the customer of it pays; the one
                            door that a demo opens to browsers
    GET  /_stub/books/KIND  every object, in the order of making
    GET  /_stub/seen        {requests, happened, sent}

One that was told {"closed": true} listens on a control port alone, "control N",
where the door is always open.
"""

import argparse
import asyncio
import dataclasses
import importlib
import json
import signal
import ssl
import urllib.parse

from books import Books
from faults import Faults
from webhooks import Webhooks

LONGEST = 1 << 20

REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized",
           402: "Payment Required", 404: "Not Found", 409: "Conflict",
           429: "Too Many Requests", 500: "Internal Server Error"}


@dataclasses.dataclass
class Request:
    method: str
    path: str
    query: list
    headers: dict
    body: bytes


@dataclasses.dataclass
class Reply:
    status: int
    body: object
    headers: dict = dataclasses.field(default_factory=dict)


class Server:
    def __init__(self, args):
        module = importlib.import_module(f"{args.vendor}_api")
        self.args = args
        self.books = Books(args.books)
        self.api = module.Api(self.books, args.key)
        self.faults = Faults(args.seed)
        self.hooks = Webhooks(self.api, self.faults)
        self.busy = set()           # keys of requests under way
        self.requests = 0
        self.most = 0               # requests under way at one time
        self.under_way = 0
        self.open = None

    async def run(self):
        door = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.args.port
        await self.listen()
        print(f"port {self.port}", flush=True)
        print(f"control {door.sockets[0].getsockname()[1]}", flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()

    async def listen(self):
        tls = None

        if self.args.tls:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*self.args.tls)

        self.open = await asyncio.start_server(
            self.serve, "127.0.0.1", self.port, ssl=tls, backlog=256)
        self.port = self.open.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while True:
                request = await self.read(reader)

                if request is None or not await self.one(request, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, ValueError,
                asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def read(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = {}

        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()

        length = int(headers.get("content-length", 0))

        if length > LONGEST or "transfer-encoding" in headers:
            return None

        url = urllib.parse.urlsplit(target)
        return Request(method, url.path,
                       urllib.parse.parse_qsl(url.query, True), headers,
                       await reader.readexactly(length))

    async def one(self, request, writer):
        """Whether the connection goes on."""
        if request.path.startswith("/_stub/"):
            return await self.write(writer, await self.door(request))

        self.requests += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        try:
            return await self.vendor(request, writer)
        finally:
            self.under_way -= 1

    async def vendor(self, request, writer):
        faults, happens = self.faults.now, self.faults.happens
        key = self.api.key_of(request)

        if faults["closed"] or happens("hangup"):
            return False

        if key is not None and key in self.busy:
            return await self.write(writer, self.api.busy())

        if key is not None:
            self.busy.add(key)

        try:
            if happens("delay"):
                await asyncio.sleep(faults["delay_ms"] / 1000)

            if happens("limit"):
                reply = self.api.error(429, "too many requests")
                reply.headers["Retry-After"] = str(faults["retry_after_s"])
                return await self.write(writer, reply)

            if happens("error"):
                return await self.write(
                    writer, self.api.error(500, "something went wrong"))

            reply = self.api.handle(request)
            self.tell()

            if happens("late"):
                await asyncio.sleep(faults["delay_ms"] / 1000)

            if happens("lost"):
                return False

            if happens("error_after"):
                reply = self.api.error(500, "something went wrong")

            return await self.write(writer, reply, happens("half"))
        finally:
            self.busy.discard(key)

    def tell(self):
        while self.api.events:
            self.hooks.event(self.api.events.pop(0))

    async def write(self, writer, reply, half=False):
        body = json.dumps(reply.body).encode()
        head = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, '?')}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                *(f"{k}: {v}" for k, v in reply.headers.items())]
        data = "\r\n".join(head).encode() + b"\r\n\r\n" + body

        writer.write(data[:-len(body) // 2] if half else data)
        await writer.drain()
        return not half

    async def door(self, request):
        what = request.path.split("/")[2:]
        given = json.loads(request.body or b"{}")

        if what[0] == "faults":
            if not given:
                self.faults.clear()

            self.faults.set(given)
            await self.open_or_close()
            return Reply(200, self.faults.now)

        if what[0] == "webhook":
            self.hooks.set(given["url"], given["secret"], given.get("ca"))
            return Reply(200, {})

        if what[0] == "flush":
            self.hooks.flush()
            return Reply(200, {})

        if what[0] == "do":
            done = self.api.do(given.pop("what"), given)
            self.tell()
            return Reply(200, done)

        if what[0] == "checkout":
            reply = self.api.checkout(given.get("secret"))
            self.tell()
            return reply

        if what[0] == "books":
            return Reply(200, self.books.all(what[1]))

        if what[0] == "seen":
            return Reply(200, {"requests": self.requests, "most": self.most,
                               "happened": self.faults.happened,
                               "sent": self.hooks.sent})

        return Reply(404, {})

    async def open_or_close(self):
        """A port that is closed refuses; connections that are open end with
        their next request."""
        if self.faults.now["closed"] and self.open is not None:
            self.open.close()
            self.open = None

        elif not self.faults.now["closed"] and self.open is None:
            await self.listen()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vendor")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--books")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--key", default="sk_test_loopback")
    parser.add_argument("--key-file", type=argparse.FileType())
    parser.add_argument("--tls", nargs=2)
    args = parser.parse_args()

    if args.key_file is not None:
        args.key = args.key_file.readline().strip()

    asyncio.run(Server(args).run())


if __name__ == "__main__":
    main()

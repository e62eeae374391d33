"""Sends a vendor's events to whoever asked for them, as vendors do: at least
once, in no order, or not at all.

The vendor signs: it is called with the raw body and gives the headers.
"""

import asyncio
import json
import ssl
import urllib.parse


class Webhooks:
    def __init__(self, api, faults):
        self.api, self.faults = api, faults
        self.url = None
        self.secret = None
        self.tls = None
        self.kept = []
        self.sent = []              # [event's id, status answered or None]
        self.tasks = set()

    def set(self, url, secret, ca=None):
        """ca: who may be at a https URL, the certificate of that one server
        alone; so its name is not looked at."""
        self.url, self.secret, self.tls = url, secret, None

        if ca is not None:
            self.tls = ssl.create_default_context(cadata=ca)
            self.tls.check_hostname = False

    def event(self, event):
        if self.url is None or self.faults.happens("hook_lost"):
            return

        self.kept += [event] * (1 + self.faults.happens("hook_twice"))

        if len(self.kept) > self.faults.now["hook_shuffle"]:
            self.flush()

    def flush(self):
        """Sends what was kept to be put in another order."""
        kept, self.kept = self.kept, []

        if self.faults.now["hook_shuffle"]:
            self.faults.random.shuffle(kept)

        task = asyncio.ensure_future(self._send(kept))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _send(self, events):
        for event in events:
            body = json.dumps(event).encode()
            headers = self.api.sign(body, self.secret)

            try:
                status = await asyncio.wait_for(self._post(body, headers), 10)
            except (OSError, asyncio.TimeoutError, ValueError, IndexError):
                status = None

            self.sent.append([event["id"], status])

    async def _post(self, body, headers):
        url = urllib.parse.urlsplit(self.url)
        reader, writer = await asyncio.open_connection(
            url.hostname, url.port, ssl=self.tls)

        try:
            head = [f"POST {url.path or '/'} HTTP/1.1", f"Host: {url.netloc}",
                    "Content-Type: application/json", "Connection: close",
                    f"Content-Length: {len(body)}",
                    *(f"{k}: {v}" for k, v in headers.items())]
            writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()

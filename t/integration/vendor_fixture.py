"""Starts a vendor of t/vendors and talks to it through its back door."""

import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import shutil

SERVER = pathlib.Path(__file__).resolve().parents[1] / "vendors" / "server.py"


class Vendor:
    """A process.  kill() and start() again: it comes back on the same port,
    with the books it had."""

    def __init__(self, name="stripe", key="sk_test_loopback", seed=None,
                 tls=None):
        self.name, self.key, self.seed, self.tls = name, key, seed, tls
        self.home = tempfile.mkdtemp(prefix="astro-vendor-", dir="/tmp")
        self.port = 0
        self.key_file = f"{self.home}/key"
        pathlib.Path(self.key_file).write_text(key + "\n", encoding="ascii")
        os.chmod(self.key_file, 0o600)
        self.start()

    def start(self):
        options = ["--port", str(self.port), "--books", self.home,
                   "--key", self.key]

        if self.seed is not None:
            options += ["--seed", str(self.seed)]

        if self.tls is not None:
            options += ["--tls", *self.tls]

        self.process = subprocess.Popen(
            ["/usr/bin/python3", SERVER, self.name, *options], text=True,
            stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[1])
        self.control = int(self.process.stdout.readline().split()[1])
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def close(self):
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def door(self, what, given=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.control,
                                          timeout=60)
        try:
            conn.request("GET" if given is None else "POST", "/_stub/" + what,
                         None if given is None else json.dumps(given))
            reply = conn.getresponse()
            body = reply.read()
            assert reply.status == 200, body
            return json.loads(body)
        finally:
            conn.close()

    def faults(self, **chances):
        """Those and no others."""
        self.door("faults", {})
        return self.door("faults", chances) if chances else None

    def books(self, kind):
        return self.door(f"books/{kind}")

    def seen(self):
        return self.door("seen")

    def do(self, what, **given):
        return self.door("do", {"what": what, **given})


def hurry(bench, dead=()):
    """What is to be tried again is due now: tests do not wait for backoff.
    dead: so is what these processes have claimed, as if time had passed.  Call
    it again and again: the last claim of one may come after its death."""
    bench.rows("UPDATE billing.outbox SET due_at = clock_timestamp()"
               " WHERE id IN (SELECT id FROM billing.outbox"
               "  WHERE state = 'waiting' AND due_at > clock_timestamp()"
               "   AND (owner IS NULL"
               "        OR split_part(owner, ':', 2)::int = ANY(%s::int[]))"
               "  FOR UPDATE SKIP LOCKED)", list(dead))

"""The vendors of t/vendors themselves: Stripe's own client is the judge of
what ours says, and the faults are what they are said to be."""

import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading

import pytest

from billing_fixture import ROOT, eventually
from vendor_fixture import Vendor

BUILD = ROOT / os.environ.get("BUILD", "build")
PEERS = [path for path in (BUILD / "test-peers/node_modules",
                           ROOT / "build/test-peers/node_modules")
         if (path / "stripe").exists()]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def stripe():
    vendor = Vendor(seed=7)
    yield vendor
    vendor.close()


def post(vendor, body, key=None, timeout=10):
    """Status and body; OSError if it was hung up on."""
    conn = http.client.HTTPConnection("127.0.0.1", vendor.port,
                                      timeout=timeout)
    headers = {"Authorization": f"Bearer {vendor.key}", "Content-Type": FORM}

    if key is not None:
        headers["Idempotency-Key"] = key

    try:
        conn.request("POST", "/v1/transfers", body, headers)
        reply = conn.getresponse()
        return reply.status, dict(reply.headers), json.loads(reply.read())
    finally:
        conn.close()


BODY = "amount=500&currency=inr&destination=acct_1"


@pytest.mark.skipif(not PEERS or shutil.which("node") is None,
                    reason="no npm stripe: scripts/setup.sh test")
def test_stripes_own_client_is_content(stripe):
    stripe.faults(delay=1, delay_ms=50)
    done = subprocess.run(
        ["node", pathlib.Path(__file__).parent / "peers/stripe.js",
         json.dumps({"port": stripe.port, "key": stripe.key})],
        env={**os.environ, "NODE_PATH": str(PEERS[0])}, text=True,
        capture_output=True, check=True)
    said = json.loads(done.stdout)

    transfer = said["transfer"]
    assert re.fullmatch(r"tr_\w{24}", transfer["id"])
    assert transfer["object"] == "transfer" and transfer["amount"] == 700
    assert transfer["metadata"] == {"payout": "5"}
    assert said["replayed"] == [True, "true"]
    assert said["other"] == {
        "name": "StripeIdempotencyError", "status": 400, "code": None,
        "param": None, "type": "idempotency_error"}
    assert said["nobody"] == {
        "name": "StripeInvalidRequestError", "status": 400,
        "code": "resource_missing", "param": "destination",
        "type": "invalid_request_error"}
    assert said["declined"] == {
        "name": "StripeCardError", "status": 402, "code": "card_declined",
        "param": None, "type": "card_error"}
    assert said["key"]["name"] == "StripeAuthenticationError"
    assert said["intent"] == ["succeeded", 1000, {"account": "9"}]
    assert said["refund"][:2] == ["succeeded", 400]
    assert said["toomuch"]["status"] == 400
    assert said["account"] == ["account", False, False, {"account": "5"},
                               {"transfers": "inactive"}]
    assert said["link"][0] == "account_link" and said["link"][2]
    assert said["link"][1].startswith("https://connect.stripe.com/")
    assert said["same"] == "IN"
    assert said["nolink"]["code"] == "resource_missing"
    assert said["events"] == [
        "charge.refunded", "refund.created", "payment_intent.succeeded",
        "charge.succeeded", "payment_intent.created", "transfer.created"]
    assert said["some"] == ["refund.created", "transfer.created"]
    assert said["group"] == 1 and said["both"] is True
    assert len(stripe.books("transfer")) == 2


def test_faults(stripe):
    def made():
        return len(stripe.books("transfer"))

    stripe.faults(error=1)
    assert post(stripe, BODY, "a")[0] == 500 and made() == 0
    stripe.faults(hangup=1)
    with pytest.raises(OSError):
        post(stripe, BODY, "a")
    assert made() == 0
    stripe.faults(limit=1, retry_after_s=3)
    status, headers, _ = post(stripe, BODY, "a")
    assert (status, headers["Retry-After"], made()) == (429, "3", 0)

    # it is done and nobody hears of it; who asks again is told what was
    stripe.faults(lost=1)
    with pytest.raises(OSError):
        post(stripe, BODY, "a")
    stripe.faults(half=1)
    with pytest.raises((OSError, http.client.IncompleteRead)):
        post(stripe, BODY, "b")
    stripe.faults(error_after=1)
    assert post(stripe, BODY, "c")[0] == 500 and made() == 3
    stripe.faults()
    for key, one in zip("abc", stripe.books("transfer")):
        status, headers, body = post(stripe, BODY, key)
        assert status == 200 and body["id"] == one["id"]
        assert headers["Idempotent-Replayed"] == "true"
    assert post(stripe, BODY.replace("500", "501"), "a")[0] == 400
    assert made() == 3

    stripe.faults(closed=True)
    with pytest.raises(ConnectionRefusedError):
        post(stripe, BODY, "a")
    stripe.faults()

    # its books outlive it
    stripe.kill()
    stripe.start()
    assert made() == 3 and post(stripe, BODY, "a")[0] == 200 and made() == 3


def test_webhooks_get_lost_come_twice_and_in_another_order(stripe):
    heard = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):                      # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = dict(part.split("=") for part in
                         self.headers["Stripe-Signature"].split(","))
            good = hmac.new(b"whsec", parts["t"].encode() + b"." + body,
                            hashlib.sha256).hexdigest()
            heard.append((json.loads(body)["id"], parts["v1"] == good))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    class Quiet(http.server.HTTPServer):
        address_family = socket.AF_INET

    hook = Quiet(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()

    try:
        stripe.door("webhook", {"url": f"http://127.0.0.1:{hook.server_port}/",
                                "secret": "whsec"})
        for i in range(30):
            stripe.faults(hook_twice=1, hook_shuffle=100,
                          hook_lost=int(i % 3 == 0))
            assert post(stripe, BODY, f"k{i}")[0] == 200

        stripe.door("flush", {})
        eventually(lambda: len(heard) == 40)
    finally:
        hook.shutdown()
        hook.server_close()

    order = [event["id"] for event in stripe.books("event")]
    ids = [ident for ident, good in heard if good]
    assert len(ids) == len(heard)               # all are signed
    assert set(ids) < set(order)                # some got lost
    assert len(set(ids)) < len(ids)             # some came twice
    assert ids != sorted(ids, key=order.index)  # and not in order

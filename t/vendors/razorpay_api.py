"""Razorpay, as far as this project asks it, after the published API reference.

Basic authentication with "KEY_ID:KEY_SECRET".  Lists are newest first: from,
to (created_at), count (1-100, 10), skip; {entity: collection, count, items}.

    GET /v1/payments, /v1/refunds
"""

import base64
import hashlib
import hmac
import secrets
import time

from server import Reply


class Api:
    def __init__(self, books, key):
        self.books, self.key = books, key
        self.events = []

    def key_of(self, request):      # nothing is posted
        return None

    def error(self, status, text):
        return Reply(status, {"error": {
            "code": "SERVER_ERROR" if status >= 500 else "BAD_REQUEST_ERROR",
            "description": text}})

    def sign(self, body, secret):
        return {"X-Razorpay-Signature": hmac.new(
            secret.encode(), body, hashlib.sha256).hexdigest()}

    def handle(self, request):
        shown = "Basic " + base64.b64encode(self.key.encode()).decode()

        if request.headers.get("authorization") != shown:
            return self.error(401, "Authentication failed")

        kind = {"/v1/payments": "payment",
                "/v1/refunds": "refund"}.get(request.path)

        if request.method != "GET" or kind is None:
            return self.error(404, "The requested URL was not found")

        asked = {"from": 0, "to": 2 ** 40, "count": 10, "skip": 0,
                 **{k: int(v) for k, v in request.query}}

        if not 1 <= asked["count"] <= 100:
            return self.error(400, "The count must be between 1 and 100.")

        found = [o for o in reversed(self.books.all(kind))
                 if asked["from"] <= o["created_at"] <= asked["to"]]
        found = found[asked["skip"]:asked["skip"] + asked["count"]]
        return Reply(200, {"entity": "collection", "count": len(found),
                           "items": found})

    def do(self, what, given):
        """A payment of an order, or a refund of a payment."""
        prefix = {"payment": "pay", "refund": "rfnd"}[what]
        made = {"id": f"{prefix}_{secrets.token_hex(7)}", "entity": what,
                "currency": "INR", "created_at": int(time.time()), **given}
        self.books.commit([["object", what, made["id"], made]])
        return made

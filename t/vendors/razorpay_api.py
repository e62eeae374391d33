"""Razorpay, as far as this project asks it, after the published API reference.

Basic authentication with "KEY_ID:KEY_SECRET".  What is posted is JSON or a form
(both are taken).  An order asked for twice is two orders; a refund has a key, of
10 characters or more, in X-Refund-Idempotency.  Lists are newest first: from, to (created_at), count (1-100, 10), skip;
{entity: collection, count, items}.

    POST /v1/orders                 amount, currency, receipt, notes
    GET  /v1/orders/ID[/payments]
    GET  /v1/payments[/ID], /v1/refunds
    POST /v1/payments/ID/refund     amount, notes

A test does ("pay") what a customer does in the vendor's own page: the payment
is captured, and the answer has the signature that the page gives back.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
import urllib.parse

from server import Reply

PREFIX = {"payment": "pay", "refund": "rfnd", "order": "order"}


class Api:
    def __init__(self, books, key):
        self.books, self.key = books, key
        self.events = []

    def key_of(self, request):      # of refunds alone
        if not request.path.endswith("/refund"):
            return None

        return request.headers.get("x-refund-idempotency")

    def busy(self):
        return self.error(409, "The request is being processed")

    def error(self, status, text, field=None):
        return Reply(status, {"error": {
            "code": "SERVER_ERROR" if status >= 500 else "BAD_REQUEST_ERROR",
            "description": text, **({"field": field} if field else {})}})

    def sign(self, body, secret):
        return {"X-Razorpay-Signature": self.mac(body, secret)}

    def mac(self, body, secret):
        return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()

    def handle(self, request):
        shown = "Basic " + base64.b64encode(self.key.encode()).decode()

        if request.headers.get("authorization") != shown:
            return self.error(401, "Authentication failed")

        match [request.method, *request.path.strip("/").split("/")]:
            case ["POST", "v1", "orders"]:
                return self._order(self._given(request))
            case ["GET", "v1", "orders", ident]:
                return self._one("order", ident)
            case ["GET", "v1", "orders", ident, "payments"]:
                if self.books.get("order", ident) is None:
                    return self.error(400, "The id provided does not exist")

                return self._items([o for o in self.books.all("payment")
                                    if o.get("order_id") == ident])
            case ["GET", "v1", "payments", ident]:
                return self._one("payment", ident)
            case ["POST", "v1", "payments", ident, "refund"]:
                return self._refund(ident, request)
            case ["GET", "v1", ("payments" | "refunds") as kind]:
                return self._list(kind[:-1], request)

        return self.error(404, "The requested URL was not found")

    def do(self, what, given):
        """A payment of an order, or a refund of a payment, as given; "pay": of
        an order of ours all that it is of, and its event."""
        if what != "pay":
            return self._made(what, given)

        order = self.books.get("order", given["id"])
        made = self._made("payment", {
            "amount": order["amount"], "currency": order["currency"],
            "order_id": order["id"], "status": "captured", "captured": True,
            "notes": order["notes"], **given.get("as", {})})
        self._made("order", {**order, "status": "paid",
                             "amount_paid": order["amount"]})

        if made["captured"]:
            self._event("payment.captured", {"payment": made})

        return {**made, "signature": self.mac(
            f"{order['id']}|{made['id']}".encode(), self.key.split(":")[1])}

    # what there is ----------------------------------------------------------

    def _given(self, request):
        if "json" in request.headers.get("content-type", ""):
            return json.loads(request.body)

        found = {"notes": {}}

        for name, value in urllib.parse.parse_qsl(request.body.decode()):
            if name.startswith("notes["):
                found["notes"][name[6:-1]] = value
            else:
                found[name] = value

        return found

    def _order(self, given):
        amount, currency = str(given.get("amount")), given.get("currency")

        if not amount.isdigit() or int(amount) < 100:
            return self.error(400, "The amount must be at least INR 1.00",
                              "amount")

        if currency != "INR":
            return self.error(400, "Currency is not supported", "currency")

        if len(given.get("receipt") or "") > 40:
            return self.error(400, "The receipt may not be greater than 40 "
                              "characters.", "receipt")

        return Reply(200, self._made("order", {
            "amount": int(amount), "amount_paid": 0, "amount_due": int(amount),
            "currency": currency, "receipt": given.get("receipt"),
            "offer_id": None, "status": "created", "attempts": 0,
            "notes": given.get("notes") or {}}))

    def _refund(self, ident, request):
        key, given = self.key_of(request), self._given(request)
        asked = hashlib.sha256(request.path.encode() + b"\n"
                               + request.body).hexdigest()
        payment = self.books.get("payment", ident)

        if key is not None and not re.fullmatch(r"[\w-]{10,}", key, re.ASCII):
            return self.error(400, "The idempotency key is not valid.")

        if key in self.books.keys:
            kept = self.books.keys[key]

            if kept["asked"] != asked:
                return self.error(400, "Different request with the same "
                                  "idempotency key has already been processed.")

            return Reply(200, kept["body"])

        if payment is None:
            return self.error(400, "The id provided does not exist")

        amount = int(given.get("amount") or payment["amount"])
        left = payment["amount"] - sum(
            o["amount"] for o in self.books.all("refund")
            if o["payment_id"] == ident)

        if not 0 < amount <= left:
            return self.error(400, "The total refund amount is greater than "
                              "the refund payment amount", "amount")

        made = self._made("refund", {
            "payment_id": ident, "amount": amount, "status": "processed",
            "notes": given["notes"], "speed_processed": "normal"},
            key, asked)
        self._event("refund.processed", {"refund": made, "payment": payment})
        return Reply(200, made)

    def _one(self, kind, ident):
        found = self.books.get(kind, ident)

        if found is None:
            return self.error(400, "The id provided does not exist")

        return Reply(200, found)

    def _list(self, kind, request):
        asked = {"from": 0, "to": 2 ** 40, "count": 10, "skip": 0,
                 **{k: int(v) for k, v in request.query}}

        if not 1 <= asked["count"] <= 100:
            return self.error(400, "The count must be between 1 and 100.")

        found = [o for o in reversed(self.books.all(kind))
                 if asked["from"] <= o["created_at"] <= asked["to"]]
        return self._items(found[asked["skip"]:asked["skip"]
                                 + asked["count"]])

    def _items(self, found):
        return Reply(200, {"entity": "collection", "count": len(found),
                           "items": found})

    def _made(self, what, given, key=None, asked=None):
        made = {"id": f"{PREFIX[what]}_{secrets.token_hex(7)}",
                "entity": what, "currency": "INR",
                "created_at": int(time.time()), **given}
        self.books.commit(
            [["object", what, made["id"], made]]
            + ([["key", "", key, {"asked": asked, "body": made}]] if key
               else []))
        return made

    def _event(self, kind, about):
        event = {"entity": "event", "account_id": "acc_loopback",
                 "event": kind, "contains": list(about),
                 "created_at": int(time.time()),
                 "payload": {name: {"entity": one}
                             for name, one in about.items()}}
        # the name is not signed: what sends the events counts by it
        self.events.append({"id": f"event_{secrets.token_hex(7)}", **event})

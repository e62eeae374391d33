"""Stripe, as far as this project calls it, after the published API reference.

Requests are form-encoded, answers JSON; "Authorization: Bearer KEY".  The
answer to the first POST with an Idempotency-Key is kept, and given again to
each later one that asks for the same (with "Idempotent-Replayed: true"); one
that asks for something else gets 400 idempotency_error; one that comes while
the first is under way gets 409.  A request that was refused before it was
begun (bad parameters, 429, 401) is not kept.

    POST /v1/transfers                  amount, currency, destination
    GET  /v1/transfers[/ID]             filters: transfer_group, destination
    POST /v1/payment_intents            confirm=true&payment_method=pm_card_visa
    GET  /v1/payment_intents[/ID]
    POST /v1/payment_intents/ID/confirm
    POST /v1/refunds                    payment_intent, amount
    GET  /v1/refunds[/ID]               filter: payment_intent
    GET  /v1/events[/ID]                type, types[], created[gt,gte,lt,lte]

Lists are newest first: limit (1-100, 10), starting_after, has_more.
"""

import base64
import hashlib
import hmac
import itertools
import secrets
import time
import urllib.parse

from server import Reply

API_VERSION = "2025-08-27.basil"
LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
PREFIX = {"transfer": "tr", "payment_intent": "pi", "refund": "re",
          "event": "evt", "charge": "ch", "dispute": "dp",
          "transfer_reversal": "trr", "account": "acct"}
WINDOW = {"gt": lambda a, b: a > b, "gte": lambda a, b: a >= b,
          "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b}


class Refused(Exception):
    """An answer that is an error.  kept: it was begun, so the answer stays."""

    def __init__(self, status, kind, message, code=None, param=None,
                 kept=False):
        super().__init__(message)
        self.status, self.kept = status, kept
        self.body = {"type": kind, "message": message}

        if code is not None:
            self.body.update(code=code, doc_url="https://stripe.com/docs/"
                             f"error-codes/{code.replace('_', '-')}")

        if param is not None:
            self.body["param"] = param


def nested(pairs):
    """a[b]=c -> {a: {b: c}}, and deeper; a[]=b -> {a: [b]}."""
    found = {}

    for name, value in pairs:
        head, *rest = name.replace("]", "").split("[")

        if rest and (rest[0] == "" or rest[0].isdigit()):
            found.setdefault(head, []).append(value)
        elif rest:
            inner = found.setdefault(head, {})
            for word in rest[:-1]:
                inner = inner.setdefault(word, {})
            inner[rest[-1]] = value
        else:
            found[head] = value

    return found


class Api:
    def __init__(self, books, key):
        self.books, self.key = books, key
        self.events = []
        self.changes = []           # of the request under way
        self.balance = None         # of the platform; None: enough

    # what the server asks ---------------------------------------------------

    def key_of(self, request):
        return request.headers.get("idempotency-key") \
            if request.method == "POST" else None

    def busy(self):
        return self._error(Refused(
            409, "idempotency_error", "There is currently another in-progress"
            " request using this Idempotent Key.", "idempotency_key_in_use"))

    def error(self, status, text):
        return self._error(Refused(
            status, "invalid_request_error" if status == 429 else "api_error",
            text, "rate_limit" if status == 429 else None))

    def sign(self, body, secret):
        at = int(time.time())
        mac = hmac.new(secret.encode(), f"{at}.".encode() + body,
                       hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={at},v1={mac}",
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"}

    def handle(self, request):
        self.changes = []
        key = self.key_of(request)
        asked = hashlib.sha256(f"{request.method} {request.path}\n".encode()
                               + request.body).hexdigest()

        try:
            self._authorize(request)

            if key is not None and key in self.books.keys:
                return self._replay(self.books.keys[key], asked, key)

            reply = Reply(200, self._route(request))
        except Refused as refused:
            reply = self._error(refused)

            if not refused.kept:
                return reply

            self.changes = []

        if request.method == "POST":
            if key is not None:
                self.changes.append(["key", "", key, {
                    "asked": asked, "status": reply.status,
                    "body": reply.body}])
                reply.headers["Idempotency-Key"] = key

            self._commit()

        reply.headers["Request-Id"] = self._id("req")
        reply.headers["Stripe-Version"] = API_VERSION
        return reply

    def do(self, what, given):
        """What no caller of the API does."""
        self.changes = []

        if what == "balance":
            self.balance = given["amount"]
            return {}

        if what == "pay":           # a customer, with a card that is good
            done = self._confirm(self._get("payment_intent", given["id"]),
                                 "pm_card_visa")
        elif what == "dispute":
            done = self._dispute(self._get("payment_intent", given["id"]))
        elif what == "close":       # a dispute: won, or lost
            done = self._close(self._get("dispute", given["id"]),
                               given["status"])
        elif what == "reverse":
            done = self._reverse(self._get("transfer", given["id"]), given)
        elif what == "account":     # its owner has told Stripe more, or less
            done = self._account_is(self._get("account", given["id"]),
                                    given["charges"], given["payouts"])
        elif what == "event":
            done = self._event(given["type"], given["object"])
        else:
            raise ValueError(f"cannot do {what}")

        self._commit()
        return done

    def checkout(self, secret):
        """The customer's browser pays what it has the secret of; doing it
        twice is doing it once."""
        for intent in self.books.all("payment_intent"):
            if hmac.compare_digest(intent["client_secret"].encode(),
                                   str(secret).encode()):
                break
        else:
            return Reply(404, {"error": {"message": "No such payment"}})

        if intent["status"] != "succeeded":
            self.changes = []
            self._confirm(intent, "pm_card_visa")
            self._commit()

        return Reply(200, {"status": "succeeded"})

    # the ways in ------------------------------------------------------------

    def _authorize(self, request):
        given = request.headers.get("authorization", "")

        if given.startswith("Basic "):
            given = base64.b64decode(given[6:]).decode().partition(":")[0]
        else:
            given = given.removeprefix("Bearer ")

        if not hmac.compare_digest(given.encode(), self.key.encode()):
            raise Refused(401, "invalid_request_error",
                          "Invalid API Key provided")

    def _replay(self, kept, asked, key):
        if kept["asked"] != asked:
            raise Refused(400, "idempotency_error", "Keys for idempotent "
                          "requests can only be used with the same parameters "
                          "they were first used with.")

        return Reply(kept["status"], kept["body"],
                     {"Idempotent-Replayed": "true", "Idempotency-Key": key,
                      "Request-Id": self._id("req")})

    def _route(self, request):
        words = request.path.strip("/").split("/")
        given = nested(request.query)

        if request.method == "POST":
            if "application/x-www-form-urlencoded" not in \
                    request.headers.get("content-type", ""):
                raise Refused(400, "invalid_request_error",
                              "The request must be form-encoded.")

            given = nested(urllib.parse.parse_qsl(
                request.body.decode(), True, strict_parsing=bool(request.body)))

        match [request.method, *words]:
            case ["POST", "v1", "transfers"]:
                return self._transfer(given)
            case ["POST", "v1", "accounts"]:
                return self._account(given)
            case ["POST", "v1", "accounts", ident]:
                account = self._get("account", ident)
                return self._change("account", account, {
                    "metadata": {**account["metadata"],
                                 **given.get("metadata", {})}}, None)
            case ["POST", "v1", "account_links"]:
                return self._account_link(given)
            case ["POST", "v1", "payment_intents"]:
                return self._payment_intent(given)
            case ["POST", "v1", "payment_intents", ident, "confirm"]:
                return self._confirm(self._get("payment_intent", ident),
                                     given.get("payment_method"))
            case ["POST", "v1", "refunds"]:
                return self._refund(given)
            case ["GET", "v1", ("transfers" | "payment_intents" | "refunds"
                                | "events" | "charges") as kind]:
                return self._list(kind, given)
            case ["GET", "v1", ("transfers" | "payment_intents" | "refunds"
                                | "events" | "charges" | "accounts")
                  as kind, ident]:
                return self._get(kind[:-1], ident)

        raise Refused(404, "invalid_request_error", "Unrecognized request URL"
                      f" ({request.method}: {request.path}).")

    # what there is ----------------------------------------------------------

    def _transfer(self, given):
        amount, currency = self._amount(given), self._currency(given)
        to = given.get("destination")

        if not to:
            raise Refused(400, "invalid_request_error",
                          "Missing required param: destination.",
                          "parameter_missing", "destination")

        if not to.startswith("acct_") or "gone" in to:
            raise Refused(400, "invalid_request_error",
                          f"No such destination: '{to}'", "resource_missing",
                          "destination")

        if self.balance is not None and amount > self.balance:
            raise Refused(400, "invalid_request_error",
                          "You have insufficient available funds in your"
                          " Stripe account.", "balance_insufficient",
                          kept=True)

        if self.balance is not None:
            self.balance -= amount

        ident = self._id("transfer")
        return self._new("transfer", ident, {
            "amount": amount, "amount_reversed": 0,
            "balance_transaction": self._id("txn"), "currency": currency,
            "description": given.get("description"), "destination": to,
            "destination_payment": self._id("py"), "reversals": {
                "object": "list", "data": [], "has_more": False,
                "total_count": 0, "url": f"/v1/transfers/{ident}/reversals"},
            "reversed": False, "source_transaction": None,
            "source_type": "card", "transfer_group":
                given.get("transfer_group")}, given, "transfer.created")

    def _account(self, given):
        country = given.get("country", "")

        if not (len(country) == 2 and country.isalpha()
                and country.isupper()):
            raise Refused(400, "invalid_request_error",
                          f"Country '{country}' is unknown.",
                          "country_unsupported", "country")

        if given.get("type") not in ("express", "standard", "custom"):
            raise Refused(400, "invalid_request_error",
                          f"Invalid type: {given.get('type')}", None, "type")

        if country == "XX":
            raise Refused(400, "invalid_request_error",
                          "XX is not currently supported by Stripe.",
                          "country_unsupported", "country")

        made = self._new("account", self._id("account"), {
            "business_profile": {"name": None, "url": None},
            "capabilities": {name: "inactive" for name, asked in
                             given.get("capabilities", {}).items()
                             if asked.get("requested") == "true"},
            "charges_enabled": False, "country": country,
            "default_currency": "inr" if country == "IN" else "usd",
            "details_submitted": False, "email": given.get("email"),
            "payouts_enabled": False, "requirements": {
                "currently_due": ["external_account"],
                "disabled_reason": "requirements.past_due"},
            "type": given["type"]}, given, None)
        # the one kind of object that does not say it
        return {k: v for k, v in made.items() if k != "livemode"}

    def _account_link(self, given):
        self._get("account", given.get("account", ""), "account")

        for name in ("refresh_url", "return_url"):
            if not given.get(name, "").startswith("https://"):
                raise Refused(400, "invalid_request_error",
                              f"Not a valid URL: {given.get(name)}",
                              "url_invalid", name)

        if given.get("type") != "account_onboarding":
            raise Refused(400, "invalid_request_error",
                          f"Invalid type: {given.get('type')}", None, "type")

        now = int(time.time())
        # has no id
        return {"object": "account_link", "created": now,
                "expires_at": now + 300, "url":
                    f"https://connect.stripe.com/setup/e/{given['account']}/"
                    + self._id("x")[2:]}

    def _account_is(self, account, charges, payouts):
        return self._change("account", account, {
            "charges_enabled": charges, "payouts_enabled": payouts,
            "details_submitted": True, "requirements": {
                "currently_due": [], "disabled_reason": None
                if charges and payouts else "requirements.past_due"}},
            "account.updated")

    def _payment_intent(self, given):
        amount, currency = self._amount(given), self._currency(given)
        ident = self._id("payment_intent")
        intent = self._new("payment_intent", ident, {
            "amount": amount, "amount_capturable": 0, "amount_received": 0,
            "capture_method": "automatic_async", "client_secret":
                f"{ident}_secret_{self._id('x')[2:]}",
            "confirmation_method": "automatic", "currency": currency,
            "customer": given.get("customer"), "description":
                given.get("description"), "last_payment_error": None,
            "latest_charge": None, "payment_method": None,
            "payment_method_types": ["card"],
            "status": "requires_payment_method"}, given,
            "payment_intent.created")

        if given.get("confirm") == "true":
            return self._confirm(intent, given.get("payment_method"))

        return intent

    def _confirm(self, intent, method):
        if intent["status"] == "succeeded":
            raise Refused(400, "invalid_request_error", "You cannot confirm "
                          "this PaymentIntent because it has already "
                          "succeeded.", "payment_intent_unexpected_state",
                          kept=True)

        if not method:
            raise Refused(400, "invalid_request_error", "You must provide a "
                          "payment_method.", "parameter_missing",
                          "payment_method")

        if method != "pm_card_visa":
            raise Refused(402, "card_error", "Your card was declined.",
                          "card_declined", kept=True)

        charge = self._new("charge", self._id("charge"), {
            "amount": intent["amount"], "amount_captured": intent["amount"],
            "amount_refunded": 0, "captured": True,
            "currency": intent["currency"], "disputed": False, "paid": True,
            "payment_intent": intent["id"], "refunded": False,
            "status": "succeeded"}, {"metadata": intent["metadata"]},
            "charge.succeeded")
        return self._change("payment_intent", intent, {
            "status": "succeeded", "amount_received": intent["amount"],
            "payment_method": method, "latest_charge": charge["id"]},
            "payment_intent.succeeded")

    def _refund(self, given):
        intent = self._get("payment_intent", given.get("payment_intent", ""),
                           "payment_intent")

        if intent["status"] != "succeeded":
            raise Refused(400, "invalid_request_error", "This PaymentIntent "
                          "does not have a successful charge to refund.",
                          "payment_intent_unexpected_state",
                          "payment_intent", kept=True)

        charge = self._get("charge", intent["latest_charge"])

        if charge["disputed"]:
            raise Refused(400, "invalid_request_error", f"Charge "
                          f"{charge['id']} has been charged back; cannot "
                          "issue a refund.", "charge_disputed", kept=True)

        left = charge["amount"] - charge["amount_refunded"]
        amount = self._amount(given) if "amount" in given else left

        if left == 0 or amount > left:
            raise Refused(400, "invalid_request_error", "Refund amount"
                          f" ({amount}) is greater than unrefunded amount on"
                          f" charge ({left})", "charge_already_refunded"
                          if left == 0 else None, "amount", kept=True)

        refund = self._new("refund", self._id("refund"), {
            "amount": amount, "balance_transaction": self._id("txn"),
            "charge": charge["id"], "currency": charge["currency"],
            "payment_intent": intent["id"], "reason": given.get("reason"),
            "receipt_number": None, "source_transfer_reversal": None,
            "status": "succeeded", "transfer_reversal": None}, given,
            "refund.created")
        refunded = charge["amount_refunded"] + amount
        self._change("charge", charge, {
            "amount_refunded": refunded,
            "refunded": refunded == charge["amount"]}, "charge.refunded")
        return refund

    def _dispute(self, intent):
        charge = self._get("charge", intent["latest_charge"])
        self._change("charge", charge, {"disputed": True}, None)
        return self._new("dispute", self._id("dispute"), {
            "amount": charge["amount"] - charge["amount_refunded"],
            "charge": charge["id"],
            "currency": charge["currency"], "payment_intent": intent["id"],
            "reason": "fraudulent", "status": "needs_response"}, {},
            "charge.dispute.created")

    def _close(self, dispute, status):
        charge = self._get("charge", dispute["charge"])

        if status == "won":
            self._change("charge", charge, {"disputed": False}, None)

        return self._change("dispute", dispute, {"status": status},
                            "charge.dispute.closed")

    def _reverse(self, transfer, given):
        """Of a transfer's amount, so much comes back; all that is left."""
        gone = transfer["amount_reversed"]
        gone += given.get("amount", transfer["amount"] - gone)
        return self._change("transfer", transfer, {
            "amount_reversed": gone, "reversed": gone == transfer["amount"]},
            "transfer.reversed")

    # small things -----------------------------------------------------------

    def _amount(self, given):
        text = given.get("amount")

        if text is None:
            raise Refused(400, "invalid_request_error",
                          "Missing required param: amount.",
                          "parameter_missing", "amount")

        if not text.isascii() or not text.isdigit():
            raise Refused(400, "invalid_request_error",
                          f"Invalid integer: {text}",
                          "parameter_invalid_integer", "amount")

        if not 1 <= int(text) <= 99999999:
            raise Refused(400, "invalid_request_error", "Amount must be at "
                          "least 1 and no more than 999,999.99",
                          "amount_too_small" if int(text) < 1
                          else "amount_too_large", "amount")

        return int(text)

    def _currency(self, given):
        text = given.get("currency", "")

        if len(text) != 3 or not text.isalpha() or text != text.lower():
            raise Refused(400, "invalid_request_error",
                          f"Invalid currency: {text}", None, "currency")

        return text

    def _id(self, kind):
        return PREFIX.get(kind, kind) + "_" + "".join(
            secrets.choice(LETTERS) for _ in range(24))

    def _get(self, kind, ident, param="id"):
        for _, of, found, value in reversed(self.changes):
            if of == kind and found == ident:
                return value

        known = self.books.get(kind, ident)

        if known is None:
            raise Refused(404, "invalid_request_error",
                          f"No such {kind}: '{ident}'", "resource_missing",
                          param)

        return known

    def _new(self, kind, ident, fields, given, event):
        made = {"id": ident, "object": kind, "created": int(time.time()),
                "livemode": False, "metadata": given.get("metadata", {}),
                **fields}
        self.changes.append(["object", kind, ident, made])

        if event is not None:
            self._event(event, made)

        return made

    def _change(self, kind, old, fields, event):
        made = {**old, **fields}
        self.changes.append(["object", kind, made["id"], made])

        if event is not None:
            self._event(event, made)

        return made

    def _event(self, kind, about):
        ident = self._id("event")
        event = {"id": ident, "object": "event", "api_version": API_VERSION,
                 "created": int(time.time()), "data": {"object": dict(about)},
                 "livemode": False, "pending_webhooks": 1,
                 "request": {"id": None, "idempotency_key": None},
                 "type": kind}

        if about.get("object") == "account":    # it is told of, and by, it
            event["account"] = about["id"]

        self.changes.append(["object", "event", ident, event])
        return event

    def _commit(self):
        self.books.commit(self.changes)
        self.events += [value for what, kind, _, value in self.changes
                        if what == "object" and kind == "event"]
        self.changes = []

    def _list(self, kind, given):
        limit = given.get("limit", "10")

        if not limit.isdigit() or not 1 <= int(limit) <= 100:
            raise Refused(400, "invalid_request_error",
                          "Invalid limit: must be 1 to 100", None, "limit")

        rows = self.books.objects.get(kind[:-1], {})
        found = reversed(rows.values())

        if "starting_after" in given:
            self._get(kind[:-1], given["starting_after"], "starting_after")
            found = itertools.dropwhile(
                lambda row: row["id"] != given["starting_after"], found)
            next(found, None)

        found = (row for row in found if self._wanted(row, given))
        page = list(itertools.islice(found, int(limit) + 1))
        return {"object": "list", "url": f"/v1/{kind}",
                "has_more": len(page) > int(limit), "data": page[:int(limit)]}

    def _wanted(self, row, given):
        window = given.get("created", {})

        if isinstance(window, str):
            window = {"gte": window, "lte": window}

        return (all(WINDOW[op](row["created"], int(at))
                    for op, at in window.items())
                and all(row.get(name) == given[name] for name in
                        ("type", "transfer_group", "destination",
                         "payment_intent") if name in given)
                and ("types" not in given or row.get("type")
                     in given["types"]))

    def _error(self, refused):
        headers = {"Request-Id": self._id("req")}

        if refused.status == 409:
            headers["Stripe-Should-Retry"] = "true"

        return Reply(refused.status, {"error": refused.body}, headers)

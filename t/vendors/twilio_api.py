"""Twilio's Messages, as far as this project asks it, after the published API
reference.

Basic authentication with "ACCOUNT_SID:AUTH_TOKEN".  There are no idempotency
keys: what is asked for twice is sent twice.

    POST /2010-04-01/Accounts/{sid}/Messages.json   To, From or
                                        MessagingServiceSid, Body -> 201
"""

import base64
import re
import secrets
import urllib.parse

from server import Reply


class Api:
    def __init__(self, books, key):
        self.books, self.key = books, key
        self.sid = key.split(":")[0]
        self.events = []

    def key_of(self, request):
        return None

    def error(self, status, text, code=20500):
        return Reply(status, {
            "code": code, "message": text, "status": status,
            "more_info": f"https://www.twilio.com/docs/errors/{code}"})

    def sign(self, body, secret):
        return {}

    def handle(self, request):
        shown = "Basic " + base64.b64encode(self.key.encode()).decode()

        if request.headers.get("authorization") != shown:
            return self.error(401, "Authenticate", 20003)

        if request.path != f"/2010-04-01/Accounts/{self.sid}/Messages.json":
            return self.error(404, "The requested resource was not found",
                              20404)

        if request.method != "POST":
            return self.error(405, "Method not allowed", 20004)

        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        known = {"To", "From", "MessagingServiceSid", "Body"}

        if set(form) - known:
            return self.error(400, f"unexpected {sorted(set(form) - known)}",
                              21600)

        if not re.fullmatch(r"\+[1-9][0-9]{6,14}", form.get("To", "")):
            return self.error(400, "The 'To' number is not a valid phone "
                              f"number: {form.get('To')}", 21211)

        # a vendor that repeats what it was told
        if form["To"].endswith("0000000"):
            return self.error(400, f"cannot deliver '{form.get('Body')}' to "
                              f"{form['To']}", 21612)

        if not form.get("Body"):
            return self.error(400, "Message body is required.", 21602)

        if not ("From" in form) ^ ("MessagingServiceSid" in form):
            return self.error(400, "A 'From' phone number is required.",
                              21603)

        made = {"sid": "SM" + secrets.token_hex(16),
                "account_sid": self.sid, "to": form["To"],
                "from": form.get("From"), "body": form["Body"],
                "messaging_service_sid": form.get("MessagingServiceSid"),
                "status": "queued", "direction": "outbound-api",
                "num_segments": "1", "error_code": None,
                "error_message": None}
        self.books.commit([["object", "message", made["sid"], made]])
        return Reply(201, made)

    def do(self, what, given):
        raise ValueError(what)

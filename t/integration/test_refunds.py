"""Payments given back at the vendor: what the vendor really did is what the
books say, whatever fails, and never more than was paid."""

import json
import os
import random
import time
import urllib.parse
import urllib.request
import uuid

import psycopg
import pytest

from billing_fixture import BINARY, Talk, eventually
from billing_fixture import bench, empty, redis     # noqa: F401
from sql_fixture import call1, sql                  # noqa: F401
from vendor_fixture import Vendor, hurry

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


@pytest.fixture
def stripe():
    vendor = Vendor(seed=random.getrandbits(32))
    print("vendor's seed:", vendor.seed)
    yield vendor
    vendor.close()


class Shop:
    """Payments of clients at the vendor, and what of it we are told."""

    def __init__(self, bench, stripe):      # noqa: F811
        self.bench, self.stripe = bench, stripe
        self.heard = 0          # of the vendor's events
        self.admin = bench.one(
            "INSERT INTO identity.account (email, name, role, password_hash)"
            " VALUES ('boss@bill.test', 'n', 'admin', 'h') RETURNING id")
        self.web = psycopg.connect(bench.dsn("astro_web"), autocommit=True)

    def ask(self, path, **form):
        """As somebody who works at the vendor's own pages; the answer."""
        request = urllib.request.Request(
            self.stripe.url + path, urllib.parse.urlencode(form).encode(),
            {"Authorization": "Bearer " + self.stripe.key,
             "Idempotency-Key": uuid.uuid4().hex})

        while True:
            try:
                with urllib.request.urlopen(request) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code in (400, 402):
                    return None
                time.sleep(0.01)
            except (OSError, ValueError):
                time.sleep(0.01)

    def pay(self, client, amount, hear=True):
        """A card is charged; the payment's row."""
        intent = self.ask("/v1/payment_intents", amount=amount,
                          currency="inr", confirm="true",
                          payment_method="pm_card_visa")["id"]
        self.bench.rows("SELECT billing.payment_expect('stripe', %s, %s, %s,"
                        " 'INR')", intent, client, amount)
        row = self.bench.one("SELECT id FROM ledger.payment"
                             " WHERE payment_id = %s", intent)

        if hear:
            self.tell()
            eventually(lambda: self.bench.one(
                "SELECT status = 'paid' FROM ledger.payment WHERE id = %s",
                row))

        return row, intent

    def events(self):
        return self.stripe.books("event")

    def say(self, event):
        with self.web.cursor() as cur:
            cur.execute("SELECT status FROM api.webhook('stripe', %s)",
                        (json.dumps(event),))
            assert cur.fetchone() == (200,)

    def tell(self):
        """All that has not come, as the vendor's webhooks would."""
        events = self.events()

        for event in events[self.heard:]:
            self.say(event)

        self.heard = len(events)

    def refund(self, payment, amount=None, **other):
        """As an admin; the id, or the code of a refusal."""
        try:
            done = call1(self.web, "payment_refund", self.admin, payment,
                         json.dumps({"amount": amount, **other}))
        except psycopg.Error as error:
            assert error.sqlstate == "AS400", error
            return error.diag.message_detail

        assert done["status"] == 201
        return int(done["body"]["id"][2:])

    def state(self, refund):
        return self.bench.one("SELECT state FROM ledger.refund WHERE id = %s",
                              refund)

    def ended(self, refund, state):
        eventually(lambda: (hurry(self.bench), self.state(refund) == state)[1],
                   60, f"refund {refund} is {state}")

    def money(self, client):
        """(balance, promo, frozen, owed)"""
        rows = {kind: rest for kind, *rest in self.bench.rows(
            "SELECT kind, balance, promo FROM ledger.wallet"
            " WHERE owner_id = %s", client)}
        return (*rows["client"], rows.get("frozen", [0])[0],
                -rows.get("receivable", [0])[0])


@pytest.fixture
def shop(bench, stripe):        # noqa: F811
    made = Shop(bench, stripe)
    yield made
    made.web.close()


def work(shop, **settings):
    return shop.bench.worker(stripe_url=shop.stripe.url,
                             stripe_key_file=shop.stripe.key_file,
                             **settings).ready()


def test_h5_a_payment_is_given_back_at_the_vendor(shop):
    """The money is set aside at once; when the vendor has done it, it has left
    the books, with the part of the promo that came with it.  Answer and webhook
    say so in either order, and count once."""
    work(shop)
    client = shop.bench.account("client")
    payment, intent = shop.pay(client, 1000)
    shop.bench.rows("SELECT billing.promo(%s, 333, 'bonus', %s)", client,
                    "stripe:" + intent)
    assert shop.money(client) == (1333, 333, 0, 0)

    one = shop.refund(payment, 500, reason="told twice")
    shop.ended(one, "done")
    assert shop.money(client) == (1333 - 500 - 166, 333 - 166, 0, 0)
    shop.tell()
    two = shop.refund(payment)
    shop.ended(two, "done")
    shop.tell()
    eventually(lambda: shop.bench.one(
        "SELECT count(*) FROM ledger.webhook_inbox WHERE state = 'waiting'")
        == 0)
    assert shop.money(client) == (0, 0, 0, 0)
    assert shop.refund(payment) == shop.refund(payment, 1) == "conflict"

    theirs = {r["id"]: (r["amount"], r["metadata"]["refund"])
              for r in shop.stripe.books("refund")}
    assert theirs == {name: (amount, str(ident)) for name, amount, ident in
                      shop.bench.rows("SELECT vendor_id, amount, id"
                                      "  FROM ledger.refund")}
    assert sorted(a for a, _ in theirs.values()) == [500, 500]
    assert shop.bench.one("SELECT refunded FROM ledger.payment"
                          " WHERE id = %s", payment) == 1000
    assert shop.bench.one(
        "SELECT count(*) FROM ledger.webhook_inbox WHERE kind = 'refunded'"
        "   AND state = 'ignored' AND reason = 'it was done before'") == 2
    assert shop.bench.one("SELECT count(*) FROM consult.admin_log"
                          " WHERE act = 'payment_refund' AND about = %s",
                          f"m_{payment}") == 2
    shop.bench.clean()


def test_h5_the_webhook_is_before_the_answer(shop):
    """The vendor did it, and its answer was lost; the webhook is what tells.
    The call that is made again finds it done."""
    worker = work(shop)
    client = shop.bench.account("client")
    payment, _ = shop.pay(client, 1000)
    shop.stripe.faults(lost=1)
    refund = shop.refund(payment, 400)
    eventually(lambda: shop.stripe.books("refund"))
    assert shop.state(refund) == "pending"
    assert shop.money(client) == (600, 0, 400, 0)
    shop.tell()
    eventually(lambda: shop.state(refund) == "done")
    shop.stripe.faults()
    eventually(lambda: (hurry(shop.bench), shop.bench.one(
        "SELECT state = 'delivered' AND attempts > 1 FROM billing.outbox"))[1],
        60)
    assert len(shop.stripe.books("refund")) == 1
    assert shop.money(client) == (600, 0, 0, 0)
    worker.stop()
    shop.bench.clean()


def test_h5_the_vendor_says_no(shop):
    """What was set aside is the client's again, once, and can be given back
    later."""
    client = shop.bench.account("client")
    worker = work(shop)
    payment, intent = shop.pay(client, 1000)
    worker.stop()
    refund = shop.refund(payment, 700)
    assert shop.money(client) == (300, 0, 700, 0)
    assert shop.refund(payment, 301) == "bad_request"
    assert shop.stripe.do("dispute", id=intent)
    work(shop)
    shop.ended(refund, "failed")
    assert "charge_disputed" in shop.bench.one(
        "SELECT error FROM ledger.refund WHERE id = %s", refund)
    assert shop.money(client) == (1000, 0, 0, 0)

    # and the dispute freezes; then nothing is given back
    shop.tell()
    eventually(lambda: shop.money(client) == (0, 0, 1000, 0))
    assert shop.refund(payment, 1) == "conflict"
    shop.stripe.do("close", id=shop.stripe.books("dispute")[0]["id"],
                   status="won")
    shop.tell()
    eventually(lambda: shop.money(client) == (1000, 0, 0, 0))
    shop.ended(shop.refund(payment), "done")
    assert shop.money(client) == (0, 0, 0, 0)
    shop.bench.clean()


def test_h5_spent_money_is_owed(shop):
    """What is there is set aside, the rest is the client's debt when the
    vendor has done it; and the next payment pays it."""
    work(shop)
    client, advisor = (shop.bench.account(x) for x in ("client", "advisor"))
    payment, _ = shop.pay(client, 1000)
    shop.bench.rows("SELECT billing.gift(%s, %s, 800, NULL, 'g')", client,
                    advisor)
    shop.ended(shop.refund(payment), "done")
    assert shop.money(client) == (0, 0, 0, 800)
    shop.pay(client, 1000)
    assert shop.money(client) == (200, 0, 0, 0)
    shop.bench.clean()


@pytest.mark.parametrize("code, body, why", [
    ("not_found", None, None), ("conflict", "expected", None),
    ("bad_request", None, {"amount": 0}), ("forbidden", None, "client")])
def test_h5_refused(shop, code, body, why):
    client = shop.bench.account("client")
    payment = 10 ** 9

    if code != "not_found":
        shop.bench.rows("SELECT billing.payment_expect('stripe', 'pi_x', %s,"
                        " 100, 'INR')", client)
        payment = shop.bench.one("SELECT id FROM ledger.payment")

    if why == "client":
        shop.admin = client

    assert shop.refund(payment, **(why if isinstance(why, dict) else {})) \
        == code
    assert shop.bench.one("SELECT count(*) FROM billing.outbox") == 0


def test_h5_whatever_comes_in_whatever_order(shop):
    """Refunds by admins and at the vendor's, disputes opened, won and lost, a
    session that ticks, gifts, promo; answers that are lost, webhooks that come
    twice, late and in another order.  Then the vendor's books and ours agree, no
    more went back than was paid, and the audit finds nothing."""
    seed = int(os.environ.get("ASTRO_SEED", random.randrange(2 ** 32)))
    print(f"ASTRO_SEED={seed}")
    dice = random.Random(seed)
    bench, stripe = shop.bench, shop.stripe      # noqa: F811
    work(shop, calls_at_once=4)
    talk = Talk(bench, topup=5000, rate=60000).active()
    clients = [talk.client, bench.account("client")]
    payments = [shop.pay(clients[i % 2], dice.randint(1, 20) * 100)
                for i in range(4)]

    for payment, intent in payments[:2]:
        owner = bench.one("SELECT owner_id FROM ledger.payment WHERE id = %s",
                          payment)
        bench.rows("SELECT billing.promo(%s, %s, %s, %s)", owner,
                   dice.randint(1, 500), f"b{payment}", "stripe:" + intent)

    stripe.faults(delay=0.1, delay_ms=50, error=0.1, error_after=0.1,
                  lost=0.2, hangup=0.1)
    late = []

    for _ in range(60):
        payment, intent = dice.choice(payments)
        what = dice.choice(["refund", "refund", "refund", "theirs", "gift",
                            "dispute", "close", "hear", "hear", "hear",
                            "hurry"])

        if what == "refund":
            shop.refund(payment, dice.choice([None, 1, 77,
                                              dice.randint(1, 2000)]))
        elif what == "theirs":
            shop.ask("/v1/refunds", payment_intent=intent,
                     amount=dice.randint(1, 300))
        elif what == "gift":
            try:
                bench.rows("SELECT billing.gift(%s, %s, %s, NULL, %s)",
                           dice.choice(clients), talk.advisor,
                           dice.randint(1, 300), uuid.uuid4().hex)
            except psycopg.Error as error:
                assert error.sqlstate == "AS002"
        elif what == "dispute":
            charge, = [c for c in stripe.books("charge")
                       if c["payment_intent"] == intent]
            if (not charge["disputed"] and dice.random() < .5
                    and charge["amount_refunded"] < charge["amount"]):
                stripe.do("dispute", id=intent)
        elif what == "close":
            open_ = [d for d in stripe.books("dispute")
                     if d["status"] == "needs_response"]
            if open_:
                stripe.do("close", id=dice.choice(open_)["id"],
                          status=dice.choice(["won", "lost"]))
        elif what == "hear":
            events = shop.events()
            late += events[shop.heard:]
            shop.heard = len(events)
            for event in dice.sample(late, min(len(late), 3)):
                shop.say(event)
                if dice.random() < .7:
                    late.remove(event)
        else:
            hurry(bench)

    stripe.faults()
    talk.end()
    eventually(lambda: (hurry(bench), bench.one(
        "SELECT count(*) FROM billing.outbox WHERE state = 'waiting'") == 0
    )[1], 60)
    late += shop.events()[shop.heard:]
    dice.shuffle(late)

    for event in late:
        shop.say(event)

    eventually(lambda: bench.one("SELECT count(*) FROM ledger.webhook_inbox"
                                 " WHERE state = 'waiting'") == 0, 60)
    bench.until(talk.id, "settled")
    bench.clean()

    assert bench.rows("SELECT id, reason FROM ledger.webhook_inbox"
                      " WHERE state = 'parked'") == []
    assert bench.rows("SELECT * FROM ledger.refund WHERE state = 'pending'"
                      " OR state = 'done' AND vendor_id IS NULL") == []
    lost = {d["payment_intent"]: d["amount"] for d in stripe.books("dispute")
            if d["status"] == "lost"}
    open_ = {d["payment_intent"] for d in stripe.books("dispute")
             if d["status"] == "needs_response"}
    gone = {c["payment_intent"]: c["amount_refunded"]
            + lost.get(c["payment_intent"], 0)
            for c in stripe.books("charge")}
    ours = {intent: (amount, refunded, disputed)
            for intent, amount, refunded, disputed in bench.rows(
                "SELECT payment_id, amount, refunded, disputed"
                "  FROM ledger.payment")}
    assert gone == {intent: row[1] for intent, row in ours.items()}
    assert all(row[1] <= row[0] for row in ours.values())
    # a dispute that came before it could freeze anything is one all the same
    assert {i for i, row in ours.items() if row[2]} <= open_
    assert bench.rows(
        "SELECT p.payment_id FROM ledger.payment p WHERE p.refunded <>"
        " (SELECT coalesce(sum(t.amount), 0) FROM ledger.transfer t"
        "   WHERE t.about = p.transfer_id AND t.kind = 'refund')") == []
    print({state: n for state, n in bench.rows(
        "SELECT state, count(*) FROM ledger.refund GROUP BY 1")}, gone)


class Order:
    """An order of Razorpay's that was paid; what it is told of."""

    def __init__(self, shop, vendor, client, amount):
        self.shop, self.client = shop, client
        self.paid = vendor.do(
            "payment", order_id="order_1", amount=amount, notes={},
            status="captured", captured=True)
        shop.bench.rows("SELECT billing.payment_expect('razorpay', 'order_1',"
                        " %s, %s, 'INR')", client, amount)
        self.row = shop.bench.one("SELECT id FROM ledger.payment")
        assert self.tell("payment.captured") == "applied"

    def tell(self, kind, **refund):
        """What came of the event; refund: of what the vendor made of ours."""
        payload = {"payment": {"entity": self.paid}}

        if refund:
            payload["refund"] = {"entity": {
                "id": refund["id"], "amount": refund["amount"],
                "currency": "INR", "payment_id": self.paid["id"],
                "notes": {"refund": str(refund["ours"])}}}

        said = json.dumps({"entity": "event", "event": kind,
                           "payload": payload, "nonce": uuid.uuid4().hex})
        with self.shop.web.cursor() as cur:
            cur.execute("SELECT status FROM api.webhook('razorpay', %s)",
                        (said,))
            assert cur.fetchone() == (200,)
        bench = self.shop.bench                     # noqa: F811
        ident = bench.one("SELECT max(id) FROM ledger.webhook_inbox")
        eventually(lambda: (hurry(bench), bench.one(
            "SELECT state <> 'waiting' FROM ledger.webhook_inbox"
            " WHERE id = %s", ident))[1])
        return bench.one("SELECT state FROM ledger.webhook_inbox"
                         " WHERE id = %s", ident)


@pytest.fixture
def razorpay():
    vendor = Vendor("razorpay", key="rzp_test_loopback:secret")
    yield vendor
    vendor.close()


def razorpay_work(shop, razorpay):
    return shop.bench.worker(razorpay_url=razorpay.url,
                             razorpay_key_file=razorpay.key_file).ready()


def test_h5_razorpay_gives_back_once(shop, razorpay):
    """It has a header of its own for the key of a refund.  An answer that was
    lost is asked for again, and it is the same refund."""
    razorpay_work(shop, razorpay)
    client = shop.bench.account("client")
    order = Order(shop, razorpay, client, 1000)
    razorpay.faults(lost=1)
    refund = shop.refund(order.row, 400)
    eventually(lambda: (hurry(shop.bench), shop.bench.one(
        "SELECT attempts > 1 FROM billing.outbox"))[1], 60)
    razorpay.faults()
    shop.ended(refund, "done")
    made, = razorpay.books("refund")
    assert (made["amount"], made["payment_id"], made["notes"]) \
        == (400, order.paid["id"], {"refund": str(refund)})
    assert shop.bench.one("SELECT vendor_id FROM ledger.refund") == made["id"]
    assert order.tell("refund.processed", ours=refund, **made) == "ignored"
    assert shop.money(client) == (600, 0, 0, 0)

    # the vendor has done it twice, whatever it was: somebody must look
    assert order.tell("refund.processed", ours=refund, id="rfnd_other",
                      amount=400) == "parked"
    assert shop.bench.one("SELECT reason LIKE '%%somebody must look'"
                          "  FROM ledger.webhook_inbox"
                          " WHERE state = 'parked'")
    assert shop.money(client) == (600, 0, 0, 0)
    shop.bench.clean()


def test_h5_done_after_all(shop, razorpay):
    """It had failed, and the client has it again; then the vendor says that it
    was done.  So the money is gone, once."""
    razorpay_work(shop, razorpay)
    client = shop.bench.account("client")
    order = Order(shop, razorpay, client, 1000)
    razorpay.faults(error=1)
    refund = shop.refund(order.row, 400)
    theirs = {"ours": refund, "id": "rfnd_1", "amount": 400}
    assert order.tell("refund.failed", **theirs) == "applied"
    assert shop.money(client) == (1000, 0, 0, 0)
    assert order.tell("refund.processed", **theirs) == "applied"
    assert order.tell("refund.processed", **theirs) == "ignored"
    assert shop.money(client) == (600, 0, 0, 0)
    assert shop.bench.one("SELECT refunded FROM ledger.payment") == 400
    assert order.tell("refund.failed", **theirs) == "parked"
    assert shop.money(client) == (600, 0, 0, 0)
    shop.bench.clean()


def test_h5_refunds_are_recorded_one_by_one(shop):
    """So that none waits for a payment with the wallets of another: whatever
    has been answered meanwhile."""
    work(shop, calls_at_once=4)
    payments = [shop.pay(shop.bench.account("client"), 1000)[0]
                for _ in range(4)]

    with psycopg.connect(shop.bench.dsn()) as other:
        refunds = [shop.refund(payment) for payment in payments]
        other.execute("SELECT FROM ledger.payment FOR UPDATE")
        eventually(lambda: len(shop.stripe.books("refund")) == 4)
        time.sleep(0.2)

    for refund in refunds:
        shop.ended(refund, "done")

    assert shop.bench.rows(
        "SELECT xmin::text, count(*) FROM billing.outbox"
        " WHERE state = 'delivered' GROUP BY 1 HAVING count(*) > 1") == []
    shop.bench.clean()

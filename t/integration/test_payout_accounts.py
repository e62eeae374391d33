"""Advisors' accounts at the vendor of payouts, and payouts that admins ask
for: a worker, the vendor, the books."""

import json

import pytest

from billing_fixture import BINARY, Bench, Redis, eventually
from sql_fixture import call1, sql     # noqa: F401
from test_payouts import advisors, books, payouts
from vendor_fixture import Vendor, hurry

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


@pytest.fixture(scope="module")
def redis():
    server = Redis()
    yield server
    server.close()


@pytest.fixture(scope="module")
def empty(sql, redis):          # noqa: F811
    made = Bench(sql, redis)
    made.close()
    return made


@pytest.fixture
def bench(sql, redis, empty):   # noqa: F811
    made = Bench(sql, redis, empty)
    made.rows("UPDATE ledger.connect_option SET return_url ="
              " 'https://a.test/done?a=1&b=%%', refresh_url = 'https://a.test/'")
    yield made
    made.close()


@pytest.fixture
def stripe():
    vendor = Vendor(seed=11)
    yield vendor
    vendor.close()


class People:
    """The api's functions, as the module calls them."""

    def __init__(self, bench, stripe):
        import psycopg
        self.bench, self.stripe, self.told = bench, stripe, 0
        self.conn = psycopg.connect(bench.dsn("astro_web"), autocommit=True)
        self.worker = bench.worker(stripe_url=stripe.url,
                                   stripe_key_file=stripe.key_file)

    def open(self, who, country="IN"):
        return call1(self.conn, "payout_account_open", who,
                     json.dumps({"country": country}))

    def account(self, who):
        return call1(self.conn, "payout_account", who)["body"]

    def becomes(self, who, state, more=lambda a: True):
        def now():
            hurry(self.bench, [self.worker.process.pid])
            found = self.account(who)
            return found if found["state"] == state and more(found) else None
        return eventually(now, 20, state)

    def tell(self, event=None):
        """Events that were not told yet, or this one, come to us."""
        events = self.stripe.books("event")
        for one in [event] if event else events[self.told:]:
            assert call1(self.conn, "webhook", "stripe",
                         json.dumps(one))["status"] == 200
        self.told = len(events)
        eventually(lambda: self.bench.one(
            "SELECT count(*) FROM ledger.webhook_inbox"
            " WHERE state = 'waiting'") == 0)

    def payee(self, who):
        return [row[0] for row in self.bench.rows(
            "SELECT destination FROM ledger.payee WHERE account_id = %s",
            who)]

    def close(self):
        self.conn.close()


@pytest.fixture
def people(bench, stripe):
    made = People(bench, stripe)
    yield made
    made.close()


def test_h6_paid_when_and_while_the_vendor_says_so(bench, stripe, people):
    who, = advisors(bench, [5000], None)
    assert people.account(who) == {"state": "none", "country": None,
                                   "url": None, "url_until": None,
                                   "reason": None}

    # every answer is lost once: there is one account all the same
    stripe.faults(lost=0.5)
    for _ in range(3):
        assert people.open(who)["status"] == 202
    found = people.becomes(who, "onboarding", lambda a: a["url"])
    stripe.faults()
    assert found["url"].startswith("https://connect.stripe.com/")
    assert found["url_until"] and found["country"] == "IN"
    account, = stripe.books("account")
    assert account["metadata"] == {"account": str(who)}
    assert account["capabilities"] == {"transfers": "inactive"}

    # one address at a time; a new one when it is good no longer
    people.open(who)
    assert bench.one("SELECT count(*) FROM billing.outbox"
                     " WHERE kind = 'connect_link'") == 1
    bench.rows("UPDATE ledger.connect SET url_until = now()")
    assert people.account(who)["url"] is None
    people.open(who)
    again = people.becomes(who, "onboarding", lambda a: a["url"])
    assert again["url"] != found["url"]

    # half of it is not enough
    people.tell()
    assert "1 have nowhere" in payouts(bench, stripe, "--dry-run")
    stripe.do("account", id=account["id"], charges=False, payouts=True)
    people.tell()
    assert people.payee(who) == []
    before = stripe.books("event")[-1]
    bench.rows("UPDATE ledger.connect SET said_s = said_s - 10")
    stripe.do("account", id=account["id"], charges=True, payouts=True)
    people.tell()
    assert people.account(who)["state"] == "enabled"
    assert people.payee(who) == [account["id"]]
    assert "1 would be made, 5000" in payouts(bench, stripe, "--dry-run")

    # what the vendor said before, and comes once more, late
    bench.rows("UPDATE ledger.connect SET said_s = said_s + 10")
    people.tell({**before, "id": "evt_late"})
    assert people.account(who)["state"] == "enabled"

    # taken away; paid to nobody
    event = {**before, "id": "evt_new", "created": before["created"] + 60}
    people.tell(event)
    assert people.account(who)["state"] == "restricted"
    assert people.payee(who) == []
    assert "0 made" in payouts(bench, stripe)

    event["data"] = {"object": {**before["data"]["object"],
                                "charges_enabled": True}}
    people.tell({**event, "id": "evt_newer",
                 "created": event["created"] + 1})
    assert people.account(who)["state"] == "enabled"
    assert "1 paid, 5000" in payouts(bench, stripe)
    assert len(books(bench, stripe)) == 1
    assert stripe.books("transfer")[0]["destination"] == account["id"]

    # he goes: the event is of another kind, and names the account itself
    people.tell({"id": "evt_gone", "object": "event", "account":
                     account["id"], "created": event["created"] + 2,
                 "type": "account.application.deauthorized",
                 "data": {"object": {"id": "ca_1", "object": "application"}}})
    assert people.account(who)["state"] == "restricted"
    assert people.payee(who) == []
    bench.clean()


def test_h6_told_twice_in_one_second_the_vendor_is_asked(bench, stripe,
                                                          people):
    who, = advisors(bench, [5000], None)
    people.open(who)
    people.becomes(who, "onboarding", lambda a: a["url"])
    account, = stripe.books("account")
    stripe.do("account", id=account["id"], charges=False, payouts=False)
    stripe.do("account", id=account["id"], charges=True, payouts=True)
    off, on = stripe.books("event")[-2:]
    off["created"] = on["created"]
    people.tell(on)
    people.tell(off)                # in the wrong order
    people.becomes(who, "enabled")
    assert people.payee(who) == [account["id"]]
    assert bench.one("SELECT count(*) FROM billing.outbox"
                     " WHERE kind = 'connect_look'") == 1


def test_h6_the_vendor_makes_no_account(bench, stripe, people):
    who, = advisors(bench, [100], None)
    people.open(who, "XX")
    failed = people.becomes(who, "failed")
    assert "not currently supported" in failed["reason"]
    people.open(who, "US")
    people.becomes(who, "onboarding", lambda a: a["url"])
    account, = stripe.books("account")
    assert account["country"] == "US"

    # an account is told of before we know that it is ours
    bench.rows("UPDATE ledger.connect SET name = NULL, state = 'creating'")
    stripe.do("account", id=account["id"], charges=True, payouts=True)
    people.tell()
    assert bench.one("SELECT state, reason FROM ledger.webhook_inbox"
                     " ORDER BY id DESC LIMIT 1") \
        == ("parked", "the account is unknown")
    bench.rows("SELECT billing.connect_done('connect_account', %s, %s)", who,
               json.dumps({"id": account["id"], "object": "account"}))
    people.becomes(who, "enabled")

    # nobody's, and not to be looked at either
    people.tell({"id": "evt_other", "object": "event", "created": 1,
                 "type": "account.updated", "data": {"object": {
                     "id": "acct_other", "object": "account"}}})
    assert bench.one("SELECT state FROM ledger.webhook_inbox"
                     " ORDER BY id DESC LIMIT 1") == "ignored"

    with pytest.raises(Exception) as caught:
        people.open(bench.account("client"))
    assert caught.value.diag.message_detail == "not_found"
    bench.rows("UPDATE ledger.connect_option SET return_url = ''")
    with pytest.raises(Exception) as caught:
        people.open(bench.account("advisor"))
    assert caught.value.diag.message_detail == "unsupported"


def process(people, admin, **doc):
    return call1(people.conn, "payouts_process", admin, json.dumps(doc))


def listed(people, admin):
    return call1(people.conn, "payouts_list", admin, 50, None)["body"]


def order(people, admin, ident):
    found, = [o for o in listed(people, admin)["orders"] if o["id"] == ident]
    return found


def test_l3_an_order_is_done_by_a_worker(bench, stripe, people):
    admin = bench.one("INSERT INTO identity.account (email, name, role,"
                      " password_hash) VALUES ('a@payout.test', 'n', 'admin',"
                      " 'h') RETURNING id")
    who = advisors(bench, [1500] * 450 + [1499, 9000])
    bench.rows("DELETE FROM ledger.payee WHERE account_id = %s", who[-1])
    paid = sorted(who[:450])

    said = process(people, admin, dry_run=True)
    assert (said["status"], said["body"]["state"]) == (202, "waiting")
    done = eventually(lambda: (o := order(people, admin, said["body"]["id"]))
                      ["state"] == "done" and o, 30)
    assert (done["made"], done["amount"]["amount"], done["nowhere"]) \
        == (450, 450 * 1500, 1)
    assert stripe.books("transfer") == []
    assert listed(people, admin)["data"] == []

    # asked for twice while it is not begun: the same; killed on the way,
    # another worker goes on where it has got to
    people.worker.stop()
    first = process(people, admin)
    again = process(people, admin)
    assert (first["status"], again["status"]) == (202, 200)
    assert again["body"] == first["body"]
    assert bench.one("SELECT made FROM billing.payout_order_next('*:1500',"
                     " 200)") == 200
    killed = bench.worker(stripe_url=stripe.url,
                          stripe_key_file=stripe.key_file)
    eventually(lambda: stripe.seen()["requests"] >= 20)
    killed.kill()
    people.worker = bench.worker(stripe_url=stripe.url,
                                 stripe_key_file=stripe.key_file)
    done = eventually(lambda: (o := order(people, admin, first["body"]["id"]))
                      ["state"] == "done" and o, 30)
    assert (done["made"], done["amount"]["amount"], done["nowhere"]) \
        == (450, 450 * 1500, 1)
    assert done["finished_at"] and done["asked_by"] == f"u_{admin}"

    def all_paid():
        hurry(bench, [killed.process.pid])
        day, = listed(people, admin)["data"]
        return day["finished_at"] and day["payouts"] == [
            {"state": "paid", "count": 450, "amount":
                {"amount": 450 * 1500, "currency": "INR"}}]

    eventually(all_paid, 40)
    assert len(books(bench, stripe)) == 450
    assert sorted(row[0] for row in bench.rows(
        "SELECT advisor_id FROM ledger.payout")) == paid

    # again: nothing is left for that day
    third = process(people, admin)
    assert third["body"]["id"] != first["body"]["id"]
    eventually(lambda: order(people, admin, third["body"]["id"])["state"]
               == "done")
    assert order(people, admin, third["body"]["id"])["made"] == 0
    assert bench.rows("SELECT act, about FROM consult.admin_log"
                      " ORDER BY no") == [
        ("payouts_process", x["body"]["id"]) for x in (said, first, third)]
    assert len(stripe.books("transfer")) == 450

    with pytest.raises(Exception) as caught:
        process(people, admin, date="2999-01-01")
    assert caught.value.diag.message_hint == "/date"
    for act in (lambda: process(people, who[0]),
                lambda: listed(people, who[0])):
        with pytest.raises(Exception) as caught:
            act()
        assert caught.value.diag.message_detail == "forbidden"
    bench.clean()

"""What clients want to spend at most: caps of a day and of a week, and
exclusion.  The engine ends what would pass one, at that very instant."""

import json
import random
import uuid

import psycopg
import pytest

from billing_fixture import BINARY, Talk
from billing_fixture import bench, empty, redis     # noqa: F401
from sql_fixture import call1, sql                  # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


class Web:
    """The module's calls."""

    def __init__(self, bench):      # noqa: F811
        self.bench = bench
        self.conn = psycopg.connect(bench.dsn("astro_web"), autocommit=True)

    def ask(self, name, *args):
        """(status, body); a refusal: (code, message)."""
        try:
            done = call1(self.conn, name, *args)
        except psycopg.Error as error:
            assert error.sqlstate == "AS400", error
            return error.diag.message_detail, str(error)

        return done["status"], done.get("session_id") or done["body"]

    def limits(self, who, **doc):
        return self.ask("limits_edit", who, json.dumps(doc))

    def start(self, client, advisor):
        return self.ask("session_start", client, advisor, "chat",
                        uuid.uuid4(), None, 0, True)


@pytest.fixture
def web(bench):                     # noqa: F811
    made = Web(bench)
    yield made
    made.conn.close()


class Capped(Talk):
    """A talk whose client has limits before it starts."""

    def __init__(self, bench, web, **doc):      # noqa: F811
        self.web, self.doc = web, doc
        account = bench.account

        def made(role, *args, **how):
            who = account(role, *args, **how)
            if role == "client":
                assert web.limits(who, **doc)[0] == 200
            return who

        bench.account = made
        try:
            super().__init__(bench, rate=60000)
        finally:
            bench.account = account


@pytest.mark.parametrize("limit", ["day", "week"])
def test_x7_the_tick_that_would_pass_it_ends_the_session(bench, web, limit):  # noqa: F811,E501
    """1000 a second, of 100,000 there may be 1,500: 1.5 s, to the millisecond;
    then nothing more begins, and nothing is given."""
    bench.worker().ready()
    talk = Capped(bench, web, **{limit: 1500}).active()
    assert bench.settled(talk.id, "cap_reached") == (1500, 1500)
    bench.clean()
    assert web.start(talk.client, talk.advisor)[0] == "conflict"
    other = bench.account("advisor")
    talk.agw.be_online(other)
    assert web.start(talk.client, other)[0] == "conflict"
    assert bench.wallet(talk.client) == (98500, 0)
    status, body = web.ask("limits", talk.client)
    assert (body[limit]["amount"], body[f"spent_{limit}"]["amount"]) \
        == (1500, 1500)

    # of another day it is another one's
    bench.rows("UPDATE consult.session SET created_at = created_at"
               " - interval '7 days' WHERE id = %s", talk.id)
    assert web.start(talk.client, other)[0] == 201


def test_x7_lower_is_at_once(bench, web):       # noqa: F811
    """What is held was told of, and is used; no more."""
    bench.worker(paid_ahead_seconds=5).ready()
    talk = Talk(bench, rate=60000).active().ticked(2)
    assert web.limits(talk.client, day=500)[0] == 200
    charged, held, cap = bench.session(talk.id, "charged, held, cap_minor")
    assert cap <= 10000
    ms, _ = bench.settled(talk.id, "cap_reached", timeout=20)
    assert ms == cap
    bench.clean()


def test_x7_higher_is_later(bench, web):        # noqa: F811
    """In 24 h; lower or the same again takes that back."""
    who = bench.account("client")
    advisor = bench.account("advisor", rate=60000)
    assert web.limits(who, day=1000, week=5000)[0] == 200
    _, body = web.limits(who, day=2000, week=None)
    assert body["day"]["amount"] == 1000 and body["week"]["amount"] == 5000
    assert body["day_next"]["limit"]["amount"] == 2000
    assert body["week_next"]["limit"] is None
    at = body["day_next"]["at"]
    assert web.limits(who, day=2000)[1]["day_next"]["at"] == at
    assert bench.one("SELECT day_at BETWEEN now() + interval '23 h'"
                     "   AND now() + interval '24 h'"
                     "  FROM ledger.spend_limit WHERE account_id = %s", who)

    def pass_a_day():
        bench.rows("UPDATE ledger.spend_limit SET day_at = day_at"
                   " - interval '24 h', week_at = week_at - interval '24 h'"
                   " WHERE account_id = %s", who)

    pass_a_day()
    _, body = web.ask("limits", who)
    assert body["day"]["amount"] == 2000 and body["week"] is None
    assert body["day_next"] is body["week_next"] is None
    web.limits(who, day=9000)
    _, body = web.limits(who, day=700)
    assert body["day"]["amount"] == 700 and body["day_next"] is None
    pass_a_day()
    assert web.ask("limits", who)[1]["day"]["amount"] == 700
    assert web.limits(who, day=0)[0] == "bad_request"
    assert advisor


def test_x7_who_is_excluded_begins_nothing(bench, web):     # noqa: F811
    """No session, no booking; an exclusion is only made longer, and ends."""
    who, advisor = bench.account("client", 100000), bench.account("advisor")
    gateway = bench.gateway()
    gateway.be_online(advisor)

    def until(hours):
        return bench.one("SELECT consult.rfc3339(now() + %s * interval"
                         " '1 h')", hours)

    assert web.limits(who, excluded_until=until(48))[0] == 200
    assert web.limits(who, excluded_until=until(47))[0] == "conflict"
    assert web.limits(who, excluded_until=until(-1))[0] == "bad_request"
    assert web.limits(who, excluded_until=until(24 * 365 * 6))[0] \
        == "bad_request"
    assert web.start(who, advisor)[0] == "forbidden"
    with pytest.raises(psycopg.Error, match="excluded"):
        bench.rows("SELECT consult.cap_spend(%s, 1, NULL)", who)
    bench.rows("UPDATE ledger.spend_limit SET excluded_until = now()"
               " WHERE account_id = %s", who)
    assert web.start(who, advisor)[0] == 201
    assert bench.one("SELECT cap_minor IS NULL FROM consult.session"
                     " WHERE client_id = %s", who)


def test_x7_whatever_one_does_it_is_not_passed(bench, web):     # noqa: F811
    """Sessions one after the other at random, limits lowered in the middle of
    them: never more in a day than its limit, or what was told of before that."""
    dice = random.Random()
    bench.worker(paid_ahead_seconds=5).ready()
    talk = Capped(bench, web, day=3000)
    cap = 3000

    for _ in range(4):
        talk.active()

        if dice.random() < .5:
            bench.until(talk.id, "charged > %d" % dice.randint(1, 300))

        if dice.random() < .5:
            charged, held = bench.session(talk.id, "charged, held")
            web.limits(talk.client, day=max(1, cap - dice.randint(1, 1000)))
            cap = bench.one("SELECT day_minor FROM ledger.spend_limit"
                            " WHERE account_id = %s", talk.client)
            cap = max(cap, bench.one(
                "SELECT consult.spent(%s, date_trunc('day', now(), 'UTC'),"
                " now() + interval '1 day', NULL)", talk.client))

        if dice.random() < .5:
            talk.end()

        bench.settled(talk.id, timeout=30)
        assert -bench.one("SELECT coalesce(sum(-amount), 0) FROM"
                          " ledger.transfer WHERE session_id IS NOT NULL") \
            <= cap
        status, said = web.start(talk.client, talk.advisor)

        if status != 201:
            assert status == "conflict"
            break

        talk.id = said
        talk.accept()

    bench.clean()


def test_x7_what_is_promised_is_no_room(bench, web):     # noqa: F811
    """Bookings hold deposits: of the same day they are no room for a session or
    a gift, of any day none for another booking."""
    who, one, two = bench.account("client", 100000), *(
        bench.account("advisor") for _ in range(2))
    bench.gateway().be_online(one)

    def book(seconds):
        return bench.one(
            "SELECT (consult.booking_make(jsonb_populate_record("
            "NULL::consult.booking, jsonb_build_object('client_id', %s::bigint,"
            " 'advisor_id', %s::bigint, 'service', 'chat', 'rate_minor', 100,"
            " 'commission_bps', 0, 'note', '',"
            " 'start_at', now() + make_interval(secs => %s),"
            " 'end_at', now() + make_interval(secs => %s)))))"
            ".deposit", who, two, seconds, seconds + 3600)

    def spend(amount, until="infinity"):
        bench.rows("SELECT consult.cap_spend(%s, %s, %s)", who, amount, until)

    def cap():
        return bench.one("SELECT cap_minor FROM consult.session"
                         " WHERE client_id = %s", who)

    day = 86400
    deposit = book(20 * day)
    assert deposit > 0
    limit = 30 * deposit
    assert web.limits(who, day=limit)[0] == 200
    spend(29 * deposit)
    with pytest.raises(psycopg.Error, match="limit"):
        spend(29 * deposit + 1)
    spend(30 * deposit, None)       # of another day: a gift has room
    assert web.start(who, one)[0] == 201
    assert cap() == limit
    book(30 * day)
    assert cap() == limit
    book(1)
    assert cap() == limit - deposit
    with pytest.raises(psycopg.Error, match="limit"):
        spend(29 * deposit + 1, None)
    assert web.limits(who, day=4 * deposit)[0] == 200
    book(40 * day)
    with pytest.raises(psycopg.Error, match="limit"):
        book(50 * day)

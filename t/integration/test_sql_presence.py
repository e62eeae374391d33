"""Who is there, by the rows: fresh leases, the grace, when last seen."""

import time

import psycopg
import pytest

from sql_fixture import call, call1, sql, web           # noqa: F401

TTL, GRACE = 5000, 2000


class Gateways:
    def __init__(self, sql, web):
        self.sql, self.web = sql, web

    def open(self, *users):
        number = call1(self.web, "gateway_open", "n", 1, 8000)["gateway"]
        call(self.web, "presence", number, list(users), [])
        return number

    def age(self, gateway, seconds):
        """That lease was last renewed so long ago."""
        self.sql.admin("UPDATE consult.gateway SET renewed_at ="
                       " clock_timestamp() - %s * interval '1 s'"
                       " WHERE id = %s", seconds, gateway)

    def of(self, user, ttl=TTL, grace=GRACE):
        row = call1(self.web, "presence_of", [user], ttl, grace)
        assert row["account"] == user
        return row

    def state(self, user, **kw):
        return self.of(user, **kw)["state"]


@pytest.fixture
def gw(sql, web):                                       # noqa: F811
    return Gateways(sql, web)


@pytest.fixture
def who(sql):                                           # noqa: F811
    return sql.client()


def ago(row):
    return time.time() - row["seen_ms"] / 1000


def test_never_there(gw, who):
    assert gw.of(who) == {"account": who, "state": 0, "wait_ms": 0,
                          "seen_ms": None}
    assert call(gw.web, "presence_of", [], TTL, GRACE) == []


def test_there_as_long_as_a_lease_is_fresh(gw, who):
    one, two = gw.open(who), gw.open(who)
    assert gw.state(who) == 1
    gw.age(one, 6)
    assert gw.state(who) == 1
    gw.age(two, 7)

    # the latest proof of life is when they were last seen
    row = gw.of(who)
    assert row["state"] == 3 and 5.9 < ago(row) < 8
    gw.age(one, 0)
    assert gw.state(who) == 1


def test_left(gw, who):
    number = gw.open(who)
    other = gw.open(who)
    call(gw.web, "presence_left", number, [who], [3000])
    assert gw.state(who) == 1
    call(gw.web, "presence_left", other, [who, who], [1500, 9000])

    row = gw.of(who)
    assert row["state"] == 2 and 0 < row["wait_ms"] <= GRACE
    assert 1.4 < ago(row) < 2.9
    assert gw.state(who, grace=0) == 0
    assert not gw.sql.admin("SELECT 1 FROM consult.presence"
                            " WHERE account_id = %s", who)

    # the latest wins, in whatever order they are told
    call(gw.web, "presence_left", 0, [who], [60000])
    assert 1.4 < ago(gw.of(who)) < 3.5

    # back, and nobody sees that they were away
    call(gw.web, "presence", number, [who], [])
    assert gw.state(who, grace=0) == 1


def test_in_the_grace_after_a_death(gw, who):
    dead, alive = gw.open(who), gw.open(who)
    gw.age(dead, 60)
    call(gw.web, "presence_left", alive, [who], [0])
    assert gw.state(who) == 2
    assert gw.state(who, grace=0) == 3
    assert ago(gw.of(who)) < 2


def test_closing_and_reaping_keep_when(gw, who):
    number = gw.open(who)
    call(gw.web, "gateway_close", number, 1)
    row = gw.of(who)
    assert row["state"] == 2 and ago(row) < 2

    number = gw.open(who)
    gw.sql.admin("UPDATE consult.last_seen SET seen_at = seen_at -"
                 " interval '1 h', left_at = left_at - interval '1 h'")
    gw.age(number, 30)
    gw.sql.admin("SELECT * FROM billing.reap(%s, 0)", number)
    row = gw.of(who)
    assert row["state"] == 0 and 29 < ago(row) < 32


def test_it_is_looked_up_by_key(gw, sql):               # noqa: F811
    """Whatever the tables were like when the plan was made: nothing of them is
    read from end to end, and not each gateway for each user."""
    users = list(range(10**9, 10**9 + 100))
    for _ in range(50):
        gw.open()
    gw.open(*users)

    with psycopg.connect(sql.dsn()) as conn:
        conn.execute("SELECT * FROM api.presence_of(%s, %s, %s)",
                     [users, TTL, GRACE])
        read = dict(conn.execute(
            "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0)"
            "  FROM pg_stat_xact_user_tables WHERE relname IN"
            " ('gateway', 'presence', 'last_seen')").fetchall())
        scans = conn.execute(
            "SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE relname"
            " IN ('gateway', 'presence', 'last_seen')").fetchone()[0]

    assert scans == 0
    assert read['gateway'] <= len(users)

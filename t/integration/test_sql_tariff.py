"""SQL alone: options of the tariff, and sessions that change their service."""

import uuid

import pytest

from sql_fixture import LIVE, call1, pair, refused, sql, web


@pytest.fixture
def tariff(sql):
    """Sets the options of a service; they are off again afterwards."""
    def options(service="chat", whole_minute=False, min_minor=0, free_ms=0):
        sql.admin("UPDATE ledger.tariff SET whole_minute = %s, min_minor = %s,"
                  " free_ms = %s WHERE service = %s", whole_minute, min_minor,
                  free_ms, service)

    yield options
    sql.admin("UPDATE ledger.tariff SET whole_minute = false, min_minor = 0,"
              " free_ms = 0")


OPTIONS = "whole_minute, min_minor, free_ms, max_minor"


def start(pair, cid=None, max_ms=None, max_minor=None, service="chat"):
    return call1(pair.web, "session_start", pair.client, pair.advisor, service,
                 cid or uuid.uuid4(), max_ms, max_minor, 60000, True)


def switch(pair, session, service, who=None, life=20000, states=LIVE):
    return call1(pair.web, "session_switch", who or pair.client, session,
                 service, pair.gateway, life, states)


def segments(pair, session):
    return pair.sql.admin("SELECT no, from_ms, service, rate_minor FROM"
                          " consult.segment WHERE session_id = %s ORDER BY no",
                          session)


def facts(pair, session, function="facts2"):
    with pair.sql.connect("astro_worker") as conn:
        cur = conn.execute(f"SELECT * FROM billing.{function}(%s, ARRAY(SELECT"
                           " generate_series(0, 255)::smallint))", ([session],))
        names = [column.name for column in cur.description]
        return [dict(zip(names, row)) for row in cur.fetchall()]


# snapshot at the start --------------------------------------------------------

def test_no_options(pair):
    session = start(pair)["session_id"]
    assert pair.row(session, OPTIONS) == (False, 0, 0, None)
    assert len(facts(pair, session, "facts")) == 1


def test_options_are_copied(pair, tariff):
    tariff(whole_minute=True, min_minor=500, free_ms=90000)
    session = start(pair, max_minor=30000)["session_id"]
    tariff()
    assert pair.row(session, OPTIONS) == (True, 500, 90000, 30000)
    [row] = facts(pair, session)
    assert [row[k] for k in "whole_minute min_minor free_ms max_minor"
            " segments".split()] == [True, 500, 90000, 30000, None]

    # a worker that would charge it by the rate alone never hears of it
    assert facts(pair, session, "facts") == []


@pytest.mark.parametrize("options, max_minor", [
    ({"whole_minute": True}, None), ({"min_minor": 1}, None),
    ({"free_ms": 1}, None), ({}, 6000)])
def test_each_option_hides_it_from_the_version_before(pair, tariff, options,
                                                      max_minor):
    tariff(**options)
    session = start(pair, max_minor=max_minor)["session_id"]
    assert facts(pair, session, "facts") == []
    assert len(facts(pair, session)) == 1


def test_the_maximum_is_part_of_the_request(pair):
    cid = uuid.uuid4()
    assert start(pair, cid, max_minor=30000)["status"] == 201
    assert start(pair, cid, max_minor=30000)["dup"] is True
    refused(start(pair, cid, max_minor=30001), 422, "idempotency_mismatch",
            "/cid")
    refused(start(pair, cid), 422, "idempotency_mismatch", "/cid")


def test_free_time_is_given_once(pair, tariff):
    """By what was used, whatever the service; while it is not known how much
    that is, as if it were all."""
    tariff("chat", free_ms=90000)
    tariff("audio", free_ms=60000)

    def used(billed, service="chat", settled=True):
        session = start(pair, service=service)["session_id"]
        free = pair.row(session, "free_ms")
        pair.apply(session, "cancel")
        pair.sql.admin("UPDATE consult.session SET billed_ms = %s, settled ="
                       " %s WHERE id = %s", billed, settled, session)
        return free, session

    assert used(0)[0] == 90000
    assert used(20000)[0] == 90000
    assert used(10000, "audio")[0] == 40000
    free, waiting = used(1, settled=False)
    assert free == 60000
    assert used(0)[0] == 0
    pair.sql.admin("UPDATE consult.session SET settled = true WHERE id = %s",
                   waiting)
    assert used(100000)[0] == 59999
    assert used(0, "audio")[0] == 0

    # somebody else has all of it
    pair.advisor = pair.sql.advisor()
    call1(pair.web, "presence", pair.gateway, [pair.advisor], [])
    assert used(0)[0] == 90000


@pytest.mark.parametrize("options, max_minor, needs", [
    ({}, None, 6000), ({}, 5999, 5999), ({"min_minor": 9000}, None, 9000),
    ({"min_minor": 9000}, 8000, 8000), ({"free_ms": 59999}, None, 0),
    ({"free_ms": 30000}, None, 3000), ({"free_ms": 60000,
                                        "min_minor": 9000}, None, 0),
    ({"free_ms": 1, "whole_minute": True}, None, 6000),
    ({"whole_minute": True}, None, 6000)])
def test_what_must_be_there_to_start(pair, tariff, options, max_minor, needs):
    tariff(**options)

    def balance(n):
        pair.sql.admin("UPDATE ledger.wallet SET balance = %s WHERE owner_id ="
                       " %s", n, pair.client)

    if needs > 0:
        balance(needs - 1)
        refused(start(pair, max_minor=max_minor), 402, "insufficient_balance")

    balance(needs)
    assert start(pair, max_minor=max_minor)["status"] == 201


# session_switch ---------------------------------------------------------------

def active(pair, ahead=60000, held=6000, **other):
    """Both are in it; paid for until ahead of the instant 20000."""
    session = pair.start(**other)["session_id"]
    pair.apply(session, "accept")
    pair.join(session, pair.client)
    pair.join(session, pair.advisor)
    pair.activate(session)
    pair.renew(18000)
    pair.sql.admin("UPDATE consult.session SET paid_until_ms = %s, held = %s"
                   " WHERE id = %s", pair.started + 20000 + ahead, held,
                   session)
    pair.sql.admin("UPDATE ledger.wallet SET held = held + %s WHERE owner_id ="
                   " %s", held, pair.client)
    return session


def held(pair, session):
    wallet = pair.sql.one("SELECT held FROM ledger.wallet WHERE owner_id = %s",
                          pair.client)
    mine = pair.row(session, "held")
    assert wallet == mine
    return mine


def test_switch(pair):
    session = active(pair)
    ver = pair.row(session, "ver")
    made = switch(pair, session, "audio")
    assert made["status"] == 200 and made["dup"] is False
    assert made["ver"] == ver + 1
    assert made["snapshot"]["service"] == "audio"
    assert made["snapshot"]["rate"]["amount"] == 9000
    at = pair.started + 20000
    assert segments(pair, session) == [(1, at, "audio", 9000)]
    assert pair.row(session, "segments, service, rate_minor") == (1, "chat",
                                                                  6000)

    # what a minute costs more is held at once, to the minor unit
    assert held(pair, session) == 9000

    again = switch(pair, session, "audio", life=25000)
    assert again["status"] == 200 and again["dup"] is True
    assert again["ver"] == ver + 1 and held(pair, session) == 9000

    # and back, which is free; the advisor may do that, too
    back = switch(pair, session, "chat", who=pair.advisor, life=30000)
    assert back["status"] == 200 and back["snapshot"]["service"] == "chat"
    assert back["snapshot"]["rate"]["amount"] == 6000
    assert segments(pair, session)[1:] == [(2, at + 10000, "chat", 6000)]
    assert held(pair, session) == 9000

    [row] = facts(pair, session)
    assert row["segments"] == [[at, 9000], [at + 10000, 6000]]
    assert facts(pair, session, "facts") == []


def test_switch_refused(pair, web):
    session = active(pair)
    refused(switch(pair, session, "video"), 422, "unsupported", "/service")
    refused(switch(pair, session, "smoke"), 422, "unsupported", "/service")
    refused(switch(pair, session, "audio", who=pair.advisor), 403,
            "forbidden")
    refused(switch(pair, session, "audio", who=pair.sql.client()), 404,
            "not_participant")
    refused(switch(pair, 0, "audio"), 404, "not_participant")
    refused(switch(pair, session, "audio", states=["paused"]), 409,
            "session_state")
    pair.apply(session, "end")
    refused(switch(pair, session, "audio", states=["ended"]), 409,
            "session_state")
    assert segments(pair, session) == []
    call1(web, "gateway_close", pair.gateway, 30000)
    refused(switch(pair, session, "audio"), 503, "unavailable")


def test_switch_needs_the_money(pair):
    """What gateways were told is paid for stays paid for."""
    session = active(pair, ahead=59999)
    wallet = "UPDATE ledger.wallet SET balance = held + %s WHERE owner_id = %s"
    pair.sql.admin(wallet, 2999, pair.client)
    ver = pair.row(session, "ver")
    refused(switch(pair, session, "audio"), 402, "insufficient_balance")
    assert segments(pair, session) == []
    assert pair.row(session, "ver, segments, held") == (ver, 0, 6000)

    pair.sql.admin(wallet, 3000, pair.client)
    assert switch(pair, session, "audio")["status"] == 200
    assert held(pair, session) == 9000


def test_switch_of_what_is_not_paid_for(pair):
    """Nothing more is held for time that is over, or was never sold."""
    session = active(pair, ahead=-1, held=0)
    pair.sql.admin("UPDATE ledger.wallet SET balance = 0 WHERE owner_id = %s",
                   pair.client)
    assert switch(pair, session, "audio")["status"] == 200
    assert held(pair, session) == 0
    pair.sql.admin("UPDATE consult.session SET paid_until_ms = NULL"
                   " WHERE id = %s", session)
    assert switch(pair, session, "chat")["status"] == 200


@pytest.mark.parametrize("ahead, dearer, cheaper", [
    (1, 9000, 6000), (60000, 9000, 6000), (60001, 12000, 6000)])
def test_switch_of_whole_minutes(pair, tariff, ahead, dearer, cheaper):
    """A minute may be begun in both segments."""
    tariff(whole_minute=True)
    session = active(pair, ahead)
    assert switch(pair, session, "audio")["status"] == 200
    assert held(pair, session) == 6000 + dearer
    assert switch(pair, session, "chat")["status"] == 200
    assert held(pair, session) == 6000 + dearer + cheaper


def test_switch_near_the_maximum(pair):
    session = active(pair)
    pair.sql.admin("UPDATE consult.session SET max_minor = 8999 WHERE id = %s",
                   session)
    refused(switch(pair, session, "audio"), 402, "insufficient_balance")
    pair.sql.admin("UPDATE consult.session SET max_minor = 9000 WHERE id = %s",
                   session)
    assert switch(pair, session, "audio")["status"] == 200


def test_nothing_that_may_be_billed_is_before_a_switch(pair):
    """A gateway whose clock is behind cannot put it where others have proven
    that both were there; nor before the switch before."""
    session = active(pair)
    pair.renew(40000)                           # proves up to 32000
    assert switch(pair, session, "audio", life=25000)["status"] == 200
    at = pair.started + 32000
    assert segments(pair, session) == [(1, at, "audio", 9000)]
    assert switch(pair, session, "chat", life=50000)["status"] == 200
    assert switch(pair, session, "audio", life=45000)["status"] == 200
    assert [row[1] - pair.started for row in segments(pair, session)] == [
        32000, 50000, 50000]

    # who comes later comes after it
    joined = pair.join(session, pair.client, life=48000)
    assert pair.sql.one("SELECT open_life_ms FROM consult.interval WHERE id ="
                        " %s", joined["interval_id"]) == 50000
    joined = pair.join(session, pair.client, life=51000)
    assert pair.sql.one("SELECT open_life_ms FROM consult.interval WHERE id ="
                        " %s", joined["interval_id"]) == 51000


def test_a_switch_with_one_party_alone(pair):
    session = pair.start()["session_id"]
    pair.apply(session, "accept")
    pair.join(session, pair.client)
    pair.renew(40000)
    assert switch(pair, session, "audio", life=25000)["status"] == 200
    assert segments(pair, session)[0][1] == pair.started + 25000
    assert pair.row(session, "held") == 0


def test_strangers_see_no_segments(pair):
    session = active(pair)
    switch(pair, session, "audio")

    with pair.sql.connect("postgres") as conn:
        conn.execute("SET ROLE astro_api")

        for who, rows in [(pair.client, 1), (pair.advisor, 1),
                          (pair.sql.client(), 0)]:
            conn.execute("SELECT set_config('astro.caller', %s, false)",
                         (str(who),))
            assert len(conn.execute("SELECT FROM consult.segment WHERE"
                                    " session_id = %s", (session,)
                                    ).fetchall()) == rows

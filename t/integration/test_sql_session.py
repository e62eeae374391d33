"""SQL alone: how sessions start, are answered, joined and end."""

import random
import time
import uuid

import pytest

from sql_fixture import (BOTH, ANY, LIVE, SESSION_KEYS, OUTCOME, Pair, at_once,
                         call, call1, pair, refused, sql, web)


# session_start ---------------------------------------------------------------

def test_start(pair):
    cid = uuid.uuid4()
    made = pair.start(cid=cid, max_ms=600000)
    assert list(made) == OUTCOME
    assert made["status"] == 201 and made["dup"] is False
    assert made["body"] == made["snapshot"]
    assert list(made["snapshot"]) == SESSION_KEYS
    session, conv = made["session_id"], made["conversation_id"]
    since = made["snapshot"].pop("since")
    assert since == pair.row(session, "state_ms")
    assert made["snapshot"] == {
        "session": f"s_{session}", "conv": f"c_{conv}", "state": "ringing",
        "ver": 1, "service": "chat", "client": f"u_{pair.client}",
        "advisor": f"u_{pair.advisor}",
        "rate": {"amount": 6000, "currency": "INR"}, "reason": None,
        "billed_ms": 0, "charged": 0, "paid_until": None, "max_ms": 600000,
        "pauses": 0, "present": []}
    assert (made["client_id"], made["advisor_id"], made["head"],
            made["state"], made["ver"]) == (pair.client, pair.advisor, 0,
                                            "ringing", 1)
    assert pair.row(session, "commission_bps, client_wallet, advisor_wallet"
                    ) == (3000,
                          *[pair.sql.one("SELECT id FROM ledger.wallet WHERE"
                                         " owner_id = %s", who)
                            for who in (pair.client, pair.advisor)])

    again = pair.start(cid=cid, max_ms=600000)
    assert again["status"] == 200 and again["dup"] is True
    assert again["snapshot"] == {**made["snapshot"], "since": since}
    for other in [{"service": "audio"}, {"max_ms": None},
                  {"advisor": pair.sql.advisor(), "max_ms": 600000}]:
        refused(pair.start(cid=cid, **other), 422, "idempotency_mismatch",
                "/cid")

    pair.apply(session, "cancel")
    ended = pair.start(cid=cid, max_ms=600000)
    assert ended["status"] == 200 and ended["state"] == "ended"


def test_start_refused(pair, web):
    sql = pair.sql
    refused(pair.start(caller=pair.advisor, advisor=sql.advisor()), 403,
            "invalid_user_role")
    refused(pair.start(caller=0), 403, "invalid_user_role")
    refused(pair.start(advisor=pair.client), 403, "forbidden")
    refused(pair.start(advisor=0), 404, "not_found")
    refused(pair.start(advisor=sql.client()), 404, "not_found")
    refused(pair.start(service="video"), 422, "unsupported", "/service")
    refused(pair.start(service="dance"), 422, "unsupported", "/service")
    refused(pair.start(advisor=sql.advisor()), 409, "offline")
    assert pair.start(advisor=sql.advisor(), live=False,
                      caller=sql.client())["status"] == 201

    poor = sql.client(5999)
    refused(pair.start(caller=poor), 402, "insufficient_balance")
    assert pair.start(caller=poor, ready_ms=59999,
                      cid=uuid.uuid4())["status"] == 201
    refused(pair.start(), 409, "busy")
    assert "advisor" in pair.start()["body"]["message"]

    second = Pair(sql, web)
    first = pair.start(caller=second.client, advisor=second.advisor)
    assert first["status"] == 201
    third = Pair(sql, web)
    busy = pair.start(caller=second.client, advisor=third.advisor)
    refused(busy, 409, "busy")
    assert "you" in busy["body"]["message"]

    held = sql.client(10000)
    sql.admin("UPDATE ledger.wallet SET held = 4001 WHERE owner_id = %s", held)
    refused(pair.start(caller=held, advisor=third.advisor), 402,
            "insufficient_balance")

    sql.admin("UPDATE identity.account SET blocked = true WHERE id = ANY(%s)",
              [third.client, third.advisor])
    refused(pair.start(caller=third.client, advisor=sql.advisor()), 403,
            "forbidden")
    refused(pair.start(caller=sql.client(), advisor=third.advisor), 404,
            "not_found")
    # a product of two bigints that has no bigint
    refused(pair.start(caller=sql.client(), advisor=sql.advisor(), live=False,
                       ready_ms=2 ** 62), 402, "insufficient_balance")


def test_start_offline_after_gateway_closed(pair):
    call(pair.web, "gateway_close", pair.gateway, 1)
    refused(pair.start(), 409, "offline")


def test_offline_after_the_death_of_a_host(sql, pair):
    """Its lease is open as long as nobody closes it."""
    def online():
        return call1(pair.web, "advisor", pair.client,
                     pair.advisor)["body"]["online"]

    assert online() is True
    sql.admin("UPDATE consult.gateway SET renewed_at = clock_timestamp()"
              " - interval '11 s' WHERE id = %s", pair.gateway)
    assert online() is False
    refused(pair.start(), 409, "offline")


def test_start_race_on_one_advisor(sql, web):
    pair = Pair(sql, web)
    clients = [sql.client() for _ in range(50)]

    def work(i, barrier):
        with sql.connect() as conn:
            conn.execute("SELECT 1")
            barrier.wait()
            return pair.start(conn, caller=clients[i])

    done = at_once(work, 50)
    assert sorted(d["status"] for d in done) == [201] + [409] * 49
    assert all(d["body"]["code"] == "busy" for d in done
               if d["status"] == 409)
    # who lost left nothing behind
    assert sql.one("SELECT count(*) FROM consult.conversation"
                   " WHERE advisor_id = %s", pair.advisor) == 1


def test_start_race_of_one_client(sql, web):
    pair = Pair(sql, web)
    cid = uuid.uuid4()

    def work(i, barrier):
        with sql.connect() as conn:
            conn.execute("SELECT 1")
            barrier.wait()
            return pair.start(conn, cid=cid if i % 2 else None)

    done = at_once(work, 50)
    won = [d for d in done if d["status"] == 201]
    assert len(won) == 1
    assert {d["status"] for d in done} <= {200, 201, 409}
    assert {d["session_id"] for d in done if d["status"] == 200
            } <= {won[0]["session_id"]}
    assert sql.one("SELECT count(*) FROM consult.conversation"
                   " WHERE client_id = %s", pair.client) == 1


def test_same_cid_race_makes_one(sql, web):
    for _ in range(5):
        pair = Pair(sql, web)
        cid = uuid.uuid4()

        def work(_, barrier):
            with sql.connect() as conn:
                conn.execute("SELECT 1")
                barrier.wait()
                return pair.start(conn, cid=cid)

        done = at_once(work, 10)
        assert sorted(d["status"] for d in done) == [200] * 9 + [201]
        assert len({d["session_id"] for d in done}) == 1


# session_apply ---------------------------------------------------------------

def test_accept_and_end_without_interval(pair):
    session = pair.start()["session_id"]
    refused(pair.apply(session, "accept", pair.client), 403, "forbidden")
    refused(pair.apply(session, "cancel", pair.advisor), 403, "forbidden")
    refused(pair.apply(session, "accept", pair.sql.advisor()), 404,
            "not_participant")
    refused(pair.apply(0, "end"), 404, "not_participant")
    refused(call1(pair.web, "session_apply", pair.client, session, "end", ANY,
                  "ended", BOTH, None, 0, 1), 503, "unavailable")

    accepted = pair.apply(session, "accept", life=70)
    assert accepted["status"] == 200 and accepted["state"] == "accepted"
    assert accepted["ver"] == 2 and accepted["event_seq"] is None
    assert pair.row(session, "state_ms") == pair.started + 70

    twice = pair.apply(session, "accept")
    refused(twice, 409, "session_state")
    assert "accepted" in twice["body"]["message"]

    ended = pair.apply(session, "end", pair.advisor, life=5000)
    assert ended["state"] == "ended" and ended["ver"] == 3
    assert ended["head"] == 1 and ended["event_seq"] == 1
    assert ended["snapshot"]["reason"] == "advisor_ended"
    assert pair.row(session, "settled, end_ms, ended_by, ended_at IS NULL") \
        == (True, pair.started + 5000, pair.advisor, False)
    conv = ended["conversation_id"]
    at = pair.sql.one("SELECT floor(extract(epoch FROM at) * 1000)::bigint"
                      " FROM consult.event WHERE conversation_id = %s", conv)
    assert ended["event_frame"] == (
        '{"type":"session_end","conv":"c_%d","seq":1,"ts":%d,"payload":'
        '{"session":"s_%d","reason":"advisor_ended","by":"u_%d","totals":'
        '{"billed_ms":0,"charged":0,"currency":"INR"}}}'
        % (conv, at, session, pair.advisor))

    for event in ["end", "cancel"]:
        again = pair.apply(session, event)
        assert again["status"] == 200 and again["dup"] is True
        assert again["event_seq"] is None and again["head"] == 1
        assert again["ver"] == 3

    refused(pair.apply(session, "accept"), 409, "session_state")
    refused(pair.join(session, pair.client), 409, "session_state")


def test_reason_is_any_text(pair):
    session = pair.start()["session_id"]
    reason = 'tired " \\ \x7f é 😀'
    ended = pair.apply(session, "end", reason=reason)
    assert ended["snapshot"]["reason"] == reason
    body = call1(pair.web, "session", pair.client, session)["body"]
    assert body["reason"] == reason
    assert list(body) == [*SESSION_KEYS, "created_at", "started_at",
                          "last_tick_at", "ended_at", "duration_ms", "totals",
                          "segments", "media", "quality"]
    assert body["totals"] == {"billed_ms": 0, "charged": 0, "currency": "INR"}
    assert body["ended_at"].endswith("Z")


def test_rest_session(pair):
    session = pair.start()["session_id"]
    body = call1(pair.web, "session", pair.advisor, session)["body"]
    assert body["ended_at"] is None and body["state"] == "ringing"
    for who, which in [(pair.sql.client(), session), (pair.client, 0)]:
        other = call1(pair.web, "session", who, which)
        assert other["status"] == 404
        assert other["body"]["code"] == "not_found"


def test_end_with_an_interval_is_left_to_the_engine(pair):
    session, mine, _ = pair.joined()
    ended = pair.apply(session, "end", life=9000)
    assert ended["status"] == 200 and ended["state"] == "ended"
    assert ended["event_seq"] is None and ended["head"] == 0
    assert pair.row(session, "settled, end_ms") == (False,
                                                    pair.started + 9000)
    rows = pair.renew(9500, [(mine, 9000, "left")])
    assert [r["state"] for r in rows] == ["ended"]
    assert rows[0]["snapshot"]["present"] == [f"u_{pair.advisor}"]
    assert rows[0]["ver"] == ended["ver"]


@pytest.mark.parametrize("events", [("accept", "reject"),
                                    ("accept", "cancel"),
                                    ("reject", "cancel", "accept"),
                                    ("end", "end", "cancel", "reject")])
def test_apply_race_has_one_winner(sql, web, events):
    for _ in range(8):
        pair = Pair(sql, web)
        session = pair.start()["session_id"]

        def work(i, barrier):
            with sql.connect() as conn:
                conn.execute("SELECT 1")
                barrier.wait()
                return events[i], pair.apply(session, events[i], conn=conn)

        done = at_once(work, len(events))
        row = pair.row(session, "state, reason, ver")
        moved = [e for e, d in done if d["status"] == 200 and not d["dup"]]

        # cancel may follow accept; nothing else can follow anything
        assert moved in [[e] for e in events] or sorted(moved) == [
            "accept", "cancel"], (moved, done)
        assert row[2] == 1 + len(moved)
        assert pair.sql.one("SELECT count(*) FROM consult.event e JOIN"
                            " consult.session s USING (conversation_id)"
                            " WHERE s.id = %s", session) == (
                                row[0] == "ended")

        for event, outcome in done:
            if outcome["status"] != 200:
                refused(outcome, 409, "session_state")


# session_join ----------------------------------------------------------------

def test_join(pair):
    session = pair.start()["session_id"]
    refused(pair.join(session, pair.client), 409, "session_state")
    pair.apply(session, "accept")
    refused(pair.join(session, pair.sql.client()), 404, "not_participant")

    first = pair.join(session, pair.client, 1234)
    assert first["status"] == 200 and first["state"] == "connecting"
    assert first["ver"] == 3
    assert first["body"] == {
        "session": f"s_{session}", "conv": f"c_{first['conversation_id']}",
        "polite": True, "ice_servers": [], "peer_present": False}
    assert first["snapshot"]["present"] == [f"u_{pair.client}"]
    assert pair.sql.one("SELECT account_id, gateway_id, open_life_ms,"
                        " close_life_ms FROM consult.interval WHERE id = %s",
                        first["interval_id"]) == (pair.client, pair.gateway,
                                                  1234, None)

    second = pair.join(session, pair.advisor, 1300)
    assert second["state"] == "connecting" and second["ver"] == 4
    assert second["body"]["polite"] is False
    assert second["body"]["peer_present"] is True
    assert second["snapshot"]["present"] == [f"u_{pair.client}",
                                             f"u_{pair.advisor}"]

    call(pair.web, "gateway_close", pair.gateway, 2000)
    for gateway in [pair.gateway, 0]:
        refused(call1(pair.web, "session_join", pair.client, session, gateway,
                      2000, LIVE), 503, "unavailable")


def test_join_never_slips_behind_a_close(sql, web):
    """Either the join is before the close, which closes it, or after, and is
    refused; an interval open on a closed lease would never end."""
    for _ in range(15):
        pair = Pair(sql, web)
        session = pair.start()["session_id"]
        pair.apply(session, "accept")

        def work(i, barrier):
            with sql.connect() as conn:
                conn.execute("SELECT 1")
                barrier.wait()

                if i == 0:
                    time.sleep(random.random() / 500)
                    return call(conn, "gateway_close", pair.gateway, 3000)

                return pair.join(session, [pair.client, pair.advisor][i % 2],
                                 conn=conn)["status"]

        assert set(at_once(work, 5)[1:]) <= {200, 503}
        assert sql.one("SELECT count(*) FROM consult.interval WHERE"
                       " gateway_id = %s AND close_life_ms IS NULL",
                       pair.gateway) == 0

"""SQL alone: how sessions start, move and end, and what gateways write."""

import random
import time
import uuid

import psycopg
import pytest

from sql_fixture import OUTCOME, at_once, call, call1, sql, web

BOTH = ["client", "advisor"]
LIVE = ["accepted", "connecting", "active", "reconnecting", "paused"]
ANY = ["ringing", *LIVE]
SESSION_KEYS = ["session", "conv", "state", "ver", "service", "client",
                "advisor", "rate", "reason", "billed_ms", "charged",
                "paid_until", "max_ms", "present"]


class Pair:
    """A client, an advisor who is online, a gateway."""

    def __init__(self, sql, web, balance=1000000):
        self.sql, self.web = sql, web
        self.client, self.advisor = sql.client(balance), sql.advisor()
        lease = call1(web, "gateway_open", "n1", 7, 8000)
        self.gateway, self.started = lease["gateway"], lease["started_ms"]
        call(web, "presence", self.gateway, [self.advisor], [])

    def start(self, conn=None, cid=None, **other):
        args = {"caller": self.client, "advisor": self.advisor,
                "service": "chat", "max_ms": None, "ready_ms": 60000,
                "live": True, **other}
        return call1(conn or self.web, "session_start", args["caller"],
                     args["advisor"], args["service"], cid or uuid.uuid4(),
                     args["max_ms"], args["ready_ms"], args["live"])

    def apply(self, session, event, who=None, conn=None, life=1000,
              reason=None):
        states, to, parties = {
            "accept": (["ringing"], "accepted", ["advisor"]),
            "reject": (["ringing"], "ended", ["advisor"]),
            "cancel": (["ringing", "accepted", "connecting"], "ended",
                       ["client"]),
            "end": (ANY, "ended", BOTH)}[event]
        return call1(conn or self.web, "session_apply",
                     who or (self.client if "client" in parties
                             else self.advisor),
                     session, event, states, to, parties,
                     reason or {"reject": "rejected",
                                "cancel": "cancelled"}.get(event),
                     self.gateway, life)

    def join(self, session, who, life=1000, conn=None):
        return call1(conn or self.web, "session_join", who, session,
                     self.gateway, life, LIVE)

    def renew(self, life, closes=(), watch=()):
        ids, lives, reasons = zip(*closes) if closes else ((), (), ())
        sessions, vers = zip(*watch) if watch else ((), ())
        return call(self.web, "gateway_renew", self.gateway, life, list(ids),
                    list(lives), list(reasons), list(sessions), list(vers))

    def row(self, session, what):
        return self.sql.one(f"SELECT {what} FROM consult.session"
                            " WHERE id = %s", session)

    def joined(self, life=1000):
        """A session in which both are; returns it and both intervals."""
        session = self.start()["session_id"]
        assert self.apply(session, "accept")["status"] == 200
        mine = self.join(session, self.client, life)["interval_id"]
        theirs = self.join(session, self.advisor, life)["interval_id"]
        return session, mine, theirs

    def activate(self, session):
        """What the engine does."""
        self.sql.admin("UPDATE consult.session SET state = 'active',"
                       " ver = ver + 1 WHERE id = %s", session)


@pytest.fixture
def pair(sql, web):
    return Pair(sql, web)


def refused(outcome, status, code, field=None):
    assert outcome["status"] == status, outcome
    assert outcome["body"]["code"] == code
    assert outcome["body"].get("field") == field
    assert outcome["body"]["message"]
    assert all(outcome[k] is None for k in OUTCOME[2:])


# session_start ---------------------------------------------------------------

def test_start(pair):
    cid = uuid.uuid4()
    made = pair.start(cid=cid, max_ms=600000)
    assert list(made) == OUTCOME
    assert made["status"] == 201 and made["dup"] is False
    assert made["body"] == made["snapshot"]
    assert list(made["snapshot"]) == SESSION_KEYS
    session, conv = made["session_id"], made["conversation_id"]
    assert made["snapshot"] == {
        "session": f"s_{session}", "conv": f"c_{conv}", "state": "ringing",
        "ver": 1, "service": "chat", "client": f"u_{pair.client}",
        "advisor": f"u_{pair.advisor}",
        "rate": {"amount": 6000, "currency": "INR"}, "reason": None,
        "billed_ms": 0, "charged": 0, "paid_until": None, "max_ms": 600000,
        "present": []}
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
    assert again["snapshot"] == made["snapshot"]
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
    assert list(body) == [*SESSION_KEYS, "created_at", "ended_at", "totals"]
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


# gateways --------------------------------------------------------------------

def test_renew_is_monotonic_and_gone_when_closed(pair):
    now = time.time() * 1000
    assert abs(pair.started - now) < 60000
    assert pair.renew(500) == [] and pair.renew(400) == []
    assert pair.sql.one("SELECT life_ms FROM consult.gateway WHERE id = %s",
                        pair.gateway) == 500
    assert call(pair.web, "gateway_close", pair.gateway, 450) == []
    assert pair.sql.one("SELECT life_ms, closed FROM consult.gateway"
                        " WHERE id = %s", pair.gateway) == (500, True)
    assert call(pair.web, "gateway_close", pair.gateway, 900) == []

    for row in [pair.renew(600), call(pair.web, "gateway_renew", 0, 1, None,
                                      None, None, None, None)]:
        assert len(row) == 1
        refused(row[0], 410, "gone")


def test_renew_closings(pair):
    session, mine, theirs = pair.joined()
    pair.activate(session)
    second = pair.join(session, pair.client, 1500)["interval_id"]
    ver = pair.row(session, "ver")

    # the client's other connection is still there
    rows = pair.renew(2000, [(second, 1900, "left")])
    assert [(r["state"], r["ver"]) for r in rows] == [("active", ver)]
    assert len(rows[0]["snapshot"]["present"]) == 2

    # beyond the lease's life, before the opening, not ours, not open
    other = Pair(pair.sql, pair.web)
    assert other.renew(99, [(theirs, 50, "gone")]) == []
    rows = pair.renew(3000, [(theirs, 9999, "gone"), (second, 1, "x")])
    assert [(r["status"], r["session_id"], r["state"], r["ver"], r["head"])
            for r in rows] == [(200, session, "reconnecting", ver + 1, 0)]
    assert rows[0]["snapshot"]["present"] == [f"u_{pair.client}"]
    assert rows[0]["body"] is None
    assert pair.row(session, "state_ms") == pair.started + 3000

    rows = pair.renew(4000, [(mine, 3, "gone")])
    assert rows[0]["state"] == "reconnecting" and rows[0]["ver"] == ver + 2
    assert pair.sql.admin("SELECT id, open_life_ms, close_life_ms,"
                          " close_reason FROM consult.interval WHERE"
                          " session_id = %s ORDER BY id", session) == [
        (mine, 1000, 1000, "gone"), (theirs, 1000, 3000, "gone"),
        (second, 1500, 1900, "left")]
    assert pair.renew(4000, [(mine, 3, "gone")]) == []


def test_renew_unpaid_leaves_the_state(pair):
    session, mine, theirs = pair.joined()
    pair.activate(session)
    ver = pair.row(session, "ver")
    rows = pair.renew(5000, [(mine, 4000, "unpaid"), (theirs, 4000, "unpaid")])
    assert [(r["state"], r["ver"]) for r in rows] == [("active", ver)]
    assert rows[0]["snapshot"]["present"] == []

    # one unpaid, one gone for another reason: that one counts
    other = Pair(pair.sql, pair.web)
    session, mine, theirs = other.joined()
    other.activate(session)
    rows = other.renew(5000, [(mine, 4000, "unpaid"), (theirs, 3000, "gone")])
    assert rows[0]["state"] == "reconnecting"


def test_renew_watch(pair):
    session = pair.start()["session_id"]
    rows = pair.renew(10, watch=[(session, 1), (0, 5)])
    assert [(r["status"], r["session_id"]) for r in rows] == [(404, 0),
                                                              (200, session)]
    assert rows[0]["body"]["code"] == "not_found"
    assert rows[1]["snapshot"] is None and rows[1]["head"] == 0
    assert (rows[1]["ver"], rows[1]["client_id"]) == (1, pair.client)

    rows = pair.renew(10, watch=[(session, 0)])
    assert rows[0]["snapshot"]["state"] == "ringing"

    pair.sql.admin("UPDATE consult.session SET paid_until_ms = 77"
                   " WHERE id = %s", session)
    assert pair.renew(10, watch=[(session, 1)])[0]["paid_until_ms"] == 77

    # closed and watched: one row
    pair.apply(session, "accept")
    mine = pair.join(session, pair.client, 11)["interval_id"]
    rows = pair.renew(20, [(mine, 15, "gone")], [(session, 1000)])
    assert len(rows) == 1 and rows[0]["snapshot"]["present"] == []
    assert rows[0]["state"] == "connecting" and rows[0]["ver"] == 4


def test_renew_many_sessions_in_order(sql, web):
    pairs = [Pair(sql, web) for _ in range(6)]
    lease = pairs[0].gateway
    closes, sessions = [], []

    for p in pairs:
        p.gateway = lease
        session, mine, theirs = p.joined()
        p.activate(session)
        sessions.append(session)
        closes.append((mine, 2000, "gone"))
        closes.append((theirs, 2000, "gone"))

    random.shuffle(closes)
    rows = pairs[0].renew(3000, closes)
    assert [r["session_id"] for r in rows] == sorted(sessions)
    assert {r["state"] for r in rows} == {"reconnecting"}


def test_gateway_close(pair):
    session, mine, _ = pair.joined()
    pair.activate(session)
    other = Pair(pair.sql, pair.web)
    elsewhere = call1(pair.web, "session_join", pair.client, session,
                      other.gateway, 5, LIVE)["interval_id"]
    rows = call(pair.web, "gateway_close", pair.gateway, 7000)
    assert [(r["status"], r["session_id"], r["state"]) for r in rows] == [
        (200, session, "reconnecting")]
    assert rows[0]["snapshot"]["present"] == [f"u_{pair.client}"]
    assert pair.sql.admin("SELECT close_life_ms, close_reason FROM"
                          " consult.interval WHERE session_id = %s ORDER BY"
                          " id", session) == [(7000, "exit"), (7000, "exit"),
                                              (None, None)]
    assert elsewhere > mine
    assert pair.sql.one("SELECT count(*) FROM consult.presence WHERE"
                        " gateway_id = %s", pair.gateway) == 0


def test_presence(pair):
    def here():
        return [a for a, in pair.sql.admin(
            "SELECT account_id FROM consult.presence WHERE gateway_id = %s"
            " ORDER BY 1", pair.gateway)]

    call(pair.web, "presence", pair.gateway, [5, 4, 5], [pair.advisor])
    assert here() == [4, 5]
    call(pair.web, "presence", pair.gateway, [5, 6], [5, 4, 99])
    assert here() == [5, 6]
    call(pair.web, "presence", pair.gateway, [], [])
    call(pair.web, "presence", pair.gateway, None, None)
    call(pair.web, "presence", 0, [7], [])
    assert here() == [5, 6]
    call(pair.web, "gateway_close", pair.gateway, 1)
    call(pair.web, "presence", pair.gateway, [7], [])
    assert here() == []

    # what a late hello left is swept
    pair.sql.admin("INSERT INTO consult.presence VALUES (8, %s)", pair.gateway)
    call(pair.web, "gateway_open", "n", 1, 8000)
    assert here() == []


# hello -----------------------------------------------------------------------

def rows_of(hello, kind):
    return [(r["id"], r["num"], r["doc"]) for r in hello if r["kind"] == kind]


def test_hello(pair):
    sql, web = pair.sql, pair.web
    stranger = Pair(sql, web)
    foreign = stranger.start()["conversation_id"]
    assert call(web, "hello", 0, pair.gateway, []) == []

    fresh = call(web, "hello", pair.client, pair.gateway, None)
    assert [r["kind"] for r in fresh] == ["account", "wallet"]
    assert fresh[0] == {
        "kind": "account", "id": pair.client, "num": None, "doc":
        '{"role":"client","name":"client \\"q\\"","currency":"INR",'
        '"blocked":false}'}
    wallet = sql.one("SELECT id FROM ledger.wallet WHERE owner_id = %s",
                     pair.client)
    text = web.execute("SELECT body::text FROM api.wallet(%s)",
                       (pair.client,)).fetchone()[0]
    assert rows_of(fresh, "wallet") == [(wallet, None, text)]
    assert sql.one("SELECT count(*) FROM consult.presence WHERE account_id ="
                   " %s AND gateway_id = %s", pair.client, pair.gateway) == 1

    live = pair.start()
    for who in [pair.client, pair.advisor]:
        hello = call(web, "hello", who, pair.gateway,
                     [live["conversation_id"], foreign, 0])
        assert rows_of(hello, "conv") == [(live["conversation_id"], 0, None)]
        text = web.execute("SELECT snapshot::text FROM api.gateway_renew(%s,"
                           " 1, NULL, NULL, NULL, %s, %s)",
                           (pair.gateway, [live["session_id"]], [0])
                           ).fetchone()[0]
        assert rows_of(hello, "session") == [(live["session_id"], 1, text)]

    pair.apply(live["session_id"], "cancel")
    hello = call(web, "hello", pair.client, pair.gateway, [])
    assert rows_of(hello, "session") == []
    assert rows_of(hello, "conv") == [(live["conversation_id"], 1, None)]

    call(web, "gateway_close", pair.gateway, 1)
    call(web, "hello", pair.client, pair.gateway, [])
    assert sql.one("SELECT count(*) FROM consult.presence WHERE gateway_id ="
                   " %s", pair.gateway) == 0

    sql.admin("UPDATE identity.account SET blocked = true WHERE id = %s",
              pair.client)
    hello = call(web, "hello", pair.client, pair.gateway, [])
    assert [r["kind"] for r in hello] == ["account"]
    assert '"blocked":true' in hello[0]["doc"]


def test_hello_hundred_newest(sql, web):
    advisor, client = sql.advisor(), sql.client()
    sql.admin("WITH a AS (INSERT INTO identity.account (email, name, role,"
              " password_hash) SELECT gen_random_uuid() || '@x', 'n',"
              " 'client', 'h' FROM generate_series(1, 120) RETURNING id)"
              " INSERT INTO consult.conversation (client_id, advisor_id)"
              " SELECT id, %s FROM a", advisor)
    ids = [i for i, in sql.admin("SELECT id FROM consult.conversation WHERE"
                                 " advisor_id = %s ORDER BY id", advisor)]
    gateway = call1(web, "gateway_open", "n", 1, 8000)["gateway"]
    seen = rows_of(call(web, "hello", advisor, gateway, [ids[3]]), "conv")
    assert [s[0] for s in seen] == [ids[3], *ids[20:]]
    assert rows_of(call(web, "hello", client, gateway, ids), "conv") == []


# all of it at once -----------------------------------------------------------

def test_random_life(sql, web):
    """Parties, gateways and a stand-in for the engine at the same time: no
    deadlock, one event at most, no interval left open on a closed lease."""
    pairs = [Pair(sql, web) for _ in range(4)]
    sessions = [p.start()["session_id"] for p in pairs]

    def work(i, barrier):
        rng = random.Random(i)
        with sql.connect() as conn, psycopg.connect(sql.dsn(),
                                                    autocommit=True) as admin:
            barrier.wait()

            for step in range(40):
                k = rng.randrange(4)
                pair, session = pairs[k], sessions[k]
                act = rng.choice(["accept", "join", "join", "renew", "watch",
                                  "active", "end", "close"])

                if act in ("accept", "end"):
                    if act == "end" and rng.random() < 0.7:
                        continue

                    pair.apply(session, act, conn=conn, life=step)
                elif act == "join":
                    pair.join(session, rng.choice([pair.client, pair.advisor]),
                              step, conn)
                elif act == "active":
                    admin.execute("UPDATE consult.session SET state = 'active'"
                                  " WHERE id = %s AND state = 'connecting'",
                                  (session,))
                elif act == "close":
                    if rng.random() < 0.05:
                        call(conn, "gateway_close", pair.gateway, step)
                else:
                    ids = [r for r, in admin.execute(
                        "SELECT id FROM consult.interval WHERE gateway_id = %s"
                        " AND close_life_ms IS NULL ORDER BY random() LIMIT 2",
                        (pair.gateway,))] if act == "renew" else []
                    call(conn, "gateway_renew", pair.gateway, step, ids,
                         [step] * len(ids), ["gone"] * len(ids), sessions,
                         [0] * 4)

    at_once(work, 12)

    for pair, session in zip(pairs, sessions):
        events = sql.one("SELECT count(*) FROM consult.event e JOIN"
                         " consult.session s USING (conversation_id) WHERE"
                         " s.id = %s", session)
        assert events == pair.row(session, "settled::int")

    assert sql.one("SELECT count(*) FROM consult.interval i JOIN"
                   " consult.gateway g ON g.id = i.gateway_id WHERE g.closed"
                   " AND i.close_life_ms IS NULL") == 0

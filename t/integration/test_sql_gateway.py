"""SQL alone: what gateways write, and what a new connection is told."""

import json
import random
import time

import psycopg
import pytest

from sql_fixture import (LIVE, Pair, at_once, call, call1, make_session, pair,
                         refused, sql, web)


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


def test_renew_unpaid_ends_where_it_was_paid_to(pair):
    """Who was told late, after the paid time was over, was served no longer;
    and nothing beyond it was billed.  So the interval ends there, even behind
    what the lease has proven: money that comes later must not buy the pause."""
    session, mine, theirs = pair.joined()
    pair.sql.admin("UPDATE consult.session SET state = 'active', active_ms ="
                   " %s, paid_until_ms = %s WHERE id = %s",
                   pair.started + 1000, pair.started + 1300, session)
    pair.renew(19000)
    pair.renew(20000, [(mine, 1300, "unpaid"), (theirs, 1200, "gone")])
    assert pair.sql.admin("SELECT close_life_ms FROM consult.interval WHERE"
                          " session_id = %s ORDER BY id", session) == [
        (1300,), (11000,)]

    # paid further meanwhile: that may have been billed
    session, mine, _ = Pair(pair.sql, pair.web).joined()
    pair.sql.admin("UPDATE consult.interval SET gateway_id = %s WHERE"
                   " session_id = %s", pair.gateway, session)
    pair.activate(session)
    pair.sql.admin("UPDATE consult.session SET paid_until_ms = %s WHERE id ="
                   " %s", pair.started + 10500, session)
    pair.renew(21000, [(mine, 1300, "unpaid")])
    assert pair.sql.one("SELECT close_life_ms FROM consult.interval WHERE"
                        " id = %s", mine) == 10500


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


def test_roles_lock_sessions_in_order(sql, web):
    """Two clients at once are made something else: of their sessions the one
    with the lower id is locked first, whoever's it is."""
    first, second = Pair(sql, web), Pair(sql, web)
    low, high = second.start()["session_id"], first.start()["session_id"]
    who = [first.client, second.client]
    revs = [first.row(s, "rev") for s in (low, high)]

    with psycopg.connect(sql.dsn()) as holder, \
            psycopg.connect(sql.dsn()) as changer:
        lock = "SELECT 1 FROM consult.session WHERE id = %s" \
            " FOR NO KEY UPDATE"
        holder.execute(lock, (high,))

        def work(i, barrier):
            barrier.wait()

            if i == 0:
                changer.execute("UPDATE identity.account SET role = 'admin'"
                                " WHERE id = ANY(%s)", (who,))
                return

            while sql.admin("SELECT 1 FROM pg_locks WHERE NOT granted AND"
                            " pid = %s", changer.info.backend_pid) == []:
                time.sleep(0.01)

            try:
                with sql.connect("postgres") as other, \
                        pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(lock + " NOWAIT", (low,))
            finally:
                holder.rollback()

        at_once(work, 2)
        assert [r[0] for r in changer.execute(
            "SELECT rev FROM consult.session WHERE id = ANY(%s) ORDER BY id",
            ([low, high],))] == [rev + 1 for rev in revs]
        changer.rollback()


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
    assert abs(fresh[0].pop("num") - time.time() * 1000) < 60000
    assert fresh[0] == {
        "kind": "account", "id": pair.client, "doc":
        '{"role":"client","name":"client \\"q\\"","currency":"INR",'
        '"blocked":false,"valid_from":0}'}
    wallet = sql.one("SELECT id FROM ledger.wallet WHERE owner_id = %s",
                     pair.client)
    body = web.execute("SELECT body FROM api.wallet(%s)",
                       (pair.client,)).fetchone()[0]
    (id, num, doc), = rows_of(fresh, "wallet")
    assert (id, num) == (wallet, None)
    assert json.loads(doc) == {k: v["amount"] for k, v in body.items()}
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


def test_hello_batch(pair):
    """Each hello of a batch gets what it gets alone, and nothing of another's,
    whatever it asks about."""
    sql, web = pair.sql, pair.web
    other, blocked = Pair(sql, web), sql.client()
    convs = [p.start()["conversation_id"] for p in (pair, other)]
    earned = sql.advisor()
    make_session(sql, sql.client(), earned)
    sql.admin("UPDATE identity.account SET blocked = true WHERE id = %s",
              blocked)
    sql.admin("DELETE FROM consult.presence")

    # who says hello, and what about; 0 is nobody
    hellos = [(pair.client, convs), (0, convs), (other.advisor, convs),
              (blocked, convs), (pair.advisor, []), (earned, [0]),
              (pair.client, [convs[1]])]

    alone = [call(web, "hello", who, pair.gateway, asked)
             for who, asked in hellos]
    batch = call(web, "hello_batch", [who for who, _ in hellos], pair.gateway,
                 [i + 1 for i, (_, asked) in enumerate(hellos)
                  for _ in asked],
                 [conv for _, asked in hellos for conv in asked])

    # the clock goes on
    for row in [r for rows in [batch, *alone] for r in rows]:
        if row["kind"] == "account":
            del row["num"]

    for i, rows in enumerate(alone):
        assert [{k: v for k, v in r.items() if k != "ord"}
                for r in batch if r["ord"] == i + 1] == rows
    assert [r["ord"] for r in batch] == sorted(r["ord"] for r in batch)

    def of(i, kind):
        return rows_of([r for r in batch if r["ord"] == i], kind)

    assert [c[0] for c in of(1, "conv")] == [convs[0]]
    assert [c[0] for c in of(3, "conv")] == [convs[1]]
    assert [c[0] for c in of(7, "conv")] == [convs[0]]
    assert len(of(1, "session")) == len(of(3, "session")) == 1
    assert [r["kind"] for r in batch if r["ord"] == 4] == ["account"]
    assert [r["kind"] for r in batch if r["ord"] == 2] == []
    # 100 charged, 30 of it the fee, 20 credited
    assert json.loads(of(6, "wallet")[0][2])["balance"] == 50

    assert sql.admin("SELECT account_id FROM consult.presence WHERE"
                     " gateway_id = %s ORDER BY 1", pair.gateway) == [
        (who,) for who in sorted({pair.client, pair.advisor, other.advisor,
                                  earned})]
    assert call(web, "hello_batch", [], pair.gateway, [], []) == []


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

"""SQL alone: chat batches, and reading what they stored."""

import json
import random
import threading
import time
import uuid

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from psycopg import errors

from sql_fixture import at_once, call, call1, sql, web

STATES = ["connecting", "active", "reconnecting", "paused"]


class Room:
    """A conversation with a live session."""

    def __init__(self, sql, state="active"):
        self.sql = sql
        self.client, self.advisor = sql.client(), sql.advisor()
        self.conv = sql.one("INSERT INTO consult.conversation (client_id,"
                            " advisor_id) VALUES (%s, %s) RETURNING id",
                            self.client, self.advisor)
        wallets = [sql.one("SELECT id FROM ledger.wallet WHERE owner_id = %s",
                           who) for who in (self.client, self.advisor)]
        self.session = sql.one(
            "INSERT INTO consult.session (conversation_id, client_id,"
            " advisor_id, client_wallet, advisor_wallet, cid, service,"
            " rate_minor, commission_bps, state, state_ms) VALUES (%s, %s, %s,"
            " %s, %s, gen_random_uuid(), 'chat', 1, 0, %s, 0) RETURNING id",
            self.conv, self.client, self.advisor, *wallets, state)

    def stored(self):
        return self.sql.admin("SELECT seq, sender_id, cid, payload::text FROM"
                              " consult.event WHERE conversation_id = %s"
                              " ORDER BY seq", self.conv)

    def head(self):
        return self.sql.one("SELECT head FROM consult.conversation WHERE"
                            " id = %s", self.conv)

    def end(self):
        self.sql.admin("UPDATE consult.session SET state = 'ended' WHERE"
                       " id = %s", self.session)


def send(conn, messages, states=STATES):
    """messages: (conv, sender, cid, payload[, type])"""
    rows = [(*m, "chat_message")[:5] for m in messages]
    conv, sender, cid, payload, kind = map(list, zip(*rows)) if rows else (
        [], [], [], [], [])
    answers = call(conn, "chat_batch", conv, sender, kind, cid, payload,
                   states)
    assert [a["ord"] for a in answers] == list(range(1, len(rows) + 1))
    return answers


def test_one_message(sql, web):
    room = Room(sql)
    cid = uuid.uuid4()
    payload = '{ "text" : "a\\u00e9\\n" ,\t"text":2}'
    answer = send(web, [(room.conv, room.client, cid, payload)])[0]
    at = sql.one("SELECT floor(extract(epoch FROM at) * 1000)::bigint FROM"
                 " consult.event WHERE conversation_id = %s", room.conv)
    assert answer == {"ord": 1, "status": "ok", "seq": 1, "ts": at,
                      "peer": room.advisor, "dup": False}
    assert room.head() == 1

    # the payload is kept to the byte
    synced = call(web, "sync", room.advisor, room.conv, 0, 10)
    frame = ('{"type":"chat_message","conv":"c_%d","seq":1,"ts":%d,"payload":'
             '%s}' % (room.conv, at, payload))
    assert synced == [{"seq": None, "frame": None, "head": 1},
                      {"seq": 1, "frame": frame, "head": None}]

    again = send(web, [(room.conv, room.client, cid, payload)])[0]
    assert again == {**answer, "dup": True}
    other = send(web, [(room.conv, room.client, cid, '{}')])[0]
    assert other == {"ord": 1, "status": "idempotency_mismatch", "seq": None,
                     "ts": None, "peer": room.advisor, "dup": False}
    other = send(web, [(room.conv, room.client, cid, payload, "gift")])[0]
    assert other["status"] == "idempotency_mismatch"

    # somebody else's cid is another message
    mine = send(web, [(room.conv, room.advisor, cid, payload)])[0]
    assert (mine["seq"], mine["dup"], mine["peer"]) == (2, False, room.client)


def test_refusals_in_one_batch(sql, web):
    room, other = Room(sql), Room(sql, "ringing")
    stranger = sql.client()
    batch = [(room.conv, stranger, uuid.uuid4(), "{}"),
             (other.conv, other.client, uuid.uuid4(), "{}"),
             (room.conv, room.client, uuid.uuid4(), "{}"),
             (0, room.client, uuid.uuid4(), "{}"),
             (other.conv, room.client, uuid.uuid4(), "{}"),
             (room.conv, room.advisor, None, "{}"),
             (room.conv, room.advisor, None, "{}")]
    answers = send(web, batch)
    assert [(a["status"], a["seq"], a["peer"], a["dup"]) for a in answers] == [
        ("not_participant", None, None, False),
        ("session_state", None, other.advisor, False),
        ("ok", 1, room.advisor, False),
        ("not_participant", None, None, False),
        ("not_participant", None, None, False),
        ("ok", 2, room.client, False),
        ("ok", 3, room.client, False)]
    assert (room.head(), other.head()) == (3, 0)
    assert send(web, []) == []


def test_within_one_batch(sql, web):
    room = Room(sql)
    a, b = uuid.uuid4(), uuid.uuid4()
    answers = send(web, [(room.conv, room.client, a, "1"),
                         (room.conv, room.client, b, "2"),
                         (room.conv, room.client, a, "1"),
                         (room.conv, room.client, a, "3"),
                         (room.conv, room.client, b, "2"),
                         (room.conv, room.advisor, b, "9")])
    assert [(x["status"], x["seq"], x["dup"]) for x in answers] == [
        ("ok", 1, False), ("ok", 2, False), ("ok", 1, True),
        ("idempotency_mismatch", None, False), ("ok", 2, True),
        ("ok", 3, False)]
    assert len({x["ts"] for x in answers if x["ts"]}) == 1


def test_after_the_end(sql, web):
    room = Room(sql)
    cid = uuid.uuid4()
    first = send(web, [(room.conv, room.client, cid, "1")])[0]
    room.end()
    answers = send(web, [(room.conv, room.client, cid, "1"),
                         (room.conv, room.client, uuid.uuid4(), "1"),
                         (room.conv, room.client, cid, "2")])
    assert answers[0] == {**first, "dup": True}
    assert [x["status"] for x in answers[1:]] == ["session_state",
                                                  "idempotency_mismatch"]


def test_bad_json_fails_the_batch(sql, web):
    room = Room(sql)

    for bad in ["{", "", "nul", '"\x01"']:
        with pytest.raises(errors.InvalidTextRepresentation):
            send(web, [(room.conv, room.client, uuid.uuid4(), "1"),
                       (room.conv, room.client, uuid.uuid4(), bad)])

    assert room.stored() == [] and room.head() == 0
    assert send(web, [(room.conv, room.client, uuid.uuid4(), "1")]
                )[0]["seq"] == 1


MESSAGE = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 5),
                    st.sampled_from(["1", "1", "1", '{"a":2}']))
BATCHES = st.lists(st.lists(MESSAGE, min_size=1, max_size=12), min_size=1,
                   max_size=8)


@settings(max_examples=25, deadline=None,
          suppress_health_check=list(HealthCheck))
@given(batches=BATCHES)
def test_random_batches_at_once(sql, batches):
    """Batches full of repeats from several connections: seq is gap-free, one
    row for each (sender, cid), and every answer is the truth about that row.
    """
    rooms = [Room(sql) for _ in range(3)]
    cids = [uuid.uuid4() for _ in range(6)]

    def work(i, barrier):
        batch = [(rooms[r].conv,
                  rooms[r].client if who else rooms[r].advisor, cids[c], text)
                 for r, who, c, text in batches[i]]
        with sql.connect() as conn:
            conn.execute("SELECT 1")
            barrier.wait()
            return list(zip(batch, send(conn, batch)))

    pairs = [p for done in at_once(work, len(batches)) for p in done]
    stored, fresh = {}, 0

    for room in rooms:
        rows = room.stored()
        assert [r[0] for r in rows] == list(range(1, room.head() + 1))

        for seq, sender, cid, payload in rows:
            assert (room.conv, sender, cid) not in stored
            stored[room.conv, sender, cid] = (seq, payload)

    for (conv, sender, cid, payload), answer in pairs:
        seq, kept = stored[conv, sender, cid]

        if payload != kept:
            assert answer["status"] == "idempotency_mismatch"
            assert answer["seq"] is None and not answer["dup"]
            continue

        assert answer["status"] == "ok" and answer["seq"] == seq
        fresh += not answer["dup"]

    assert fresh == len(stored)


def test_many_writers_gap_free(sql):
    """The same rooms from many connections in every order: no deadlock."""
    rooms = [Room(sql) for _ in range(5)]

    def work(i, barrier):
        rng = random.Random(i)
        with sql.connect() as conn:
            barrier.wait()

            for _ in range(20):
                picked = [rng.choice(rooms) for _ in range(30)]
                answers = send(conn, [(r.conv, rng.choice([r.client,
                                                           r.advisor]),
                                       uuid.uuid4(), str(i)) for r in picked])
                assert {a["status"] for a in answers} == {"ok"}

    at_once(work, 8)
    assert sum(room.head() for room in rooms) == 8 * 20 * 30

    for room in rooms:
        assert [r[0] for r in room.stored()] == list(range(1,
                                                           room.head() + 1))
        assert sql.one("SELECT bool_and(at >= before) FROM (SELECT at,"
                       " lag(at, 1, at) OVER (ORDER BY seq) AS before FROM"
                       " consult.event WHERE conversation_id = %s) x",
                       room.conv)


def test_append_event_between_batches(sql):
    """append_event and batches number the same conversation."""
    room = Room(sql)

    def work(i, barrier):
        with sql.connect(None if i % 2 else "astro_web") as conn:
            barrier.wait()

            for _ in range(50):
                if i % 2:
                    conn.execute("SELECT consult.append_event(%s, 'x', NULL,"
                                 " NULL, '{}')", (room.conv,))
                else:
                    send(conn, [(room.conv, room.client, uuid.uuid4(), "1")])

    at_once(work, 4)
    assert [r[0] for r in room.stored()] == list(range(1, 201))
    assert room.head() == 200


def test_many_first_sessions_make_one_conversation(sql, web):
    client, advisor = sql.client(), sql.advisor()

    def work(i, barrier):
        with sql.connect() as conn:
            conn.execute("SELECT 1")
            barrier.wait()
            return call1(conn, "session_start", client, advisor, "chat",
                         uuid.uuid4(), None, 60000, False)

    done = at_once(work, 50)
    assert sorted(d["status"] for d in done) == [201] + [409] * 49
    assert sql.one("SELECT count(*) FROM consult.conversation WHERE"
                   " client_id = %s", client) == 1


# reading ---------------------------------------------------------------------

def test_messages(sql, web):
    room = Room(sql)
    send(web, [(room.conv, room.client, uuid.uuid4(), '{"n":1}'),
               (room.conv, room.advisor, uuid.uuid4(), '{"n":2}')])
    sql.admin("SELECT consult.append_event(%s, 'note', NULL, NULL, '[ 3 ]')",
              room.conv)
    page = call1(web, "messages", room.client, room.conv, 2, None)
    assert page["status"] == 200
    data = page["body"]["data"]
    assert all(d.pop("ts").endswith("Z") for d in data)
    assert data == [
        {"seq": 1, "type": "chat_message", "from": f"u_{room.client}",
         "payload": {"n": 1}},
        {"seq": 2, "type": "chat_message", "from": f"u_{room.advisor}",
         "payload": {"n": 2}}]
    assert page["body"]["next_cursor"] == "2"
    text = web.execute("SELECT body::text FROM api.messages(%s, %s, 2, '2')",
                       (room.advisor, room.conv)).fetchone()[0]
    assert '"from":null,"payload":[ 3 ]}' in text
    assert json.loads(text)["next_cursor"] is None
    empty = call1(web, "messages", room.client, room.conv, 2, "3")["body"]
    assert empty == {"data": [], "next_cursor": None}

    for who, conv in [(sql.client(), room.conv), (room.client, 0)]:
        assert call1(web, "messages", who, conv, 2, None)["body"]["code"] == \
            "not_found"
        assert call(web, "sync", who, conv, 0, 5) == []


def test_sync(sql, web):
    room = Room(sql)
    assert call(web, "sync", room.client, room.conv, 0, 5) == [
        {"seq": None, "frame": None, "head": 0}]
    send(web, [(room.conv, room.client, uuid.uuid4(), str(n))
               for n in range(9)])
    rows = call(web, "sync", room.client, room.conv, 3, 4)
    assert rows[0] == {"seq": None, "frame": None, "head": 9}
    assert [r["seq"] for r in rows[1:]] == [4, 5, 6, 7]
    assert [json.loads(r["frame"])["seq"] for r in rows[1:]] == [4, 5, 6, 7]
    assert len(call(web, "sync", room.client, room.conv, 9, 4)) == 1


def test_walk_while_new_ones_arrive(sql, web):
    room = Room(sql)
    stop = threading.Event()

    def write():
        rng = random.Random(1)

        with sql.connect() as conn:
            while not stop.is_set():
                send(conn, [(room.conv, room.client, uuid.uuid4(), "1")
                            for _ in range(rng.randrange(1, 9))])

    writers = [threading.Thread(target=write) for _ in range(3)]

    for writer in writers:
        writer.start()

    seen, cursor, pages = [], None, 0

    try:
        while pages < 120:
            page = call1(web, "messages", room.advisor, room.conv, 7,
                         cursor)["body"]
            seen += [d["seq"] for d in page["data"]]
            pages += 1

            # at the end for now: go on from the last one seen
            cursor = page["next_cursor"] or str(seen[-1] if seen else 0)
            assert page["next_cursor"] is None or cursor == str(seen[-1])
    finally:
        stop.set()

        for writer in writers:
            writer.join()

    assert seen == list(range(1, len(seen) + 1)) and len(seen) > 100


# what keeps it fast ----------------------------------------------------------

def test_updates_are_hot(sql):
    """A message and a renewal touch no index."""
    room = Room(sql)
    tables = ["conversation", "gateway"]

    def counts():
        return {t: sql.one("SELECT n_tup_upd, n_tup_hot_upd FROM"
                           " pg_stat_user_tables WHERE relid = %s::regclass",
                           f"consult.{t}") for t in tables}

    before = counts()

    with sql.connect() as conn:
        gateway = call1(conn, "gateway_open", "n", 1, 8000)["gateway"]

        for n in range(400):
            send(conn, [(room.conv, room.client, uuid.uuid4(), "1")])
            call(conn, "gateway_renew", gateway, n, None, None, None, None,
                 None)

    deadline = time.monotonic() + 10

    while True:
        after = counts()
        done = {t: [a - b for a, b in zip(after[t], before[t])]
                for t in tables}

        if all(d[0] >= 400 for d in done.values()):
            break

        assert time.monotonic() < deadline, done
        time.sleep(0.1)

    for table, (updated, hot) in done.items():
        assert hot >= 0.9 * updated, (table, updated, hot)


def test_no_scan_of_events(sql, web):
    """The plans of a batch and of a page go by index, whatever the tables'
    size was when they were made."""
    room = Room(sql)
    before = sql.one("SELECT coalesce(sum(seq_scan), 0) FROM"
                     " pg_stat_user_tables WHERE relid IN"
                     " ('consult.event'::regclass,"
                     "  'consult.conversation'::regclass)")

    with sql.connect() as conn:
        for _ in range(8):
            send(conn, [(room.conv, room.client, uuid.uuid4(), "1")])
            call(conn, "messages", room.client, room.conv, 5, None)
            call(conn, "sync", room.client, room.conv, 0, 5)

        conn.execute("SELECT pg_stat_force_next_flush()")

    time.sleep(0.2)
    sql.admin("SELECT pg_stat_clear_snapshot()")
    after = sql.one("SELECT coalesce(sum(seq_scan), 0) FROM"
                    " pg_stat_user_tables WHERE relid IN"
                    " ('consult.event'::regclass,"
                    "  'consult.conversation'::regclass)")
    assert after == before


def test_e15_who_sends_beside_the_session_writes_what_was_paid_for(sql, web):
    """An interval is open: perhaps of a gateway that died."""
    room = Room(sql)
    gateway = call1(web, "gateway_open", "n", 1, 8000)["gateway"]
    sql.admin("INSERT INTO consult.interval (session_id, account_id,"
              " gateway_id, open_life_ms) VALUES (%s, %s, %s, 0)",
              room.session, room.client, gateway)

    def say():
        return call1(web, "chat_acts", [room.conv], [room.client],
                     ["chat_message"], [str(uuid.uuid4())],
                     ['{"kind":"text","text":"x"}'], [False],
                     STATES)["status"]

    for ahead, status in ((60000, "ok"), (-1, "unpaid"), (60000, "ok")):
        sql.admin("UPDATE consult.session SET paid_until_ms ="
                  " consult.ms(clock_timestamp()) + %s WHERE id = %s",
                  ahead, room.session)
        assert say() == status

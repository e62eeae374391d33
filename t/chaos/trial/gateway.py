"""What an nginx worker does for sessions, and what it remembers of it.

Keeps a lease and renews it, opens an interval for each party that is with it,
closes it when the party goes and at paid_until by its own clock, hears of
sessions from Redis and from renewals, nudges the worker.  Whoever asks it for
something is served by its own thread, which tries until it is done: the
database may be away.

Its memory is evidence that shares nothing with the database: of each interval
when it was opened, and how late at most it may end.
"""

import contextlib
import json
import threading
import time

import psycopg
import redis as redis_client
from .bed import boot_ms

LIVE = ["accepted", "connecting", "active", "reconnecting", "paused"]
ANY = ["ringing", *LIVE]
RENEW_S = 0.5


class Gateway(threading.Thread):
    def __init__(self, life, silence_ms=500):
        super().__init__(daemon=True)
        self.bench, self.silence = life, silence_ms
        self.lock = threading.RLock()
        self.wanted = set()         # (session, who): with us, to be joined
        self.ends = []              # (session, who) asked for
        self.switches = []          # those asked for, not answered
        self.asked = []             # all: see switch()
        self.sessions = {}          # id -> {ver, state, paid}
        self.mine = {}              # (session, who) -> interval
        self.cut = set()            # (session, who) stopped at paid_until
        self.closings = {}          # interval -> (life, reason, session)
        self.evidence = {}          # interval -> [opened, may end by]
        self.serving = {}           # (session, who) -> instant: relays since
        self.served = {}            # (session, who) -> [(since, until)]
        self.ticks = set()          # (session, billed_ms, charged) told
        self.conn = self.id = None
        self.proven = 0             # by the last renewal that was answered
        self.sent = -1              # life_ms of the last renewal sent
        self.abandoned = []         # (lease, life_ms) to be closed
        self.orphans = []           # (lease, session, who, opened, ended)
        self.alive, self.frozen = True, False
        self.renewed = 0
        self.troubles = 0
        self.pubsub = None
        self.start()

    # -- what people do (any thread) -----------------------------------------

    def come(self, session, who):
        with self.lock:
            self.wanted.add((session, who))

    def leave(self, session, who, ago_ms=0):
        """Gone; noticed only ago_ms after the last byte."""
        with self.lock:
            self.wanted.discard((session, who))
            self.cut.discard((session, who))
            self.stop_unpaid()
            if (session, who) in self.mine:
                self.shut(session, who, self.life() - ago_ms, "gone")

    def end(self, session, who):
        with self.lock:
            self.ends.append((session, who))

    def switch(self, session, who, service):
        """Remembered as [session, who, service, instant of the first try, of
        the last, what became of it: None as long as nobody knows]."""
        with self.lock:
            self.switches.append([session, who, service, None, None, None])

    def has(self, session, who):
        with self.lock:
            return (session, who) in self.wanted

    def settled_down(self):
        """Is everything that was asked for done?"""
        with self.lock:
            return not self.closings and not self.ends

    def die(self):
        """kill -9: nothing is said to anybody."""
        self.alive = False
        self.join(30)
        self.forget()

    def forget(self):
        """The lease is not ours any more: nothing of it was after now."""
        for key in list(self.serving):      # what came after is its own loss
            self.serve_no_more(key, self.started + self.proven)

        for interval in self.mine.values():
            self.limit(interval, self.sent)
        for interval, (life, _, _) in self.closings.items():
            self.limit(interval, max(life, self.sent))
        self.mine, self.closings, self.id = {}, {}, None
        self.cut.clear()

    # -- the clock ---------------------------------------------------------

    def life(self):
        return boot_ms() - self.born

    def now(self):
        return self.started + self.life()

    def limit(self, interval, life):
        self.evidence[interval][1] = max(self.evidence[interval][1], life)

    # -- its thread ----------------------------------------------------------

    def run(self):
        while self.alive:
            time.sleep(0.01)

            if self.frozen:
                continue

            try:
                with self.lock:
                    self.once()
            except psycopg.Error as error:
                self.trouble = error
                self.troubles += 1
                with contextlib.suppress(psycopg.Error):
                    if self.conn is not None:
                        self.conn.close()
                self.conn = None
                time.sleep(0.05)

            except Exception as error:
                self.bench.trouble = error
                raise

        with contextlib.suppress(Exception):
            if self.conn is not None:
                self.conn.close()
            if self.pubsub is not None:
                self.pubsub.close()

    def once(self):
        with contextlib.suppress(redis_client.RedisError):
            self.listen()

        self.stop_unpaid()

        if self.conn is None:
            self.conn = psycopg.connect(self.bench.dsn("astro_web"),
                                        autocommit=True)

        while self.abandoned:
            self.call("gateway_close", *self.abandoned[-1])
            self.abandoned.pop()

        if self.id is None:
            self.open()

        if self.closings or time.monotonic() - self.renewed > RENEW_S:
            self.renew()

        for session, who in list(self.ends):
            if self.id is not None:         # the lease may be gone just now
                self.do_end(session, who)

        for one in list(self.switches):
            if self.id is not None:
                self.do_switch(one)

        for key in list(self.wanted):
            if self.id is None:
                return

            known = self.sessions.get(key[0])

            if key not in self.mine and key not in self.cut \
                    and (known is None or known["state"] != "ended"):
                self.join_one(*key)

    def call(self, name, *args):
        marks = ", ".join(["%s"] * len(args))
        cur = self.conn.execute(f"SELECT * FROM api.{name}({marks})", args)
        names = [column.name for column in cur.description]
        return [dict(zip(names, row)) for row in cur.fetchall()]

    def open(self):
        self.sent = self.proven = 0
        lease, = self.call("gateway_open", "py", 1, self.silence)
        self.started, self.born = lease["started_ms"], boot_ms()
        self.id = lease["gateway"]

    def renew(self):
        closings = list(self.closings.items())
        watched = list(self.sessions)
        life, before = self.life(), self.sent
        self.sent = life

        # an earlier try may have been committed: not earlier than that proves
        for interval, (end, _, _) in closings:
            self.limit(interval, max(end, before - self.silence))

        rows = self.call(
            "gateway_renew", self.id, life, [c[0] for c in closings],
            [c[1][0] for c in closings], [c[1][1] for c in closings],
            watched, [self.sessions[s]["ver"] for s in watched])

        self.renewed = time.monotonic()
        self.proven = life

        if rows and rows[0]["status"] == 410:
            self.forget()
            return

        for interval, _ in closings:
            del self.closings[interval]

        for row in rows:
            self.learn(row["session_id"], row["ver"], row["state"],
                       row["paid_until_ms"])

        for session in {c[1][2] for c in closings}:
            self.nudge(session)

    def join_one(self, session, who):
        life = self.life()

        try:
            row, = self.call("session_join", who, session, self.id, life,
                             LIVE)
        except psycopg.Error:
            # nobody knows whether that interval was opened: the lease ends
            self.orphans.append((self.id, session, who, life,
                                 max(life, self.sent)))
            self.abandoned.append((self.id, max(life, self.sent)))
            self.sent = max(life, self.sent)
            self.forget()
            raise

        known = self.sessions.setdefault(
            session, {"ver": 0, "state": "", "paid": None})

        if row["status"] != 200:
            if row["status"] == 503:
                self.forget()
            elif row["status"] == 409:      # it has ended
                self.wanted.discard((session, who))
            return

        self.mine[session, who] = row["interval_id"]
        self.evidence[row["interval_id"]] = [life, -1]
        self.learn(session, row["ver"], row["state"], row["paid_until_ms"])
        self.nudge(session)

    def do_end(self, session, who):
        row, = self.call("session_apply", who, session, "end", ANY, "ended",
                         ["client", "advisor"], None, self.id, self.life())
        self.ends.remove((session, who))
        self.learn(session, row["ver"], row["state"], row["paid_until_ms"])
        self.nudge(session)

    def do_switch(self, one):
        session, who, service = one[:3]
        life = self.life()

        if one[3] is None:
            one[3] = self.started + life
            self.asked.append(one)

        one[4] = self.started + life
        row, = self.call("session_switch", who, session, service, self.id,
                         life, LIVE)

        if row["status"] == 503:
            self.forget()
            return

        # after a try whose answer was lost, dup says that it was carried out,
        # or that another one was
        self.switches.remove(one)
        one[5] = row["status"], row["dup"]

        if row["status"] == 200:
            self.learn(session, row["ver"], row["state"],
                       row["paid_until_ms"])
            self.nudge(session)

    # -- what it hears -----------------------------------------------------

    def listen(self):
        if self.pubsub is None:
            self.pubsub = self.bench.bed.redis.client.pubsub()
            self.pubsub.subscribe(self.bench.prefix + "events")

        while True:
            message = self.pubsub.get_message(timeout=0)

            if message is None:
                return

            if message["type"] == "message":
                self.heard(message["data"])

    def heard(self, data):
        head, _, body = data.partition(b"\n")
        words = head.split()

        if words[0] == b"S":
            self.learn(int(words[1]), int(words[2]), words[3].decode(),
                       int(words[4]) or None)

        elif words[0] == b"T":
            for line in body.split(b"\n"):
                word = line.split()
                if word:
                    self.tick(*(int(w) for w in word[:3]))
                if word and int(word[5]):
                    self.ticks.add((int(word[0]), int(word[5]),
                                    int(word[6])))

        elif words[0] == b"U" and b'"billing_tick"' in body:
            of = json.loads(body)["payload"]
            self.ticks.add((int(of["session"][2:]), of["billed_ms"],
                            of["charged"]))

    def tick(self, session, ver, paid):
        known = self.sessions.get(session)
        if known is not None and known["state"] == "active":
            self.learn(session, ver, "active", paid)

    def learn(self, session, ver, state, paid):
        """By version, within a version by paid_until: as the module does."""
        known = self.sessions.get(session)

        if known is None or ver < known["ver"]:
            return

        if ver == known["ver"] and (known["paid"] or 0) >= (paid or 0):
            return

        # nginx has a timer for it; here a call may have taken its time
        self.stop_unpaid()
        known.update(ver=ver, state=state, paid=paid)

        if state == "ended":
            for key in [k for k in self.mine if k[0] == session]:
                self.wanted.discard(key)
                self.shut(*key, self.life(), "ended")

        elif paid is None or self.now() < paid:
            for key in [k for k in self.cut if k[0] == session]:
                self.cut.discard(key)

    def stop_unpaid(self):
        """The gateway's own part: nobody is served beyond what was paid."""
        if self.id is None:
            return

        for key in list(self.mine):
            known = self.sessions[key[0]]
            paid = known["paid"]

            if known["state"] != "active" or not paid:
                self.serve_no_more(key, self.now())
            elif self.now() < paid:
                self.serving.setdefault(key, self.now())
            else:
                self.shut(*key, paid - self.started, "unpaid")
                self.cut.add(key)

    def serve_no_more(self, key, until):
        since = self.serving.pop(key, None)
        if since is not None and since < until:
            self.served.setdefault(key, []).append((since, until))

    def shut(self, session, who, life, reason):
        self.serve_no_more((session, who), self.started + life)
        interval = self.mine.pop((session, who))
        self.closings[interval] = (max(life, 0), reason, session)

    def nudge(self, what):
        with contextlib.suppress(redis_client.RedisError):
            self.bench.bed.redis.client.publish(
                self.bench.prefix + "nudge", what)

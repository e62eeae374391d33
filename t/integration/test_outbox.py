"""The outbox: each call is made at least once under one key, whatever the
vendor does and whoever dies; what nobody knows is taken for neither."""

import json
import pathlib
import random
import signal
import subprocess
import time

import pytest

from billing_fixture import BINARY, SLOW, Bench, Redis, Worker, eventually
from sql_fixture import sql     # noqa: F401
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
    yield made
    made.close()


@pytest.fixture
def stripe():
    vendor = Vendor(seed=random.getrandbits(32))
    print("vendor's seed:", vendor.seed)
    yield vendor
    vendor.close()


def worker(bench, stripe, **settings):
    return bench.worker(**{"stripe_url": stripe.url,
                           "stripe_key_file": stripe.key_file, **settings})


def write(bench, n=1, to="acct_1", name="call"):
    """Calls that nobody waits for; their ids."""
    return [row[0] for row in bench.rows(
        "INSERT INTO billing.outbox (vendor, path, body, key, kind, about)"
        " SELECT 'stripe', '/v1/transfers', 'amount=100&currency=inr"
        "&destination=' || %s || '&metadata[name]=' || %s || x,"
        " %s || x, 'test', x FROM generate_series(1, %s) x RETURNING id",
        to, name, name, n)]


def state(bench, ident):
    return bench.one("SELECT state FROM billing.outbox WHERE id = %s", ident)


def wait(bench, ids, wanted="delivered", timeout=60):
    eventually(lambda: bench.one(
        "SELECT bool_and(state = %s) FROM billing.outbox WHERE id = ANY(%s)",
        wanted, ids), timeout, f"all {wanted}")


def once(stripe, n):
    """The vendor did all of them, and each once."""
    names = [t["metadata"]["name"] for t in stripe.books("transfer")]
    assert len(names) == len(set(names)) == n, (len(names), len(set(names)))


# answers ---------------------------------------------------------------------

def test_all_that_can_go_wrong_at_random(bench, stripe):
    """Each fault at once, three workers of which one after the other is
    killed: in the vendor's own record each call is there once."""
    stripe.faults(delay=0.1, late=0.1, delay_ms=300, error=0.1,
                  error_after=0.05, hangup=0.1, lost=0.1, half=0.05,
                  limit=0.03, retry_after_s=1)
    ids = write(bench, 300)
    workers = [worker(bench, stripe, calls_at_once=4) for _ in range(3)]
    began, dead = time.monotonic(), []

    def some(part):
        # backoff is seconds and minutes: not for a test to wait for
        hurry(bench, dead)
        return bench.one("SELECT count(*) FROM billing.outbox"
                         " WHERE state = 'delivered'") >= part * len(ids)

    for i, part in enumerate((0.2, 0.4)):
        eventually(lambda part=part: some(part), 60)
        workers[i].kill()
        dead.append(workers[i].process.pid)
        workers.append(worker(bench, stripe, calls_at_once=4))

    eventually(lambda: some(1), 90)
    once(stripe, len(ids))
    happened = stripe.seen()["happened"]
    assert set(happened) == {"delay", "late", "error", "error_after",
                             "hangup", "lost", "half", "limit"}, happened
    print(f"{stripe.seen()['requests']} requests, {happened},"
          f" {time.monotonic() - began:.1f} s")
    assert bench.one("SELECT max(attempts) FROM billing.outbox") > 1


def test_who_is_killed_leaves_a_claim_that_ends(bench, stripe):
    """The first worker dies in mid-call; nobody touches the call before its
    claim has ended, then it is made again under the same key."""
    stripe.faults(late=1, delay_ms=1500)
    first = worker(bench, stripe, call_timeout_seconds=5)
    ident, = write(bench)
    eventually(lambda: stripe.seen()["requests"] == 1)
    first.kill()
    stripe.faults()
    second = worker(bench, stripe, call_timeout_seconds=5)
    eventually(lambda: "outbox" in [line["connection"] for line in
                                    second.said("database connected")])
    assert state(bench, ident) == "waiting"
    left = bench.one("SELECT extract(epoch FROM due_at - clock_timestamp())"
                     "::float FROM billing.outbox WHERE id = %s", ident)
    assert 5 < left <= 35
    assert len(stripe.books("transfer")) == 1

    # the vendor is still at the first: 409 until it has done with it
    eventually(lambda: (hurry(bench, [first.process.pid]),
                        state(bench, ident) == "delivered")[1])
    once(stripe, 1)
    assert stripe.seen()["requests"] >= 2


def test_a_time_out_is_no_success_and_no_failure(bench, stripe):
    stripe.faults(late=1, delay_ms=2000)
    ident, = write(bench)
    worker(bench, stripe, call_timeout_seconds=1)
    eventually(lambda: bench.one(
        "SELECT attempts = 1 AND doubts = 1 AND error ~ 'timed out'"
        " FROM billing.outbox WHERE id = %s", ident))
    assert state(bench, ident) == "waiting"
    assert len(stripe.books("transfer")) == 1

    stripe.faults()
    wait(bench, [ident])
    once(stripe, 1)
    assert bench.one("SELECT doubts FROM billing.outbox") == 0


def test_a_no_after_a_doubt_is_asked_once_more(bench, stripe):
    """A first call that was lost might be on its way: a no to the second is
    not believed before that one cannot arrive any more."""
    stripe.faults(hangup=1)
    ident, = write(bench, to="acct_gone")
    w = worker(bench, stripe, call_timeout_seconds=1)
    eventually(lambda: bench.one("SELECT doubts FROM billing.outbox") >= 1)
    stripe.faults()
    eventually(lambda: bench.one("SELECT code = 400 AND doubts = 0"
                                 " FROM billing.outbox"))
    assert state(bench, ident) == "waiting"
    left = bench.one("SELECT extract(epoch FROM due_at - clock_timestamp())"
                     "::float FROM billing.outbox")
    assert 50 < left < 62

    hurry(bench)
    wait(bench, [ident], "refused")
    assert "No such destination" in bench.one(
        "SELECT error FROM billing.outbox")
    eventually(lambda: w.said("call refused"))

    # one without a doubt is believed at once
    ident, = write(bench, to="acct_gone", name="other")
    wait(bench, [ident], "refused")
    assert bench.one("SELECT attempts FROM billing.outbox WHERE id = %s",
                     ident) == 1


def test_retry_after_is_for_all_calls_to_the_vendor(bench, stripe):
    stripe.faults(limit=1, retry_after_s=3)
    worker(bench, stripe, calls_at_once=1)
    ids = write(bench, 5)
    eventually(lambda: stripe.seen()["requests"] == 1)
    first = time.monotonic()
    eventually(lambda: bench.one("SELECT count(*) FROM billing.outbox"
                                 " WHERE code = 429") == 1)
    stripe.faults()
    wait(bench, ids)
    assert time.monotonic() - first > 2.5
    # 429 is no attempt
    assert bench.one("SELECT max(attempts) FROM billing.outbox") == 1
    once(stripe, 5)


def test_a_vendor_that_is_away(bench, stripe):
    stripe.faults(closed=True)
    ids = write(bench, 40)
    worker(bench, stripe)
    eventually(lambda: bench.one("SELECT count(*) FROM billing.outbox"
                                 " WHERE error IS NOT NULL") > 0)
    # nothing left this machine: there is no doubt, and nobody hammers it
    eventually(lambda: bench.one("SELECT sum(doubts) FROM billing.outbox")
               == 0)
    stripe.faults()
    hurry(bench)
    wait(bench, ids)
    once(stripe, 40)


def test_our_key_is_wrong(bench, stripe):
    bench.expected = ["the vendor does not take our key"]
    pathlib.Path(stripe.key_file).write_text("sk_old\n", encoding="ascii")
    ident, = write(bench)
    w = worker(bench, stripe)
    eventually(lambda: w.said("the vendor does not take our key"))
    assert state(bench, ident) == "waiting"

    # the right one is taken with SIGHUP, and neither is ever in the log
    pathlib.Path(stripe.key_file).write_text(f"{stripe.key}\n",
                                             encoding="ascii")
    w.process.send_signal(signal.SIGHUP)
    eventually(lambda: w.said("configuration taken"))
    wait(bench, [ident])
    once(stripe, 1)
    assert "sk_" not in json.dumps(w.lines)


# parked ----------------------------------------------------------------------

def command(bench, *words, check=0):
    done = subprocess.run(
        [BINARY, "outbox", "-o", f"pg={bench.dsn('astro_worker')}", *words],
        text=True, capture_output=True, check=False)
    assert done.returncode == check, done.stdout + done.stderr
    return done.stdout


def gauges(bench):
    return {(name, labels): value for name, labels, value in
            bench.rows("SELECT * FROM billing.gauges()")}


def test_parked_is_shown_and_can_be_tried_again(bench, stripe):
    bench.expected = ["call parked"]
    stripe.faults(error=1)
    ids = write(bench, 3)
    w = worker(bench, stripe, outbox_attempts=2)
    eventually(lambda: (hurry(bench), len(w.said("call parked")) == 3)[1])
    wait(bench, ids, "parked")
    assert gauges(bench)["outbox", 'state="parked"'] == 3
    assert gauges(bench)["outbox", 'state="waiting"'] == 0

    said = command(bench, check=1)
    assert said.endswith("outbox: 3 parked\n")
    assert f"{ids[0]} stripe test 1 call1 attempts=2 doubts=2 code=500" in said

    stripe.faults()
    command(bench, "--retry", str(ids[0]), check=1)
    wait(bench, [ids[0]])
    assert "2 will be tried again" in command(bench, "--retry")
    wait(bench, ids)
    once(stripe, 3)
    assert command(bench) == "outbox: 0 parked\n"
    assert command(bench, "--state", "delivered").count("\n") == 4
    command(bench, "--retry", "x", check=2)
    command(bench, "1", check=2)


def test_a_key_that_may_be_forgotten_is_not_used_again(bench, stripe):
    bench.expected = ["call parked"]
    stripe.faults(hangup=1)
    ident, = write(bench)
    w = worker(bench, stripe)
    eventually(lambda: bench.one("SELECT doubts FROM billing.outbox") >= 1)
    # one that is under way meanwhile is in doubt, too
    bench.rows("UPDATE billing.outbox SET"
               " first_at = clock_timestamp() - interval '24 hours'")
    eventually(lambda: (hurry(bench), bench.one(
        "SELECT state FROM billing.outbox") == "parked")[1])
    stripe.faults()
    assert w.said("call parked")
    assert stripe.books("transfer") == []

    assert "0 will be tried again" in command(bench, "--retry", check=1)
    assert "1 will be tried again" in command(bench, "--retry", "--force")
    wait(bench, [ident])
    once(stripe, 1)


def test_an_answer_that_the_vendor_keeps_is_not_asked_for_again(bench,
                                                               stripe):
    bench.expected = ["call parked"]
    ident, = write(bench)
    w = worker(bench, stripe)
    wait(bench, [ident])
    # the same key for something else
    bench.rows("UPDATE billing.outbox SET key = 'used' WHERE id = %s", ident)
    other, = write(bench, name="cal")
    wait(bench, [other])
    bench.rows("INSERT INTO billing.outbox (vendor, path, body, key, kind,"
               " about) VALUES ('stripe', '/v1/transfers', 'amount=5"
               "&currency=inr&destination=acct_1', 'call1', 'test', 7)")
    eventually(lambda: w.said("call parked"))
    assert bench.one("SELECT attempts, code FROM billing.outbox"
                     " WHERE key = 'call1'") == (1, 400)
    assert len(stripe.books("transfer")) == 2


def test_somebody_has_looked(bench, stripe):
    ids = write(bench, 2)
    bench.rows("UPDATE billing.outbox SET state = 'parked'")
    command(bench, "--done", "tr_123", str(ids[0]), check=1)
    assert "0 parked" in command(bench, "--not-done", str(ids[1]))
    assert [state(bench, i) for i in ids] == ["delivered", "refused"]
    command(bench, "--not-done", str(ids[1]), check=2)


def test_what_has_ended_is_removed_in_time(bench, stripe):
    ids = write(bench, 3)
    bench.rows("UPDATE billing.outbox SET state = 'delivered', ended_at ="
               " clock_timestamp() - make_interval(days => 10 * id::int)")
    ended = [row[0] for row in bench.rows(
        "SELECT id FROM billing.outbox ORDER BY id")]
    assert ended == ids
    days = 10 * ids[1] - 1
    assert bench.one("SELECT billing.outbox_sweep(%s, 1000)", days) == 2
    assert [row[0] for row in bench.rows("SELECT id FROM billing.outbox")] \
        == ids[:1]


# what an answer means, by itself -----------------------------------------------

VERDICTS = [
    (200, '{"id": "tr_1"}', None, False, "yes"),
    (201, '{"id": "tr_1", "x": null}', None, True, "yes"),
    (200, '{}', None, False, "again"),
    (200, '{"id": 5}', None, False, "again"),
    (200, '{"id": ""}', None, False, "again"),
    (200, '[]', None, False, "again"),
    (200, 'tr_1', None, False, "again"),
    (200, '{"id": "tr_1"', None, False, "again"),
    (200, '{"id": "a\\u0000b"}', None, False, "again"),
    (302, '{"id": "tr_1"}', None, False, "again"),
    (400, '{"error": {"type": "invalid_request_error"}}', None, False, "no"),
    (402, '{"error": {"type": "card_error"}}', None, False, "no"),
    (400, '{"error": {"type": "invalid_request_error"}}', True, False,
     "again"),
    (400, '<html>', None, False, "again"),
    (400, '{"error": {"type": "idempotency_error"}}', None, False, "park"),
    (409, '{"error": {"type": "idempotency_error"}}', None, False, "again"),
    (401, '{"error": {"type": "invalid_request_error"}}', None, False,
     "again"),
    (404, '{"error": {"type": "invalid_request_error"}}', None, False,
     "again"),
    (429, '{"error": {"type": "invalid_request_error"}}', None, False,
     "again"),
    (500, '{"error": {"type": "api_error"}}', None, False, "again"),
    (500, '{"error": {"type": "api_error"}}', None, True, "park"),
    (500, '{"error": {"type": "api_error"}}', False, False, "park"),
    (503, '', None, False, "again"),
]


@pytest.mark.parametrize("code, answer, retry, replayed, verdict", VERDICTS)
def test_what_an_answer_means(bench, code, answer, retry, replayed, verdict):
    assert bench.one(
        "SELECT billing.outbox_verdict(%s, billing.outbox_answer(%s), %s, %s)",
        code, answer, retry, replayed) == verdict


def test_an_old_claim_says_nothing(bench):
    """Who was stopped for longer than its claim finds it taken over."""
    ident, = write(bench)

    def claim(who):
        rows = bench.rows("SELECT id, claim FROM billing.outbox_claim("
                          "%s, '{stripe}', 10, 2000)", who)
        return rows[0][1] if rows else None

    def record(no, code=400):
        return bench.rows(
            "SELECT state FROM billing.outbox_record(%s, 5, 1000)",
            json.dumps([{"id": ident, "claim": no, "result": "answered",
                         "code": code, "answer": json.dumps(
                             {"id": "tr_1", "error": {"type": "card_error"}})
                         }]))

    first = claim("a")
    assert claim("b") is None
    time.sleep(2.1)
    second = claim("b")
    assert second == first + 1
    assert record(first) == [] and state(bench, ident) == "waiting"
    # b's no comes while a's call may be on its way
    assert record(second) == [("waiting",)]
    hurry(bench)
    assert record(claim("c"), 200) == [("delivered",)]
    assert record(second + 1) == []
    assert state(bench, ident) == "delivered"


SLEEPY = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res)
{ sleep(30); return EAI_AGAIN; }
"""


def test_a_name_that_nobody_finds_keeps_nothing_waiting(bench, stripe,
                                                        tmp_path, monkeypatch):
    """The lookup takes 30 s: neither a time-out nor the stop waits for it."""
    if b"__asan_init" in BINARY.read_bytes():
        pytest.skip("nothing can be put before a sanitizer")

    (tmp_path / "sleepy.c").write_text(SLEEPY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "sleepy.so",
                    tmp_path / "sleepy.c"], check=True)
    ident, = write(bench)
    monkeypatch.setenv("LD_PRELOAD", str(tmp_path / "sleepy.so"))
    w = worker(bench, stripe, stripe_url="https://vendor.test")
    monkeypatch.delenv("LD_PRELOAD")
    # of 5 s
    eventually(lambda: bench.one("SELECT error ~* 'timed out' FROM"
                                 " billing.outbox WHERE id = %s", ident), 15)
    assert bench.one("SELECT doubts FROM billing.outbox") == 0
    eventually(lambda: bench.one("SELECT attempts FROM billing.outbox") == 2,
               15)
    time.sleep(0.5)
    before = time.monotonic()
    w.process.send_signal(signal.SIGTERM)
    w.process.wait(60)
    assert time.monotonic() - before < 10


# TLS, and where it may go ------------------------------------------------------

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself: [file, key]."""
    home = tmp_path_factory.mktemp("tls")
    files = [str(home / "cert.pem"), str(home / "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048",
                    "-nodes", "-days", "2", "-subj", "/CN=vendor",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-out",
                    files[0], "-keyout", files[1]], check=True,
                   capture_output=True)
    return files


def test_tls_is_verified(bench, authority):
    vendor = Vendor(tls=authority)

    try:
        ident, = write(bench)
        doubting = worker(bench, vendor)
        eventually(lambda: bench.one("SELECT error ~* 'certificate'"
                                     " FROM billing.outbox"))
        assert vendor.seen()["requests"] == 0
        assert bench.one("SELECT doubts FROM billing.outbox") == 0
        doubting.stop()

        worker(bench, vendor, stripe_ca_file=authority[0])
        hurry(bench)
        wait(bench, [ident])
        once(vendor, 1)
    finally:
        vendor.close()


WRONG = [("stripe_url", "http://vendor.test"), ("stripe_url", "ftp://x"),
         ("stripe_url", "https://u:p@x"), ("stripe_url", "https://x/path"),
         ("stripe_url", "https://x?y"), ("payout_time", "24:00"),
         ("payout_time", "9:00"), ("payout_time", "09:00"),
         ("payout_minimum", "inr:5"), ("payout_minimum", "*:"),
         ("payout_minimum", ""), ("calls_at_once", "0")]


@pytest.mark.parametrize("name, value", WRONG)
def test_a_wrong_setting_is_named(name, value):
    done = subprocess.run([BINARY, "run", "-o", "pg=host=/nowhere", "-o",
                           f"{name}={value}"], text=True, capture_output=True,
                          timeout=20, check=False)
    assert done.returncode == 2 and name in done.stderr


def test_no_file_no_start(bench):
    w = Worker(bench, stripe_key_file="/nowhere/key")
    w.process.wait(10 * SLOW)
    assert w.process.returncode == 1
    eventually(lambda: w.said("cannot read a vendor's key"))

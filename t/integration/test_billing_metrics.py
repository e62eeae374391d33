"""The worker's GET /metrics: what it tells, and who may cost it what."""

import contextlib
import re
import socket
import subprocess


import pytest

from billing_fixture import BINARY, SLOW, Bench, Redis, Talk, eventually
from sql_fixture import sql     # noqa: F401


@pytest.fixture(scope="module")
def redis():
    server = Redis()
    yield server
    server.close()


@pytest.fixture
def bench(sql, redis):          # noqa: F811
    made = Bench(sql, redis)
    yield made
    made.close()


def dial(address):
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address[5:])
    else:
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host.strip("[]"), int(port)))

    sock.settimeout(20 * SLOW)
    return sock


def ask(address, request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
    """Status line and body; the worker closes."""
    with dial(address) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(request)
        data = b""
        while chunk := sock.recv(65536):
            data += chunk

    head, _, body = data.decode().partition("\r\n\r\n")
    return head.split("\r\n")[0], body


def values(address):
    """name{labels} -> number, of a page that promtool finds no fault with."""
    status, body = ask(address)
    assert status == "HTTP/1.1 200 OK"
    judged = subprocess.run(["promtool", "check", "metrics"], input=body,
                            text=True, capture_output=True, check=False)
    assert judged.returncode == 0, judged.stderr
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in body.splitlines() if not line.startswith("#")}


@pytest.fixture
def place(tmp_path):
    return f"unix:{tmp_path}/m.sock"


def test_a_session_is_counted(bench, place):
    bench.worker(metrics_listen=place).ready()
    before = values(place)
    assert before['astro_billing_build_info{version="0.1.0"}'] == 1
    assert before["astro_billing_shards_held"] == 256
    assert before["astro_billing_pg_up"] >= 2
    eventually(lambda: values(place)["astro_billing_redis_up"] == 2)
    eventually(lambda: values(place).get("astro_billing_shards_free") == 0)

    talk = Talk(bench).active().ticked(2)
    assert values(place)["astro_billing_sessions_known"] == 1
    talk.end()
    bench.settled(talk.id)
    eventually(lambda: values(place)["astro_billing_sessions_known"] == 0)
    now = values(place)

    def more(name):
        return now["astro_billing_" + name] - before["astro_billing_" + name]

    charges = bench.session(talk.id, "charge_no")
    assert more('ticks_total{path="fast"}') \
        + more('ticks_total{path="slow"}') == charges
    assert more("tick_lag_seconds_count") == charges
    assert more('tick_lag_seconds_bucket{le="+Inf"}') == charges
    assert more("sessions_settled_total") == 1
    assert more("sessions_ended_total") <= 1
    assert more("batch_sessions_count") >= charges
    assert more("due_total") >= charges
    assert more("nudges_total") >= 1
    assert more("redis_published_total") >= charges
    assert more("redis_dropped_total") == 0
    assert more("pg_call_seconds_count") > charges
    assert 0 < more("pg_call_seconds_sum") < 60
    assert more("batches_failed_total") == 0
    assert more('scrapes_total{outcome="ok"}') >= 2


def test_an_outage_is_told(bench, place):
    bench.worker(metrics_listen=place).ready()
    bench.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               " WHERE datname = current_database()"
               " AND usename = 'astro_worker'")
    eventually(lambda: values(place)["astro_billing_pg_lost_total"] >= 2)
    eventually(lambda: values(place)["astro_billing_pg_connects_total"] >= 4)


def test_renewals_are_counted(bench, place):
    bench.worker(metrics_listen=place).ready()
    eventually(lambda: values(place)["astro_billing_lease_renewals_total"]
               >= 3)
    assert values(place)["astro_billing_lease_renewals_failed_total"] == 0


@pytest.mark.parametrize("request_, status", [
    (b"GET / HTTP/1.1\r\n\r\n", "404"),
    (b"GET /metrics2 HTTP/1.1\r\n\r\n", "404"),
    (b"GET /metric HTTP/1.1\r\n\r\n", "404"),
    (b"GET /metrics?workers=1 HTTP/1.1\r\n\r\n", "200"),
    (b"GET /metrics\n\n", "200"),
    (b"HEAD /metrics HTTP/1.0\r\n\r\n", "200"),
    (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
    (b"\r\n\r\n", "400"),
    (b"\0\xff\r\n /metrics\r\n\r\n", "400"),
    (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 9000 + b"\r\n", "431"),
], ids=range(10))
def test_what_is_asked(asked, request_, status):
    said, body = ask(asked, request_)
    assert said.split()[1] == status
    assert (b"HEAD" in request_) == (body == "")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A worker without a database: the page is there all the same."""
    place = f"unix:{tmp_path_factory.mktemp('m')}/m.sock"
    process = subprocess.Popen(
        [BINARY, "run", "-o", "pg=host=/nonexistent", "-o",
         f"metrics_listen={place}"], stderr=subprocess.DEVNULL)
    eventually(lambda: dial_quietly(place))
    yield place
    process.terminate()
    assert process.wait(10 * SLOW) == 0


def dial_quietly(place):
    with contextlib.suppress(OSError), dial(place):
        return True


def test_nobody_costs_more_than_a_connection(asked):
    """Idle ones are cut off; those over 16 at once; others are served."""
    idle = [dial(asked) for _ in range(40)]

    with contextlib.suppress(OSError):
        for sock in idle:
            sock.sendall(b"GET /met")

    closed = 0

    for sock in idle:
        with contextlib.suppress(ConnectionError):
            assert sock.recv(1) == b""
        closed += 1

    assert closed == 40
    assert ask(asked)[0] == "HTTP/1.1 200 OK"
    bad = re.search(r'scrapes_total\{outcome="refused"\} (\d+)', ask(asked)[1])
    assert int(bad.group(1)) >= 24


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def run(*options):
    return subprocess.Popen(
        [BINARY, "run", "-o", "pg=host=/nonexistent",
         *[word for option in options for word in ("-o", option)]],
        stderr=subprocess.PIPE, text=True)


def test_on_a_port_and_only_one(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    first = run(f"metrics_listen={address}")

    try:
        eventually(lambda: dial_quietly(address))
        second = run(f"metrics_listen={address}")
        _, said = second.communicate(timeout=20 * SLOW)
        assert second.returncode == 1
        assert "metrics_listen" in said and address in said
        assert "in use" in said
        assert ask(address)[0] == "HTTP/1.1 200 OK"
    finally:
        first.terminate()
        first.communicate(timeout=20 * SLOW)

    assert first.returncode == 0


def test_a_killed_one_leaves_no_trouble(tmp_path):
    """Its socket is taken over; one that is answered is not."""
    place = f"unix:{tmp_path}/m.sock"
    first = run(f"metrics_listen={place}")
    eventually(lambda: dial_quietly(place))
    assert (tmp_path / "m.sock").stat().st_mode & 0o777 == 0o660
    second = run(f"metrics_listen={place}")
    assert "in use" in second.communicate(timeout=20 * SLOW)[1]
    first.kill()
    first.communicate()
    third = run(f"metrics_listen={place}")
    eventually(lambda: dial_quietly(place))
    assert ask(place)[0] == "HTTP/1.1 200 OK"
    third.terminate()
    third.communicate(timeout=20 * SLOW)
    assert third.returncode == 0
    assert not (tmp_path / "m.sock").exists()


@pytest.mark.parametrize("address", ["0.0.0.0:9000", "10.0.0.1:9000",
                                     "localhost:9000", "[::]:9000",
                                     "127.0.0.1", "127.0.0.1:0",
                                     "unix:relative", "127.x:80"])
def test_of_this_machine_alone(address):
    done = run(f"metrics_listen={address}")
    assert f'metrics_listen = "{address}" is not unix:/path' \
        in done.communicate(timeout=20 * SLOW)[1]
    assert done.returncode == 2


def test_off_unless_asked_for(bench):
    worker = bench.worker().ready()
    assert not worker.said("listening")
    pid = worker.process.pid
    listening = subprocess.run(["ss", "-Hlnp"], text=True, check=True,
                               stdout=subprocess.PIPE).stdout
    assert f"pid={pid}," not in listening

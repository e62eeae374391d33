"""A pause by a party is an instant: nothing after it is billed and nothing
before it is lost, whoever hears of it late, or never."""

import json
import time

import pytest

from billing_fixture import (BINARY, Talk, bench, empty, eventually, redis)
from sql_fixture import LIVE, call1, sql    # noqa: F401

pytestmark = pytest.mark.skipif(not BINARY.exists(),
                                reason=f"{BINARY} is not built")


class Paused(Talk):
    """Paused by a request that came to a third gateway; those of the parties
    hear nothing of it, and go on renewing their leases."""

    def __init__(self, bench):
        super().__init__(bench, rate=60000,
                         gateways=[bench.gateway(), bench.gateway()])
        self.third = bench.gateway()
        self.active().ticked(2)
        for gateway in (self.cgw, self.agw):
            with gateway.lock:
                gateway.blind = True
        self.act("pause")
        self.at, self.since = bench.session(self.id, "state_ms, active_ms")

    def act(self, name):
        with self.third.lock:
            row = call1(self.third.conn, f"session_{name}", self.client,
                        self.id, json.dumps({}), self.third.id,
                        self.third.life(), LIVE)
        assert row["status"] == 200, row
        self.third.nudge(self.id)

    def proven(self):
        """Until the leases of both prove more than the pause."""
        eventually(lambda: self.bench.one(
            "SELECT min(started_ms + life_ms - silence_ms)"
            " FROM consult.gateway WHERE id IN (%s, %s)", self.cgw.id,
            self.agw.id) > self.at + 500, 10, "leases beyond the pause")


def test_f7_gateways_hear_late_of_a_pause(bench):
    bench.worker(pause_seconds=900).ready()
    talk = Paused(bench)
    talk.proven()
    bench.until(talk.id, f"billed_ms = {talk.at - talk.since}", 10)
    time.sleep(0.7)
    for gateway, who in ((talk.cgw, talk.client), (talk.agw, talk.advisor)):
        gateway.leave(talk.id, who)
    eventually(lambda: bench.one(
        "SELECT count(*) FROM consult.interval WHERE close_life_ms IS NULL")
        == 0, 10, "closed")
    assert bench.session(talk.id, "billed_ms") == talk.at - talk.since
    talk.third.end(talk.id, talk.client)
    ms, _ = bench.settled(talk.id, "client_ended")
    assert ms == talk.at - talk.since
    bench.clean()


def test_f7_nobody_hears_of_a_pause_that_ends_the_session(bench):
    bench.worker(pause_seconds=900).ready()
    talk = Paused(bench)
    talk.third.end(talk.id, talk.client)
    ms, _ = bench.settled(talk.id, "client_ended")
    assert ms == talk.at - talk.since
    talk.proven()
    bench.clean()


def test_x4_nobody_hears_of_a_pause_that_is_too_long(bench):
    bench.worker(pause_seconds=2).ready()
    talk = Paused(bench)
    ms, _ = bench.settled(talk.id, "pause_expired", 20)
    assert ms == talk.at - talk.since
    assert bench.session(talk.id, "end_ms") == talk.at
    bench.clean()


def test_f7_nobody_hears_of_a_pause_that_is_over(bench):
    """Resumed before the gateways know that it was paused: they join anew."""
    bench.worker(pause_seconds=900).ready()
    talk = Paused(bench)
    talk.proven()
    talk.act("resume")
    again = bench.session(talk.id, "state_ms")
    assert again - talk.at > 500
    for gateway in (talk.cgw, talk.agw):
        with gateway.lock:
            gateway.blind = False
    talk.active().ticked(2)
    talk.cgw.end(talk.id, talk.client)
    ms, _ = bench.settled(talk.id, "client_ended")
    end = bench.session(talk.id, "end_ms")
    assert ms <= talk.at - talk.since + end - again
    bench.clean()

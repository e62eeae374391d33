#!/usr/bin/python3
"""An independent oracle of what sessions cost.

Reads histories, one a line (what is in a line: history.h), and computes from
who was there when, the rates and the options, in exact fractions, what was to
be charged; then compares every number of the engine's.  Knows the rules alone:

- billable is the time that both were there, before the end and within what was
  paid for
- the first free ms of it cost nothing
- a segment costs its rate a minute for the rest of its billable time, or for
  each minute begun, rounded down to a minor unit
- anything beyond the free time costs the minimum at least; nothing costs more
  than the client's maximum
- the platform's part is so many 1/10000 of all that was charged, rounded down
- a session ends for want of money, or at a maximum, when one ms more could not
  be had

usage: oracle_history.py < lines     exit status 1: something is wrong
"""

import sys
from bisect import bisect_right
from fractions import Fraction
from math import ceil, floor


class Wrong(Exception):
    pass


def numbers(text):
    return [[int(n) for n in item.split(":")] for item in text.split(",")
            ] if text else []


def there(rows, party):
    """The union of somebody's intervals."""
    union = []

    for _, start, end in sorted(r for r in rows if r[0] == party):
        if union and start <= union[-1][1]:
            union[-1][1] = max(union[-1][1], end)
        else:
            union.append([start, end])

    return union


def together(rows):
    """When both were there: disjoint stretches in order."""
    both = []

    for a, b in there(rows, 0):
        for c, d in there(rows, 1):
            if max(a, c) < min(b, d):
                both.append((max(a, c), min(b, d)))

    return both


class Presence:
    """How long both were there before an instant."""

    def __init__(self, rows):
        self.both = together(rows)
        self.starts = [a for a, _ in self.both]
        self.before = [0]

        for a, b in self.both:
            self.before.append(self.before[-1] + b - a)

    def until(self, at):
        i = bisect_right(self.starts, at)

        if i == 0:
            return 0

        a, b = self.both[i - 1]
        return self.before[i - 1] + min(b, at) - a

    def at(self, instant):
        i = bisect_right(self.starts, instant)
        return i > 0 and instant < self.both[i - 1][1]


class Price:
    """What the first so many billable ms cost."""

    def __init__(self, options, rates):
        (self.whole, self.least, self.free, self.most) = options
        self.rates = rates          # (from which billable ms on, rate)

    def plain(self, ms):
        """Without the maximum."""
        cost = 0

        for i, (start, rate) in enumerate(self.rates):
            end = self.rates[i + 1][0] if i + 1 < len(self.rates) else ms
            time = min(end, ms) - max(start, self.free)

            if time <= 0:
                continue

            if self.whole:
                cost += rate * ceil(Fraction(time, 60000))
            else:
                cost += floor(Fraction(rate * time, 60000))

        if ms > self.free:
            least = self.least

            if self.most is not None:
                least = min(least, self.most)

            cost = max(cost, least)

        return cost

    def __call__(self, ms):
        cost = self.plain(ms)
        return cost if self.most is None else min(cost, self.most)


def same(what, engine, oracle):
    if engine != oracle:
        raise Wrong(f"{what}: {engine}, and should be {oracle}")


def check(line):
    """Returns how many numbers were compared."""
    seed, tariff, segments, rows, end, charges, paid = line.split("|")
    rate, bps, whole, least, free, most, max_ms = map(int, tariff.split())
    most = None if most < 0 else most
    end_ms, paid_until, reason, *totals = end.split()
    billed, charged, fee, funds = map(int, totals)
    segments, rows = numbers(segments), numbers(rows)
    options = whole, least, free, most
    presence = Presence(rows)

    def price(count, upto=None):
        """With the first segments alone, all that will be there if both stay
        from the instant upto on."""
        starts = [(0, rate)]

        for at, new in segments[:count]:
            ms = presence.until(at)

            if upto is not None and at > upto:
                ms = presence.until(upto) + at - upto

            starts.append((ms, new))

        return Price(options, starts)

    cost = price(len(segments))

    # all that was billable was billed, as far as there was money
    cut = min(int(end_ms), int(paid_until)) if int(paid_until) >= 0 else 0
    served = presence.until(cut)

    # of one ms more: at the rate of its end, or, as it had been apart for a
    # while, at that of any switch since: both may have come back between two
    # of them, and been cut off, before anybody decided
    since = sum(at <= int(end_ms) for at, _ in segments)
    dearer = max(price(count).plain(billed + 1)
                 for count in range(since, len(segments) + 1))

    if billed >= served or not (billed == max_ms or dearer > funds
                                or (most is not None and dearer > most)):
        same("billed_ms", billed, served)

    same("charged", charged, cost(billed))
    same("fee", fee, floor(Fraction(bps, 10000) * charged))
    compared = 3

    if reason == "low_balance":
        if dearer <= funds and funds > 0:
            raise Wrong(f"ended at {billed} ms, {funds} pay for one more")

        compared += 1

    if reason == "max_reached":
        if billed != max_ms and (most is None or dearer <= most):
            raise Wrong(f"no maximum is reached by {billed} ms")

        compared += 1

    if (max_ms >= 0 and billed > max_ms) or (most is not None
                                             and cost.plain(billed) > most):
        raise Wrong("beyond the client's maximum")

    if charged > funds:
        raise Wrong("more was charged than there was")

    # each charge is for the time since the one before
    before = before_fee = 0
    known_by = {}

    for ms, amount, part in numbers(charges):
        now = cost(ms)
        now_fee = floor(Fraction(bps, 10000) * now)
        same(f"amount at {ms} ms", amount, now - before)
        same(f"fee at {ms} ms", part, now_fee - before_fee)
        before, before_fee = now, now_fee
        compared += 2

    same("sum of the charges", before, charged)

    # what was held lasts until paid_until and not one ms longer
    for at, committed, until, count, known in numbers(paid):
        if known not in known_by:
            known_by[known] = Presence(rows[:known])

        presence = known_by[known]

        if not presence.at(at - 1):
            continue

        cost = price(count, at)
        ms = presence.until(at) + until - at

        if until >= at and (cost.plain(ms) > committed
                            or (max_ms >= 0 and ms > max_ms)
                            or (most is not None and cost.plain(ms) > most)):
            raise Wrong(f"at {at}: {committed} do not last until {until}")

        dearer = cost.plain(ms + 1)

        if (dearer <= committed and ms != max_ms
                and (most is None or dearer <= most)):
            raise Wrong(f"at {at}: {committed} last longer than {until}")

        compared += 2

    return compared


def main():
    histories = compared = 0

    for line in sys.stdin:
        try:
            compared += check(line.rstrip("\n"))
        except Wrong as error:
            print(f"{error}\nHISTORY={line}", end="", flush=True)
            return 1

        histories += 1

    print(f"{histories} histories, {compared} numbers compared with exact"
          " fractions: 0 minor units of error", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

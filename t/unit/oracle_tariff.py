#!/usr/bin/python3
"""An independent oracle of the tariff: exact fractions, no integer tricks.

Prints test vectors for check_billing_tariff.c, one a line:

    c RATE MS CHARGED            charged(MS), or "-" where C must refuse
    f BPS CHARGED FEE
    r RATE FUNDS MS              the largest ms that FUNDS pay for

usage: oracle_tariff.py [SEED] [COUNT]
"""

import random
import sys
from fractions import Fraction
from math import floor

INT64_MAX = 2**63 - 1
MS_MAX = 2**53


def charged(rate, ms):
    return floor(Fraction(rate, 60) * Fraction(ms, 1000))


def fee(bps, amount):
    return floor(Fraction(bps, 100) / 100 * amount)


def reach(rate, funds):
    """By bisection over charged(): knows nothing of a formula for it."""
    low, high = 0, MS_MAX

    while low < high:
        middle = (low + high + 1) // 2

        if charged(rate, middle) <= funds:
            low = middle
        else:
            high = middle - 1

    return low


def pick(rng, top):
    """Small, round, huge and just any numbers alike."""
    kind = rng.randrange(5)

    if kind == 0:
        return rng.choice([0, 1, 2, 59999, 60000, 60001, top - 1, top])

    if kind == 1:
        return rng.randrange(min(top, 100000) + 1)

    if kind == 2:
        return min(top, rng.randrange(1, 1000) * 60000)

    return min(top, int(2 ** rng.uniform(0, top.bit_length())))


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    rng = random.Random(seed)
    lines = []

    for _ in range(count):
        rate = max(1, pick(rng, INT64_MAX if rng.random() < 0.2 else 10**9))
        ms = pick(rng, MS_MAX)
        amount = charged(rate, ms)
        lines.append(f'c {rate} {ms} {amount if amount <= INT64_MAX else "-"}')

        bps = rng.choice([0, 1, 3000, 9999, 10000, rng.randrange(10001)])
        amount = pick(rng, INT64_MAX)
        lines.append(f'f {bps} {amount} {fee(bps, amount)}')

        funds = pick(rng, INT64_MAX)
        lines.append(f'r {rate} {funds} {reach(rate, funds)}')

    print('\n'.join(lines))


if __name__ == '__main__':
    main()

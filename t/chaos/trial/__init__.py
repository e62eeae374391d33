"""Crash trials: short lives of a whole billing system, in which something
dies, and whose books must be right all the same.  See ../trials.py.

    bed       PostgreSQL, Redis, billing workers: to be killed and started
    proxy     between a worker and PostgreSQL: loses answers, cuts one way
    gateway   what an nginx worker does for sessions, and remembers what it saw
    life      people, sessions, money, and what goes on among them meanwhile
    strikes   the kinds of trial: what is done to all of that
    oracle    what the books must say afterwards, from BILLING.md alone
    stack     the same done to a real nginx
"""

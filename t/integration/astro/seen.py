"""Which routes the tests have called: for t/tested.py."""

import os
import re

from .schema import patterns

KNOWN = set()


def seen(method, path, status):
    """In a test, answered with what it is for.  What follows from the table
    of routes (test_matrix.py) asks by a client of its own and is not here."""
    folder = os.environ.get('ASTRO_SEEN')
    where = os.environ.get('PYTEST_CURRENT_TEST', '')

    if not folder or status >= 400 or not where.endswith('(call)'):
        return

    path = path.split('?')[0]
    method = 'GET' if method == 'HEAD' else method
    for known, pattern, regex, _ in patterns():
        if known == method and regex.match(path):
            break
    else:
        return

    route = f'{method} {re.sub(r"{[^}]*}", "{}", pattern)}'
    if route not in KNOWN:
        KNOWN.add(route)
        with open(os.path.join(folder, f'{os.getpid()}.seen'), 'a',
                  encoding='utf-8') as file:
            file.write(f'{route} {where.split(" ")[0]}\n')

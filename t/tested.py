#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
"""Which routes have no test of their own.

    t/tested.py FOLDER

FOLDER has what the REST client of the tests wrote (t/integration/astro/
seen.py): the routes that answered a test with success.  The generated matrix
does not count: it asks every route, and knows nothing of what one is for.
Exit status 1 if a route of the table is not among them.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / 'integration'))

from astro.routes import ROUTES, called         # noqa: E402


def untested(folder):
    seen = set()
    for file in pathlib.Path(folder).glob('*.seen'):
        for line in file.read_text().splitlines():
            seen.add(tuple(line.split(' ')[:2]))
    return [called(r) for r in ROUTES
            if (r.method, re.sub(r'\{\w+\}', '{}', r.path)) not in seen]


if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    missing = untested(sys.argv[1])
    for route in missing:
        print(f'no test of its own has called {route}')
    print(f'{len(ROUTES) - len(missing)} of {len(ROUTES)} routes have a test'
          ' of their own')
    sys.exit(bool(missing))

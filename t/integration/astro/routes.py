"""The module's tables of routes, read from its sources."""

import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[3]

Route = collections.namedtuple('Route', 'method path roles function params'
                               ' body handler theme')

ROW = re.compile(r'\{\s*(\w+)\s*,\s*ngx_string\("([^"]*)"\)\s*,\s*([\w|\s]+?)'
                 r'\s*,\s*"(\w+)"\s*,\s*"(\w*)"\s*,\s*(\w+)\s*,\s*(\w+)\s*\}')
ROLES = {'CLIENT': {'client'}, 'ADVISOR': {'advisor'}, 'ADMIN': {'admin'},
         'ANY': {'client', 'advisor', 'admin'}, '0': set()}


def table():
    """Every row; an empty set of roles: anybody, without a token."""
    rows = []
    for file in sorted((ROOT / 'ngx_astro_module').glob(
            'ngx_astro_routes_*.c')):
        text = file.read_text()
        found = ROW.findall(text)
        assert len(found) == text.count('ngx_string('), \
            f'{file.name}: a row is written in a way that is not understood'
        for method, path, roles, function, params, body, handler in found:
            rows.append(Route(
                method, path,
                frozenset().union(*(ROLES[r.strip()]
                                    for r in roles.split('|'))),
                function, params, {'0': None}.get(body, body),
                handler if handler != 'NULL' else None,
                file.stem.rsplit('_', 1)[1]))
    return rows


ROUTES = table()


def called(route):
    """Its name: method and path."""
    return f'{route.method} {route.path}'

"""The module's tables of routes, read from its sources: ours, and the names
that routes of ours have had elsewhere (paths of old)."""

import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[3]

Route = collections.namedtuple('Route', 'method path roles function params'
                               ' body handler theme')

ROW = re.compile(r'\{\s*(\w+)\s*,\s*ngx_string\("([^"]*)"\)\s*,\s*([\w|\s]+?)'
                 r'\s*,\s*"(\w+)"\s*,\s*"(\w*)"\s*,\s*(\w+)\s*,\s*(\w+)\s*\}')
ROLES = {'CLIENT': {'client'}, 'ADVISOR': {'advisor'}, 'ADMIN': {'admin'},
         'ANY': {'client', 'advisor', 'admin'}, '0': set(),
         # which limit it takes from, not who may
         'SEARCH': set(), 'MONEY': set(), 'SLOW': set()}


def table():
    """Every row; an empty set of roles: anybody, without a token."""
    rows = []
    for file in sorted((ROOT / 'ngx_astro_module').glob(
            'ngx_astro_routes_*.c')):
        if file.name == OLD_FILE:
            continue
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


OLD_FILE = 'ngx_astro_routes_old.c'

# when: (member, value) or None; names: {theirs: (ours, words)};
# sets: {ours: value} of what nothing gave
Old = collections.namedtuple('Old', 'method path when our_method ours names'
                             ' sets')

OLD_ROW = re.compile(r'\{\s*(\w+)\s*,\s*ngx_string\("([^"]*)"\)\s*,\s*'
                     r'(NULL|"[^"]*")\s*,\s*(\w+)\s*,\s*ngx_string\("([^"]*)"\)'
                     r'\s*,\s*(\w+)\s*\}')
NAMES = re.compile(r'ngx_astro_old_name_t\s+(\w+)\[\] = \{(.*?)\n\};', re.S)
NAME = re.compile(r'\{\s*(NULL|"\w+"),\s*"([^"]*)",\s*(NULL|"[^"]*")\s*\}')


def old_table():
    """Every path of old, several times if a value decides what it is."""
    text = (ROOT / 'ngx_astro_module' / OLD_FILE).read_text()
    for name, value in re.findall(r'#define (\w+)\s+\\\n\s*("[^"]*")', text):
        text = text.replace(f' {name} ', f' {value} ')
    names = {}
    for array, body in NAMES.findall(text):
        found = NAME.findall(body)
        assert len(found) == body.count('{') - body.count('"{') - 1, array
        names[array] = found
    rows = []
    for method, path, when, our_method, ours, array in OLD_ROW.findall(text):
        theirs, sets = {}, {}
        for name, to, words in names.get(array, ()):
            words = words.strip('"') if words != 'NULL' else None
            if name == 'NULL':
                sets[to] = words
            else:
                theirs[name.strip('"')] = (to, words)
        rows.append(Old(method, path, tuple(when.strip('"').split('='))
                        if when != 'NULL' else None,
                        our_method, ours, theirs, sets))
    assert 2 * len(rows) == text.count('ngx_string(')
    return rows


def aliases(routes, olds):
    """Paths of old as routes."""
    known = {(r.method, r.path): r for r in routes}
    seen = {}
    for old in olds:
        route = known[old.our_method, old.ours]
        reads = old.when or any(to[0] == '{' for to, _ in old.names.values())
        seen.setdefault((old.method, old.path), route._replace(
            method=old.method, path=old.path, theme='old',
            body='JSON' if reads else route.body))
    return list(seen.values())


OLD = old_table()
OURS = table()
ROUTES = OURS + aliases(OURS, OLD)


def called(route):
    """Its name: method and path."""
    return f'{route.method} {route.path}'

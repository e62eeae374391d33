"""The OpenAPI document: lint-clean, and equal to the table of routes."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from astro.routes import ROOT, ROUTES, called
from astro.schema import document, operations, resolve, wrong

PEERS = ROOT / 'build' / 'test-peers' / 'node_modules'
REDOCLY = PEERS / '@redocly' / 'cli' / 'bin' / 'cli.js'


def plain(path):
    return re.sub(r'\{\w+\}', '{}', path)


TABLE = {(r.method, plain(r.path)): r for r in ROUTES}
SAID = {(method, plain(path)): op for method, path, op in operations()}


def test_n10_every_route_is_documented():
    missing = sorted(called(r) for key, r in TABLE.items() if key not in SAID)
    assert not missing, f'not in conf/openapi: {missing}'


def test_n10_no_operation_without_a_route():
    assert sorted(key for key in SAID if key not in TABLE) == []


def test_routes_are_all_different():
    assert len(TABLE) == len(ROUTES)
    assert len(ROUTES) >= 13


@pytest.mark.parametrize('key', sorted(set(TABLE) & set(SAID)),
                         ids=lambda k: f'{k[0]} {k[1]}')
def test_n10_an_operation_is_its_route(key):
    route, op = TABLE[key], SAID[key]
    assert set(op['x-roles']) == route.roles, 'x-roles'
    assert op.get('x-function', op['operationId']) == route.function
    assert op['summary']

    if route.body in ('JSON', 'RAW'):
        assert op['requestBody']['required'] is True
    elif route.body == 'OPT':
        assert not op['requestBody'].get('required')
    else:
        assert 'requestBody' not in op

    names = {resolve(p)['name'] for p in op.get('parameters', ())}
    for letter, name in (('l', 'limit'), ('c', 'cursor'), ('m', 'If-Match')):
        assert (letter in route.params) <= (name in names), name
    assert route.path.count('{') <= 2
    if route.theme == 'old':
        assert op['deprecated'] is True
        return
    for letter, n in (('p', 1), ('q', 2)):
        assert (letter in route.params) <= (route.path.count('{') >= n)
    assert not set(route.params) - set('urpqbQlcmhksi')
    assert ('b' in route.params) <= (route.body in ('JSON', 'OPT'))


def test_operation_ids_are_unique():
    ids = [op['operationId'] for op in SAID.values()]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize('key', sorted(SAID), ids=lambda k: f'{k[0]} {k[1]}')
def test_n10_examples_are_what_the_schemas_say(key):
    op = SAID[key]
    contents = []
    if 'requestBody' in op:
        contents.append(op['requestBody']['content']['application/json'])
    good = [s for s in op['responses'] if s.startswith('2')]
    assert good, 'no answer that is a success'
    for status in good:
        said = resolve(op['responses'][status])
        if status != '204':
            contents.append(said['content']['application/json'])
    for content in contents:
        assert 'example' in content or 'examples' in content
        examples = [content['example']] if 'example' in content else [
            e['value'] for e in content['examples'].values()]
        for example in examples:
            assert wrong(content['schema'], example) is None


def test_it_is_served(rest):
    answer = rest.get('/api/openapi.json')
    assert answer.status == 200
    assert answer.headers.get_content_type() == 'application/json'
    built = pathlib.Path(os.environ.get('ASTRO_BUILD') or 'build')
    built = built if built.is_absolute() else ROOT / built
    assert answer.json == json.loads((built / 'openapi.json').read_text())
    assert answer.json == document()
    again = rest.get('/api/openapi.json',
                     headers={'If-None-Match': answer.headers['ETag']})
    assert (again.status, again.body) == (304, b'')


def test_n10_lint(tmp_path):
    """Redocly's recommended rules: not one error or warning."""
    assert REDOCLY.exists(), 'scripts/setup.sh test installs it'
    file = tmp_path / 'openapi.json'
    file.write_text(json.dumps(document(), indent=1))
    done = subprocess.run(
        ['node', REDOCLY, 'lint', '--config',
         ROOT / 't' / 'openapi' / 'redocly.yaml', '--format', 'json',
         '--max-problems', '50', file], cwd=tmp_path, text=True,
        capture_output=True, timeout=120,
        env={**os.environ, 'REDOCLY_TELEMETRY': 'off', 'CI': 'true',
             'REDOCLY_SUPPRESS_UPDATE_NOTICE': 'true'})
    said = json.loads(done.stdout)
    problems = [f"{p['ruleId']} {p['location'][0].get('pointer')}:"
                f" {p['message']}" for p in said['problems']
                # what others called their paths we cannot help; ours are
                # looked at first
                if p['ruleId'] != 'no-ambiguous-paths'
                or '`/api/sessions/end/{s}`' not in p['message']]
    assert not problems and done.returncode == 0

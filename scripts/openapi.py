#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
"""Joins conf/openapi/*.json into one OpenAPI 3.1 document.

    scripts/openapi.py build/openapi.json

base.json has what is common; each other file the paths and schemas of a theme,
its name is their tag.  What follows from an operation as it stands is added:
the answers 4XX and 5XX, the parameters in its path, Idempotency-Key, and
"security" from "x-roles".
"""

import json
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).resolve().parents[1] / 'conf' / 'openapi'
METHODS = ('get', 'post', 'put', 'patch', 'delete')


def unique(pairs):
    keys = [key for key, _ in pairs]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f'given twice: {", ".join(sorted(twice))}')
    return dict(pairs)


def read(file):
    try:
        return json.loads(file.read_text(), object_pairs_hook=unique)
    except ValueError as error:
        sys.exit(f'openapi.py: {file}: {error}')


def complete(path, method, operation, tag):
    roles = operation['x-roles']
    operation.setdefault('tags', [tag])
    operation.setdefault('security', [{'bearer': []}] if roles else [])
    for status in ('4XX', '5XX'):
        operation['responses'].setdefault(
            status, {'$ref': '#/components/responses/Problem'})

    given = operation.setdefault('parameters', [])
    named = {p.get('name') for p in given}
    for name in re.findall(r'\{(\w+)\}', path):
        if name not in named:
            given.append({'name': name, 'in': 'path', 'required': True,
                          'description': 'an id',
                          'schema': {'$ref': '#/components/schemas/Id'}})
    if method != 'get' and roles:
        given.append({'$ref': '#/components/parameters/IdempotencyKey'})
    if not given:
        del operation['parameters']


def join():
    whole = read(FOLDER / 'base.json')
    whole.setdefault('paths', {})

    for file in sorted(FOLDER.glob('*.json')):
        if file.name == 'base.json':
            continue
        part = read(file)
        for path, item in part.get('paths', {}).items():
            for method, operation in item.items():
                if method in METHODS:
                    try:
                        complete(path, method, operation, file.stem)
                    except KeyError as missing:
                        sys.exit(f'openapi.py: {file}: {method} {path} has no'
                                 f' {missing}')
            there = whole['paths'].setdefault(path, {})
            for method in set(there) & set(item):
                sys.exit(f'openapi.py: {file}: {method} {path} is in another'
                         ' file, too')
            there.update(item)
        for kind, things in part.get('components', {}).items():
            there = whole['components'].setdefault(kind, {})
            for name in set(there) & set(things):
                sys.exit(f'openapi.py: {file}: {kind} {name} is in another'
                         ' file, too')
            there.update(things)

    return whole


if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[1])
    new = target.with_suffix('.new')
    new.write_text(json.dumps(join(), ensure_ascii=False,
                              separators=(',', ':')) + '\n')
    new.rename(target)

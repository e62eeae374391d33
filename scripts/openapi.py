#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
"""Joins conf/openapi/*.json into one OpenAPI 3.1 document.

    scripts/openapi.py build/openapi.json

base.json has what is common, frames.json ("x-websocket", and "x-websocket-old"
for clients of old) what goes over the WebSocket; each other file the paths and schemas of a theme, its name is their
tag.  What follows from an operation as it stands is added:
the answers 4XX and 5XX, the parameters in its path, Idempotency-Key, and
"security" from "x-roles".

An operation with "x-alias": "GET /api/x" is that one under a name of old, with
what "x-names" of the body or query are called otherwise: {"theirs": "ours"},
{"theirs": {"to": "ours", "words": {"their value": "ours"}}}, or ours "{s}": it
is in the path.  "x-sets": what is set if nothing gave it; "x-when": a member
whose value decides which operation it is.
"""

import copy
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


def resolve(whole, thing):
    while '$ref' in thing:
        at = whole
        for step in thing['$ref'].lstrip('#/').split('/'):
            at = at[step]
        thing = at
    return thing


def old_parameters(whole, path, method, ours, names):
    """Those of ours, by their old names; ids in the path, another's."""
    given = []
    for parameter in ours.get('parameters', ()):
        said = resolve(whole, parameter)
        theirs = [name for name, to in names.items() if to == said['name']]
        if said['in'] == 'query' and theirs:
            given += [{**said, 'name': name, 'required': False}
                      for name in theirs]
        elif said['in'] != 'path' and not (
                said['name'] == 'Idempotency-Key' and method == 'get'):
            given.append(parameter)
    return given + [
        {'name': name, 'in': 'path', 'required': True, 'description': 'an id',
         'schema': {'$ref': '#/components/schemas/Id'}}
        for name in re.findall(r'\{(\w+)\}', path)]


def old_body(whole, ours, names, words, alias):
    """The body with the old names; ours are understood, too."""
    content = ours.get('requestBody', {}).get('content', {}).get(
        'application/json', {'schema': {'type': 'object'}, 'example': {}})
    schema = copy.deepcopy(resolve(whole, content['schema']))
    schema.pop('example', None)
    known = schema.setdefault('properties', {})
    example = content.get('example')
    if example is None:
        example = next(iter(content['examples'].values()))['value']
    example = {name: value for name, value in example.items()
               if name not in alias.get('x-sets', {})}
    required = set(schema.pop('required', ()))

    for name, to in names.items():
        if to[0] == '{':
            known[name] = {'$ref': '#/components/schemas/Id'}
            if not any(names.get(one) == to for one in example):
                example[name] = f'{"s" if name in words else to[1]}_17'
            continue
        known[name] = {'description': f'as {to}'} if name in words \
            else copy.deepcopy(known[to])
        required.discard(to)
        if to in example:
            value = example.pop(to)
            if isinstance(value, str):
                value = {v: k for k, v in words.get(name, {}).items()}.get(
                    value, value)
                value = {'true': True, 'false': False}.get(value, value)
            example[name] = value

    for name, values in alias.get('x-when', {}).items():
        known[name] = {'enum': sorted(values)}
        required.add(name)
        example[name] = next(iter(values))
    required -= set(alias.get('x-sets', {}))
    if required:
        schema['required'] = sorted(required)

    reads = alias.get('x-when') or any(to[0] == '{' for to in names.values())
    return {**({'required': True} if reads or
               ours['requestBody'].get('required') else {}),
            'content': {'application/json': {'schema': schema,
                                             'example': example}}}


def old_operation(whole, path, method, alias):
    """The whole operation of an alias."""
    our_method, our_path = alias['x-alias'].split()
    ours = whole['paths'][our_path][our_method.lower()]
    names = {theirs: to if isinstance(to, str) else to['to']
             for theirs, to in alias.get('x-names', {}).items()}
    words = {theirs: to.get('words', {})
             for theirs, to in alias.get('x-names', {}).items()
             if not isinstance(to, str)}

    made = {key: value for key, value in copy.deepcopy(ours).items()
            if key not in ('operationId', 'parameters', 'requestBody',
                           'description')}
    made.update(alias)
    made['operationId'] = '_'.join(
        ['old', method] + re.findall(r'\w+', path)[1:])
    made['x-function'] = ours.get('x-function', ours['operationId'])
    made['summary'] = f'As {alias["x-alias"]}'
    made['deprecated'] = True
    made['tags'] = ['old']
    given = old_parameters(whole, path, method, ours, names)
    if given:
        made['parameters'] = given
    if method != 'get' and (names or 'x-when' in alias):
        made['requestBody'] = old_body(whole, ours, names, words, alias)
    elif 'requestBody' in ours:
        made['requestBody'] = copy.deepcopy(ours['requestBody'])
    return made


def join():
    whole = read(FOLDER / 'base.json')
    whole.setdefault('paths', {})

    aliases = []

    for file in sorted(FOLDER.glob('*.json')):
        if file.name == 'base.json':
            continue
        part = read(file)
        for path, item in part.get('paths', {}).items():
            for method, operation in item.items():
                if method in METHODS and 'x-alias' in operation:
                    aliases.append((path, method, operation))
                elif method in METHODS:
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
        whole.update({name: part[name] for name in
                      ('x-websocket', 'x-websocket-old') if name in part})
        for kind, things in part.get('components', {}).items():
            there = whole['components'].setdefault(kind, {})
            for name in set(there) & set(things):
                sys.exit(f'openapi.py: {file}: {kind} {name} is in another'
                         ' file, too')
            there.update(things)

    for path, method, alias in aliases:
        try:
            whole['paths'][path][method] = old_operation(whole, path, method,
                                                         alias)
        except KeyError as missing:
            sys.exit(f'openapi.py: {method} {path} is another name of what'
                     f' there is not: {missing}')

    return whole


if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[1])
    new = target.with_suffix('.new')
    new.write_text(json.dumps(join(), ensure_ascii=False,
                              separators=(',', ':')) + '\n')
    new.rename(target)

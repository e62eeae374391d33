"""The OpenAPI document: which operation a request is, and whether what was
said is what the document says (JSON Schema, as much of it as we use)."""

import functools
import importlib.util
import json
import re

from .routes import ROOT


@functools.lru_cache
def document():
    spec = importlib.util.spec_from_file_location(
        'openapi', ROOT / 'scripts' / 'openapi.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.join()


def operations():
    """(METHOD, path, operation) for each."""
    for path, item in document()['paths'].items():
        for method, operation in item.items():
            if isinstance(operation, dict):
                yield method.upper(), path, operation


@functools.lru_cache
def patterns():
    """Literal paths before those with ids, as the module finds them."""
    found = [(method, path, re.compile(
        re.sub(r'\\\{\w+\\\}', '[^/]+', re.escape(path)) + r'\Z'), op)
        for method, path, op in operations()]
    return sorted(found, key=lambda row: (row[1].count('{'), row[1]))


def operation(method, path):
    path = path.split('?')[0]
    for known, _, pattern, op in patterns():
        if known == method and pattern.match(path):
            return op
    return None


def resolve(schema):
    while '$ref' in schema:
        at = document()
        for step in schema['$ref'].lstrip('#/').split('/'):
            at = at[step]
        schema = at
    return schema


TYPES = {
    'object': lambda v: isinstance(v, dict),
    'array': lambda v: isinstance(v, list),
    'string': lambda v: isinstance(v, str),
    'boolean': lambda v: isinstance(v, bool),
    'null': lambda v: v is None,
    'integer': lambda v: isinstance(v, int) and not isinstance(v, bool),
    'number': lambda v: isinstance(v, (int, float))
    and not isinstance(v, bool),
}


def wrong(schema, value, at='', strict=False):
    """None, or where and how value is not what the schema says.  strict: nor
    may it have members that are not listed, unless it says so."""
    if '$ref' in schema:
        beside = {k: v for k, v in schema.items() if k != '$ref'}
        said = beside and wrong(beside, value, at)
        if said:
            return said
    schema = resolve(schema)
    kinds = schema.get('type')
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(TYPES[kind](value) for kind in kinds):
            return f'{at or "/"} is no {" or ".join(kinds)}: {value!r}'
    if 'const' in schema and value != schema['const']:
        return f'{at or "/"} is not {schema["const"]!r}: {value!r}'
    if 'enum' in schema and value not in schema['enum']:
        return f'{at or "/"} is none of {schema["enum"]}: {value!r}'
    for some in ('oneOf', 'anyOf'):
        if some in schema:
            said = [wrong(one, value, at, strict) for one in schema[some]]
            if all(said):
                return f'{at or "/"} is none of {some}: {said}'
    for one in schema.get('allOf', ()):
        said = wrong(one, value, at)
        if said:
            return said
    if isinstance(value, str):
        if 'pattern' in schema and not re.search(schema['pattern'], value):
            return f'{at} is not like {schema["pattern"]}: {value!r}'
        if not schema.get('minLength', 0) <= len(value) \
                <= schema.get('maxLength', len(value)):
            return f'{at} has {len(value)} characters'
    if TYPES['number'](value):
        if not schema.get('minimum', value) <= value \
                <= schema.get('maximum', value):
            return f'{at} is out of range: {value}'
    if isinstance(value, dict):
        known = schema.get('properties', {})
        for name in schema.get('required', ()):
            if name not in value:
                return f'{at}/{name} is missing'
        if schema.get('additionalProperties', not strict
                      or 'properties' not in schema) is False \
                and set(value) - set(known):
            return f'{at} has {set(value) - set(known)}'
        rest = schema.get('additionalProperties')
        for name, member in value.items():
            one = known.get(name, rest if isinstance(rest, dict) else None)
            said = one and wrong(one, member, f'{at}/{name}', strict)
            if said:
                return said
    if isinstance(value, list) and 'items' in schema:
        for i, member in enumerate(value):
            said = wrong(schema['items'], member, f'{at}/{i}', strict)
            if said:
                return said
    return None


def answer_of(op, status):
    """The response object for a status, or None."""
    for key in (str(status), f'{status // 100}XX', 'default'):
        if key in op['responses']:
            return resolve(op['responses'][key])
    return None


def check_answer(method, path, status, kind, body):
    """None, or what is wrong; of paths that are not ours nothing is."""
    op = operation('GET' if method == 'HEAD' else method, path)
    if op is None or status in (304, 405, 413, 415) or method == 'HEAD':
        return None
    said = answer_of(op, status)
    if said is None:
        return f'{method} {path}: {status} is not in the document'
    content = said.get('content')
    if not content:
        return f'{method} {path}: {status} has a body' if body else None
    if kind not in content:
        return f'{method} {path}: {status} is {kind}, not {list(content)}'
    error = wrong(content[kind].get('schema', {}), json.loads(body)
                  if kind.endswith('json') else body.decode())
    return error and f'{method} {path}: {status}: {error}'

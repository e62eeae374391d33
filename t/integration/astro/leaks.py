"""What a stack may not have written down: its secrets, anybody's tokens, SDPs,
card numbers; in its logs, in what `nginx -T` prints, in a dump."""

import json
import os
import pathlib
import re
import subprocess

ANYWHERE = {
    'a token': r'eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}',
    'a key of Stripe': r'\b(sk|rk|whsec)_[A-Za-z0-9]{10,}',
    'a card number': r'\b4242 ?4242 ?4242 ?4242\b',
}
IN_LOGS = {
    'an SDP': r'a=(fingerprint|ice-pwd|candidate):|\bcandidate:\d+ \d',
    'a password': r'"password"|password=',
    'a code': r'code is \d{6}',
}
NAMED = re.compile(r'^\s*(?:astro_\w+_file|astro_jwt_keys|\w+_key_file)'
                   r'[ =]+(/\S+?);?\s*$|(?:secret|keys)=(/[^\s;]+)', re.M)


def secrets(stack):
    """{what: its content} of all files that the configurations name."""
    found = {}
    for name in ('nginx.conf', 'billing_worker.conf'):
        text = pathlib.Path(f'{stack.var}/etc/{name}').read_text()
        text = re.sub(r'^\s*#.*$', '', text, flags=re.M)
        for paths in NAMED.findall(text):
            path = paths[0] or paths[1]
            if not os.path.isfile(path):
                continue
            content = pathlib.Path(path).read_text('utf-8', 'replace')
            try:
                keys = json.loads(content)['keys']
                words = [key[k] for key in keys for k in ('k', 'd', 'p', 'q')
                         if k in key]
            except (ValueError, KeyError, TypeError):
                words = re.findall(r'[^\s:]{16,}', content)
            found.update({f'{path} ({n})': word
                          for n, word in enumerate(words)})
    return found


def look(text, words, patterns):
    """Names of what is in the text."""
    return [name for name, word in words.items() if word in text] \
        + [name for name, pattern in patterns.items()
           if re.search(pattern, text)]


def logs(stack):
    """[(file, what)] of all logs."""
    words, found = secrets(stack), []
    for file in sorted(pathlib.Path(f'{stack.var}/log').glob('*')):
        if file.is_file():
            text = file.read_text('utf-8', 'replace')
            found += [(file.name, what) for what in
                      look(text, words, {**ANYWHERE, **IN_LOGS})]
    return found


def configuration(stack):
    """[(where, what)] of what nginx prints of itself."""
    said = subprocess.run(
        ['/usr/sbin/nginx', '-T', '-p', f'{stack.var}/nginx',
         '-c', f'{stack.var}/etc/nginx.conf'],
        capture_output=True, text=True, check=False)
    assert 'astro_pg' in said.stdout, said.stderr
    return [('nginx -T', what) for what in
            look(said.stdout + said.stderr, secrets(stack), ANYWHERE)]


def dump(stack):
    with stack.db() as db:
        major = db.info.server_version // 10000
    said = subprocess.run(
        [f'/usr/lib/postgresql/{major}/bin/pg_dump',
         f'host={stack.var}/run dbname=astro user=postgres'],
        capture_output=True, text=True, check=True).stdout
    assert 'identity.account' in said
    return [('pg_dump', what) for what in
            look(said, secrets(stack), ANYWHERE)]

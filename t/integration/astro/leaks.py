"""What a stack may not have written down: its secrets, anybody's tokens, SDPs,
card numbers; in its logs, in what `nginx -T` prints, in a dump.

Every stack is looked through when it goes down (Stack.down())."""

import json
import os
import pathlib
import re
import subprocess

# name: what it looks like, and strings of which it has one: logs are long, and
# those are found in no time
ANYWHERE = {
    'a token': (r'eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}', 'eyJ'),
    'a key of Stripe': (r'\b(sk|rk|whsec)_[A-Za-z0-9]{10,}',
                        'sk_', 'rk_', 'whsec_'),
    'a card number': (r'\b4242 ?4242 ?4242 ?4242\b', '4242'),
}
IN_LOGS = {
    'an SDP': (r'a=(fingerprint|ice-pwd|candidate):|\bcandidate:\d+ \d',
               'a=fingerprint', 'a=ice-pwd', 'candidate:'),
    'a password': (r'"password"|password=', 'password'),
    'a code': (r'code is \d{6}', 'code is'),
}
NAMED = re.compile(r'^\s*(?:astro_\w+_file|astro_jwt_keys|\w+_key_file)'
                   r'[ =]+(/\S+?);?\s*$|(?:secret|keys)=(/[^\s;]+)', re.M)


def secrets(stack):
    """{what: its content} of all files that the configurations name."""
    found = {}
    for name in ('nginx.conf', 'billing_worker.conf'):
        file = pathlib.Path(f'{stack.var}/etc/{name}')
        if not file.is_file():      # of a stack that did not come up
            continue
        text = file.read_text('utf-8')
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
                # NAME:SECRET, of which the name is none
                words = [word for word in
                         (w.rsplit(':', 1)[-1] for w in content.split())
                         if len(word) >= 16]
            found.update({f'{path} ({n})': word
                          for n, word in enumerate(words)})
    return found


def look(text, words, patterns):
    """Names of what is in the text."""
    return [name for name, word in words.items() if word in text] \
        + [name for name, (pattern, *parts) in patterns.items()
           if any(part in text for part in parts)
           and re.search(pattern, text)]


def logs(stack):
    """[(file, what)] of all logs."""
    words, found = secrets(stack), []
    for file in sorted(pathlib.Path(f'{stack.var}/log').glob('*')):
        if file.is_file():
            text = file.read_text('utf-8', 'replace')
            found += [(file.name, what) for what in
                      look(text, words, {**ANYWHERE, **IN_LOGS})]
    return found


def configurations(stack):
    """[(file, what)] of the configurations, of which `nginx -T` prints one
    with what it includes."""
    words, found = secrets(stack), []
    for file in sorted(pathlib.Path(f'{stack.var}/etc').glob('*')):
        if file.is_file():
            text = file.read_text('utf-8', 'replace')
            found += [(f'etc/{file.name}', what)
                      for what in look(text, words, ANYWHERE)]
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

"""A PostgreSQL cluster that has been made, migrated and stopped: the one of a
stack is a copy of it.  There is one for each state of sql/, in the folder of
what is built; who needs it first makes it."""

import fcntl
import functools
import glob
import hashlib
import os
import shutil
import subprocess
import tempfile

from .ws import REPO

SCRIPT = os.path.join(REPO, 'scripts', 'stack.sh')


def state():
    """What a cluster is made of: two that differ are made apart."""
    seen = hashlib.sha256(str(os.geteuid()).encode())
    for name in sorted(glob.glob(f'{REPO}/sql/**/*.sql', recursive=True)
                       + [f'{REPO}/scripts/migrate.sh', SCRIPT]):
        with open(name, 'rb') as f:
            seen.update(f'{name[len(REPO):]}\0'.encode() + f.read())
    return seen.hexdigest()[:16]


@functools.lru_cache(maxsize=None)
def template():
    """The folder of it."""
    home = f'{REPO}/build/clusters'
    made = f'{home}/{state()}'
    os.makedirs(home, exist_ok=True)

    with open(f'{home}/lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(made):
            for old in glob.glob(f'{home}/[0-9a-f]*'):
                shutil.rmtree(old)
            make(made)
    return made


def make(made):
    var = tempfile.mkdtemp(prefix='astro-t-', dir='/tmp')
    os.chmod(var, 0o755)
    env = {k: v for k, v in os.environ.items()
           if not k.startswith('ASTRO_') or k == 'ASTRO_BUILD'}
    env.update({'ASTRO_VAR': var, 'ASTRO_PG_FSYNC': 'off'})

    def run(*command):
        done = subprocess.run(command, env=env, cwd=REPO, timeout=180,
                              stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.returncode == 0, f'{command}: {done.stdout}'

    try:
        run(SCRIPT, 'start', 'pg')
        try:
            run(SCRIPT, 'migrate')
        finally:
            run(SCRIPT, 'stop', 'pg')
        # by name only when it is whole: the next one may be killed before
        run('cp', '-a', f'{var}/pg', f'{made}.new')
        os.rename(f'{made}.new', made)
    finally:
        shutil.rmtree(var, ignore_errors=True)

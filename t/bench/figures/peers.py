"""The servers that ours is compared with.

Each is given what makes it fast: as many workers as there are cores, no
access log, no compression, no polling, statements prepared once.
"""

import os
import shutil
import subprocess

from . import machine
from .common import OUT, PEERS, Skip, end, free_port, need, run, wait_port
from .load import CHAT_TEXT, message, plan, text

MODULES = os.path.join(OUT, 'peers')        # of npm


class Ceiling:
    """Not a server to use: the least that a relay can do on this kernel."""

    name = 'ceiling'
    load_args = ()
    tls_port = None

    def __init__(self):
        self.port = free_port()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [os.path.join(OUT, 'ceiling'), str(self.port),
             str(machine.cores())], stdin=subprocess.DEVNULL)
        wait_port(self.port, self.process)

    def stop(self):
        end(self.process)

    def restart(self):
        self.start()

    def pids(self):
        return [self.process.pid]

    def relay_plans(self, n):
        return ([plan(f'/sub/c{i}') for i in range(n)]
                + [plan(f'/pub/c{i}', template=message(
                    '{"type":"ice","to":"u%d","data":"' % i, '"}'))
                   for i in range(n)])

    def idle_plans(self, n):
        return [plan(f'/sub/c{i}') for i in range(n)]


class Nchan(Ceiling):
    """Debian's libnginx-mod-nchan in Debian's nginx."""

    name = 'nchan'

    def __init__(self, stack, connections):
        super().__init__()
        self.stack = stack
        self.connections = connections
        self.tls_port = free_port()
        self.dir = os.path.join(stack.var, 'nchan')

    def start(self):
        nginx = need('nginx', 'nginx')
        modules = '/usr/lib/nginx/modules'
        if not os.path.exists(f'{modules}/ngx_nchan_module.so'):
            raise Skip('nchan is not there (Debian package '
                       'libnginx-mod-nchan)')
        os.makedirs(self.dir, exist_ok=True)
        with open(f'{PEERS}/nchan.conf.in', encoding='utf-8') as f:
            conf = f.read()
        for key, value in {
                'MODULES': modules, 'DIR': self.dir, 'PORT': self.port,
                'USER': 'user www-data;' if os.getuid() == 0 else '',
                'WORKERS': machine.cores(), 'TLS_PORT': self.tls_port,
                'CONNECTIONS': self.connections,
                'CERT': f'{self.stack.var}/tls/cert.pem',
                'KEY': f'{self.stack.var}/tls/key.pem'}.items():
            conf = conf.replace(f'@{key}@', str(value))
        path = f'{self.dir}/nginx.conf'
        with open(path, 'w', encoding='utf-8') as f:
            f.write(conf)
        self.process = subprocess.Popen(
            [nginx, '-p', self.dir, '-e', f'{self.dir}/error.log', '-c', path,
             '-g', 'daemon off;'], stdin=subprocess.DEVNULL)
        wait_port(self.port, self.process)


class SocketIO:
    """Socket.IO with its cluster adapter, on Node's cluster module."""

    name = 'Socket.IO'
    path = '/socket.io/?EIO=4&transport=websocket'
    tls_port = None

    # Engine.IO's heartbeat is a text of one character
    load_args = ('-a', '2=3')

    def __init__(self, stack, persist=False):
        self.stack = stack
        self.persist = persist
        self.port = free_port()
        self.process = None
        if persist:
            self.name = 'Socket.IO + pg'

    def start(self):
        self.process = node(
            'chat.js', PORT=self.port, WORKERS=machine.cores(),
            PERSIST=int(self.persist), env=self.stack.pg_env('peers'))
        wait_port(self.port, self.process)

    def stop(self):
        end(self.process)

    def restart(self):
        self.start()

    def pids(self):
        return [self.process.pid]

    def relay_plans(self, n):
        return self._plans(n, lambda i: message(
            '42["msg",{"room":"r%d","data":"' % i, '"}]'))

    def chat_plans(self, n):
        """Like ours, with the rooms, which here are not asked for."""
        return self._plans(n, lambda i:
                           '42["msg",{"room":"r%d","data":"' % i
                           + text(CHAT_TEXT) + '"}]'), None

    def idle_plans(self, n):
        return [self._plan(i) for i in range(n)]

    def stored(self, _):
        with self.stack.admin('peers') as db:
            return db.execute('SELECT count(*), 0 FROM chat_message'
                              ).fetchone()

    def _plans(self, n, template):
        return ([self._plan(i) for i in range(n)]
                + [self._plan(i, template(i)) for i in range(n)])

    def _plan(self, i, template='-'):
        # "0" opens the engine, "40" the namespace, "42" is an event, whose
        # acknowledgement is "43"
        return plan(self.path, '-', template, ('?0{', '>40', '?40{',
                    f'>420["join","r{i}"]', '?430'))


class Express:
    """Express and pg."""

    name = 'Express + pg'

    def __init__(self, stack):
        self.stack = stack
        self.port = free_port()
        self.process = None

    def start(self):
        self.process = node(
            'api.js', PORT=self.port, WORKERS=machine.cores(),
            SECRET_FILE=f'{self.stack.var}/secret/jwt',
            WEBHOOKS_FILE=f'{self.stack.var}/secret/webhooks',
            env=self.stack.pg_env('peers'))
        wait_port(self.port, self.process)

    def stop(self):
        end(self.process)


def node(script, *args, env=None, stdout=None, **settings):
    """Starts one of peers/*.js."""
    return subprocess.Popen(
        [need('node', 'nodejs'), os.path.join(PEERS, script),
         *[str(a) for a in args]],
        stdin=subprocess.DEVNULL, stdout=stdout, text=True,
        env={**(env or os.environ), 'NODE_PATH': packages(),
             'NODE_ENV': 'production',
             **{k: str(v) for k, v in settings.items()}})


def packages():
    """npm's packages, installed once, exactly those of package-lock.json."""
    modules = os.path.join(MODULES, 'node_modules')
    lock = os.path.join(MODULES, 'package-lock.json')
    with open(os.path.join(PEERS, 'package-lock.json'), 'rb') as f:
        wanted = f.read()
    try:
        with open(lock, 'rb') as f:
            if f.read() == wanted and os.path.isdir(modules):
                return modules
    except FileNotFoundError:
        pass

    npm = need('npm', 'npm')
    shutil.rmtree(MODULES, ignore_errors=True)
    os.makedirs(MODULES)
    shutil.copy(os.path.join(PEERS, 'package.json'), MODULES)
    shutil.copy(os.path.join(PEERS, 'package-lock.json'), lock)
    try:
        # no package of these needs its install script here
        run([npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'],
            cwd=MODULES, timeout=300)
    except Skip as e:
        shutil.rmtree(MODULES, ignore_errors=True)
        raise Skip(f'npm could not install the peers: {e}') from e
    return modules

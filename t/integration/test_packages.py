"""Debian packages (scripts/deb.sh), installed by dpkg into a folder of their
own: under a stock nginx that serves a site of its own all the while."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from astro.stack import alive, eventually, free_ports
from astro.ws import REPO, SLOW

pytestmark = pytest.mark.skipif(os.getuid() != 0,
                                reason='dpkg installs as root alone')

SITE = """user www-data;
worker_processes 2;
pid {root}/run/nginx.pid;
error_log {root}/error.log info;
include modules-enabled/*.conf;
events {{ worker_connections 512; }}
worker_shutdown_timeout 5s;
http {{
    access_log off;
    {include}
    server {{
        listen 127.0.0.1:{port};
        location = / {{ return 200 "the fleet's own site"; }}
        {locations}
    }}
}}
"""
LOCATIONS = """location /api/ { client_max_body_size 64k; astro_api; }
        location = /ws { astro_ws; }
        location = /metrics { astro_metrics; }
        location /health/ { astro_health; }"""
OLDER = '0.0.9'


def run(*command, **kw):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, check=False, **kw)
    if done.returncode:
        raise AssertionError(f'{command}: {done.stdout}')
    return done.stdout


@pytest.fixture(scope='module')
def packages(tmp_path_factory):
    """{package: file}, as built, and the same as an older version."""
    folder = tmp_path_factory.mktemp('deb')
    files = run(f'{REPO}/scripts/deb.sh', str(folder / 'new')).split()
    new = {pathlib.Path(f).name.split('_')[0]: f for f in files}
    old = {}
    for name, file in new.items():
        tree = folder / name
        run('dpkg-deb', '-R', file, str(tree))
        control = tree / 'DEBIAN/control'
        said = control.read_text()
        version = re.search('^Version: (.*)-1$', said, re.M).group(1)
        control.write_text(said.replace(f'Version: {version}-1',
                                        f'Version: {OLDER}-1'))
        for module in tree.glob('usr/lib/nginx/modules/*.so'):
            code = module.read_bytes()
            assert len(version) == len(OLDER) and version.encode() in code
            module.write_bytes(code.replace(version.encode(), OLDER.encode()))
        for conf in tree.glob('etc/**/*.conf'):
            conf.write_text(conf.read_text() + '# as it was then\n')
        old[name] = str(folder / f'{name}_{OLDER}-1.deb')
        run('dpkg-deb', '--root-owner-group', '-z1', '-b', str(tree),
            old[name])
    return {'new': new, 'old': old, 'version': version}


class Machine:
    """A folder with dpkg's own records, nginx's files, and a running nginx."""

    def __init__(self, root, stack):
        self.root, self.stack = root, stack
        self.port, = free_ports(1)
        for folder in ('var/lib/dpkg/info', 'var/lib/dpkg/updates',
                       'var/lib/dpkg/triggers', 'run', 'usr/share/nginx',
                       'usr/lib/nginx/modules', 'etc/nginx/modules-enabled'):
            (root / folder).mkdir(parents=True)
        (root / 'var/lib/dpkg/status').touch()
        (root / 'usr/share/nginx/modules').symlink_to(
            '../../lib/nginx/modules')
        os.chmod(root, 0o755)
        self.failed, self.asked, self.stop = [], 0, False
        self.configure()
        self.nginx()
        self.visitor = threading.Thread(target=self.visit, daemon=True)
        self.visitor.start()

    def dpkg(self, *args):
        return run('dpkg', f'--root={self.root}', '--force-script-chrootless',
                   '--force-depends', '--force-confold', '--log=/dev/null',
                   *args)

    def version(self, package):
        return run('dpkg-query', f'--admindir={self.root}/var/lib/dpkg', '-W',
                   '-f', '${Version} ${db:Status-Status}', package)

    def nginx(self, *args):
        return run(shutil.which('nginx'), '-p',
                   f'{self.root}/usr/share/nginx/', '-c',
                   f'{self.root}/etc/nginx/nginx.conf', '-e',
                   f'{self.root}/error.log', *args)

    def configure(self, astro=False, more=''):
        (self.root / 'etc/nginx/nginx.conf').write_text(SITE.format(
            root=self.root, port=self.port,
            include='include astro/astro.conf;' if astro else '',
            locations=LOCATIONS + more if astro else ''))

    def pid(self):
        # while it is being written it is empty
        return int((self.root / 'run/nginx.pid').read_text() or 0)

    def visit(self):
        """Somebody asks for the site all the time."""
        while not self.stop:
            try:
                link = http.client.HTTPConnection('127.0.0.1', self.port,
                                                  timeout=10 * SLOW)
                link.request('GET', '/')
                answer = link.getresponse()
                body = answer.read()
                if (answer.status, body) != (200, b"the fleet's own site"):
                    self.failed.append((answer.status, body))
                link.close()
            except OSError as error:
                self.failed.append(error)
            self.asked += 1
            time.sleep(0.005)

    def still_there(self):
        """So far, and for a while from now."""
        seen = self.asked
        eventually(lambda: self.asked > seen + 20, 20)
        assert not self.failed

    def get(self, path, token=None):
        """Status and body."""
        link = http.client.HTTPConnection('127.0.0.1', self.port,
                                          timeout=10 * SLOW)
        with contextlib.closing(link):
            link.request('GET', path, headers={
                'Authorization': f'Bearer {token}'} if token else {})
            answer = link.getresponse()
            return answer.status, answer.read().decode()

    def ready(self):
        return self.get('/health/ready')[0] == 200

    def running(self):
        """Versions of the module that answer."""
        text = self.get('/metrics')[1]
        return set(re.findall(r'astro_build_info\{version="([^"]+)"', text))

    def close(self):
        self.stop = True
        self.visitor.join()
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not alive(pid), 20)


@pytest.fixture
def machine(stack, tmp_path):
    os.chmod(tmp_path, 0o755)
    os.chmod(tmp_path.parent, 0o755)
    root = pathlib.Path(f'/tmp/astro-packages-{os.getpid()}')
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    machine = Machine(root, stack)
    try:
        yield machine
    finally:
        machine.close()
        shutil.rmtree(root, ignore_errors=True)
    assert not machine.failed


def pages(machine):
    """The location of the pages as astro.conf shows it, with this root."""
    conf = (machine.root / 'etc/nginx/astro/astro.conf').read_text()
    shown = re.search(r'^#( +)location / \{\n(?:#\1.*\n)+?#\1\}\n', conf,
                      re.M).group(0)
    return re.sub('^#', '', shown, flags=re.M).replace(
        '/usr/share/astro/web', f'{machine.root}/usr/share/astro/web')


def ours(machine):
    """astro.conf as the package has it, with the addresses of this stack."""
    conf = machine.root / 'etc/nginx/astro/astro.conf'
    with open(f'{machine.stack.var}/etc/nginx.conf', encoding='utf-8') as f:
        there = f.read()
    said = conf.read_text()
    for name in ('astro_pg', 'astro_redis', 'astro_jwt_secret_file'):
        line = re.search(rf'^\s*({name} [^;]*;)', there, re.M).group(1)
        said = re.sub(rf'^{name} [^;]*;', lambda _, it=line: it, said,
                      flags=re.M)
    conf.write_text(said + f'astro_node packages-{os.getpid()};\n'
                           '# changed by us\n')
    return conf


def test_n19_into_a_fleet_that_serves(machine, packages):
    """Packages, one include, nginx -t, a reload: the site answers always."""
    machine.still_there()
    master = machine.pid()
    machine.dpkg('-i', *packages['new'].values())
    machine.still_there()
    # loaded, and nothing else is changed by that
    machine.nginx('-t')
    machine.nginx('-s', 'reload')
    machine.still_there()

    ours(machine)
    machine.configure(astro=True)
    machine.nginx('-t')
    machine.nginx('-s', 'reload')
    person = machine.stack.person()
    eventually(machine.ready, 20)
    # workers of before may answer a little longer
    eventually(lambda: machine.get('/api/me', person.token)[0] == 200, 20)
    assert json.loads(machine.get('/api/me', person.token)[1])['id'] \
        == person.id
    eventually(lambda: machine.running() == {packages['version']}, 20)
    machine.still_there()

    # the pages, as they are shown there; of a demonstration nothing
    machine.configure(astro=True, more=pages(machine))
    machine.nginx('-t')
    machine.nginx('-s', 'reload')
    # workers of before may answer a little longer
    for name, status in (('index.html', 200), ('app.js', 200),
                         ('pages/session.js', 200), ('vendor/preact.js', 200),
                         ('demo.json', 204), ('demo/pay', 404)):
        eventually(lambda n=name, s=status: machine.get(f'/{n}')[0] == s, 20,
                   f'{status} of /{name}')
    # under the policy that the tests of the pages have
    policy = re.search('add_header Content-Security-Policy ".*";',
                       pages(machine)).group(0)
    assert policy in pathlib.Path(REPO, 'conf/nginx.conf.in').read_text()
    machine.still_there()

    # what does not parse leaves all as it is
    machine.configure()
    conf = machine.root / 'etc/nginx/nginx.conf'
    conf.write_text(conf.read_text().replace('http {', 'http { astro_zone;'))
    with pytest.raises(AssertionError, match='astro_zone'):
        machine.nginx('-t')

    # and away again: the link is gone before the module is
    machine.configure()
    machine.dpkg('-r', 'libnginx-mod-http-astro')
    machine.nginx('-t')
    machine.nginx('-s', 'reload')
    eventually(lambda: machine.get('/health/live')[0] == 404, 20)
    machine.still_there()
    assert machine.pid() == master


def test_n13_upgraded_in_place(machine, packages):
    """From a version before, with what was changed kept; the one that runs
    goes on until nginx is upgraded."""
    machine.dpkg('-i', *packages['old'].values())
    conf = ours(machine)
    machine.configure(astro=True)
    machine.nginx('-s', 'reload')
    eventually(machine.ready, 20)
    eventually(lambda: machine.running() == {OLDER}, 20)

    machine.dpkg('-i', *packages['new'].values())
    for package in packages['new']:
        assert machine.version(package) \
            == f'{packages["version"]}-1 installed'
    assert '# changed by us' in conf.read_text()
    worker = machine.root / 'etc/astro/billing_worker.conf'
    assert worker.read_text() == pathlib.Path(
        REPO, 'conf/billing_worker.conf').read_text()
    assert machine.running() == {OLDER}
    machine.nginx('-t')

    old = machine.pid()
    os.kill(old, signal.SIGUSR2)
    eventually(lambda: (machine.root / 'run/nginx.pid.oldbin').exists()
               and (machine.root / 'run/nginx.pid').exists()
               and machine.pid() not in (0, old), 20)
    eventually(lambda: packages['version'] in machine.running(), 20)
    os.kill(old, signal.SIGQUIT)
    eventually(lambda: not alive(old), 30)
    eventually(lambda: machine.running() == {packages['version']}, 20)
    assert machine.ready()
    machine.still_there()


def test_n13_the_worker_and_the_schema(machine, packages, tmp_path):
    """What is installed works from there: a new database, twice; a unit that
    systemd understands; settings of three environments."""
    machine.dpkg('-i', *packages['new'].values())
    root, stack = machine.root, machine.stack
    name = f'packages_{os.getpid()}'
    with stack.db() as db:
        db.autocommit = True
        db.execute(f'CREATE DATABASE {name}')
        info = db.info
        at = f'host={info.host} port={info.port} user={info.user}' \
             f' dbname={name}'
        try:
            first = run(str(root / 'usr/bin/astro-migrate'), at)
            assert re.search(r'migrations: at 0*[1-9]', first)
            again = run(str(root / 'usr/bin/astro-migrate'), at)
            assert 'applied' not in again
        finally:
            db.execute(f'DROP DATABASE {name} WITH (FORCE)')

    said = run(str(root / 'usr/sbin/billing_worker'), '--help')
    assert 'audit' in said
    unit = root / 'lib/systemd/system/astro-billing.service'
    start = re.search('^ExecStart=(/\\S+)', unit.read_text(), re.M).group(1)
    assert (root / start[1:]).exists()

    for env in ('dev', 'stage', 'prod'):
        conf = root / (f'usr/share/doc/libnginx-mod-http-astro/examples/{env}/'
                       'astro.conf')
        text = conf.read_text().replace('/etc/nginx/astro/', f'{tmp_path}/') \
            .replace('/usr/share/astro/', f'{root}/usr/share/astro/')
        # what only their networks know
        text = re.sub(r'[\w.]+\.internal', '127.0.0.1', text)
        for secret, of in (('jwt', 'x' * 64),
                           ('webhooks', 'stripe whsec_' + 'x' * 32 + '\n')):
            with open(tmp_path / secret, 'w', encoding='ascii') as f:
                os.fchmod(f.fileno(), 0o600)
                f.write(of)
        (root / 'etc/nginx/astro/astro.conf').write_text(text)
        machine.configure(astro=True)
        machine.nginx('-t')
        settings = root / ('usr/share/doc/astro-billing-worker/examples/'
                           f'{env}/billing_worker.conf')
        told = subprocess.run(
            [root / 'usr/sbin/billing_worker', 'audit', '--config', settings,
             '-o', 'pg=host=/nowhere'], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, check=False, timeout=60)
        assert 'setting' not in told.stdout, told.stdout
    machine.configure()

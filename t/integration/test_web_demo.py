"""make run: what a newcomer gets of it, and what is left when it is stopped."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading

import pytest

from astro.browser import Browser, Page
from astro.rest import Rest
from astro.stack import Stack, alive, eventually, free_ports
from astro.template import template
from astro.ws import REPO, SLOW

RUN = f'{REPO}/scripts/run.sh'
PARTS = ('nginx', 'worker', 'redis', 'turn', 'vendor')


class Opened(Page):
    """A window that a page has opened."""

    def __init__(self, browser, target):
        self.browser, self.target, self.problems = browser, target, []
        self.session = browser.call('Target.attachToTarget', flatten=True,
                                    targetId=target)['sessionId']
        browser.pages[self.session] = self
        for domain in ('Runtime', 'Log'):
            self.call(f'{domain}.enable')


class Run:
    """scripts/run.sh as somebody has it in a terminal."""

    def __init__(self, *options, **env):
        self.var = tempfile.mkdtemp(prefix='astro-run-', dir='/tmp')
        os.chmod(self.var, 0o755)
        self.port, = free_ports(1)
        self.lines = []
        kept = {k: v for k, v in os.environ.items()
                if not k.startswith('ASTRO_') or k == 'ASTRO_BUILD'}
        self.process = subprocess.Popen(
            [RUN, '--no-setup', '--no-build', *options], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
            env={**kept, 'ASTRO_VAR': self.var, 'ASTRO_PORT': str(self.port),
                 'ASTRO_PG_TEMPLATE': template(), 'ASTRO_PG_FSYNC': 'off',
                 **env})
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))

    @property
    def text(self):
        return '\n'.join(self.lines)

    def says(self, what, seconds=60):
        eventually(lambda: what in self.text
                   or self.process.poll() is not None, seconds,
                   f'"{what}" in {self.text}')
        assert what in self.text, self.text

    def pids(self):
        """{part: pid} of what it has started, by the files of it."""
        found = {}
        for part in PARTS:
            with contextlib.suppress(OSError, ValueError):
                found[part] = int(pathlib.Path(
                    self.var, 'run', f'{part}.pid').read_text('ascii'))
        with contextlib.suppress(OSError, IndexError):
            found['pg'] = int(pathlib.Path(
                self.var, 'pg/postmaster.pid').read_text('ascii').split()[0])
        return found

    def stop(self):
        """Ctrl-C, as a terminal sends it to all in front; its status."""
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(60 * SLOW)
        self.reader.join(10)
        return status

    def close(self):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        subprocess.run(['rm', '-rf', self.var], check=True)


@pytest.fixture(scope='module')
def run():
    made = Run('--no-demo')
    try:
        made.says('Ctrl-C stops it.', 150)
        assert 'did not work' not in made.text
        made.rest = Rest(made.port, f'{made.var}/tls/cert.pem')
        made.rest.documented = False
        made.people = made.rest.get('/demo.json').json
        yield made
    finally:
        made.close()


def login(run, role):
    person = next(p for p in run.people['people'] if p['role'] == role)
    answer = run.rest.post('/api/auth/login', {
        k: person[k] for k in ('email', 'password')})
    assert answer.status == 200, answer
    assert answer.json['user']['role'] == role
    return answer.json['token']


def test_w1_the_url_comes_with_what_to_do(run):
    url = f'https://localhost:{run.port}'
    assert run.text.count(url) >= 2
    for word in ('warns once', 'advisor', 'client', 'operator', 'Ctrl-C'):
        assert word in run.text
    page = run.rest.get('/')
    assert page.status == 200
    assert "default-src 'none'" in page.headers['Content-Security-Policy']


def test_w1_there_is_somebody_of_each_role(run):
    """Each button of the first page opens a door."""
    assert run.people['pay'] == 'demo/pay'
    for role in ('client', 'advisor', 'admin'):
        login(run, role)
    # and pages are not empty
    token = login(run, 'client')
    shown = run.rest.get('/api/advisors', token).json['data']
    assert sum(a['rating']['count'] > 0 for a in shown) >= 3
    assert all(a['headline'] and a['languages'] for a in shown)
    past = run.rest.get('/api/sessions', token).json['data']
    assert past and past[0]['state'] == 'ended'


SAYS = 'document.querySelector(".hint")?.textContent ?? ""'
WHO = 'JSON.parse(sessionStorage.getItem("astro.login"))?.user.role'


def through(page, role):
    """A click at a door: the window behind it."""
    browser = page.browser

    def windows():
        return {t['targetId'] for t in browser.call(
            'Target.getTargets')['targetInfos'] if t['type'] == 'page'}

    door = f"document.querySelector('a[href=\"#/as/{role}%40demo.test\"]')"
    eventually(lambda: page.get(f'!!{door}'), 30, f'a door for {role}')
    before = windows()
    page.call('Runtime.evaluate', expression=f'{door}.click()',
              userGesture=True)
    return Opened(browser, eventually(
        lambda: windows() - before, 30, f'a window for {role}').pop())


def test_w1_doors_are_windows_of_different_people(run):
    """From the first page on, with nothing but what one sees."""
    browser = Browser()
    try:
        first = browser.page(f'https://127.0.0.1:{run.port}/', watch=True)
        pages = [first, through(first, 'client')]
        client = pages[1]
        eventually(lambda: 'Nobody is online' in client.get(SAYS), 30,
                   'who is missing')
        pages.append(through(client, 'advisor'))
        eventually(lambda: 'press Video' in client.get(SAYS), 30,
                   'what to do next')
        pages.append(through(first, 'admin'))
        eventually(lambda: [p.get(WHO) for p in pages]
                   == [None, 'client', 'advisor', 'admin'], 30,
                   'three people, and nobody at the first page')
        # one of them is enough for the ways to talk to show
        eventually(lambda: client.get(
            '[...document.querySelectorAll(".card footer button")]'
            '.some(b => b.textContent.startsWith("Video"))'), 30)
        assert [p.problems for p in pages] == [[], [], [], []]
    finally:
        browser.close()


def test_w4_a_wallet_is_topped_up_by_the_vendor_on_loopback(run):
    token = login(run, 'client')

    def wallet():
        return run.rest.get('/api/wallet', token).json['balance']['amount']

    before = wallet()
    made = run.rest.post('/api/payments', {'provider': 'stripe',
                                           'amount': 12300}, token)
    assert made.status == 201, made
    path = f'/api/payments/{made.json["id"]}'

    def is_in(*states):
        payment = run.rest.get(path, token).json
        return payment if payment['state'] in states else None

    secret = eventually(lambda: is_in('ready'), 20)['checkout'][
        'client_secret']
    assert run.rest.post('/demo/pay', {'secret': 'pi_1_secret_2'}).status \
        == 404
    assert run.rest.get('/demo/pay').status == 404
    assert wallet() == before
    for _ in range(2):              # a second click pays nothing more
        assert run.rest.post('/demo/pay', {'secret': secret}).status == 200
    eventually(lambda: is_in('paid', 'credited'), 20)
    eventually(lambda: wallet() != before, 20)
    assert wallet() == before + 12300


def test_w3_a_relay_is_there(run):
    """Where nginx says it is, for who has a login made of its secret."""
    conf = pathlib.Path(run.var, 'etc/nginx.conf').read_text('utf-8')
    host, port, file = re.search(
        r'^ *astro_turn .* turn:([\d.]+):(\d+) secret=(\S+)', conf,
        re.M).groups()

    def relays(secret):
        return subprocess.run(
            ['turnutils_uclient', '-y', '-n', '1', '-m', '1', '-p', port,
             '-W', secret, '-u', 'anybody', host], check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=60 * SLOW).returncode == 0

    assert relays(pathlib.Path(file).read_text('ascii').strip())
    assert not relays('another secret')


def test_ctrl_c_stops_all_of_it(run):
    pids = run.pids()
    assert set(pids) == {*PARTS, 'pg'}
    assert all(alive(pid) for pid in pids.values())
    assert run.stop() == 0
    assert not any(alive(pid) for pid in pids.values())
    assert 'stopped; what it kept' in run.text


def test_what_is_not_installed_is_left_out(tmp_path):
    """With one line that says so; and it is stopped while it starts."""
    for folder in ('/usr/sbin', '/usr/bin'):
        for name in os.listdir(folder):
            if name != 'turnserver' and not (tmp_path / name).is_symlink():
                (tmp_path / name).symlink_to(f'{folder}/{name}')
    run = Run('--no-demo', PATH=str(tmp_path))
    try:
        run.says('starting PostgreSQL', 30)
        told = [line for line in run.lines if 'coturn' in line]
        assert len(told) == 1 and 'not installed' in told[0]
        pids = run.pids()
        assert 'turn' not in pids
        run.stop()
        assert not any(alive(pid) for pid in {**pids, **run.pids()}.values())
    finally:
        run.close()


def test_elsewhere_nothing_of_it_is_there():
    """What is for a fleet has no /demo/, and neither has a stack of which
    nobody said so."""
    conf = pathlib.Path(REPO, 'conf')
    for file in (conf / 'astro.conf', *pathlib.Path(
            REPO, 'packaging').glob('**/*.conf')):
        assert '/demo/' not in file.read_text('utf-8')
    stack = Stack()
    try:
        stack.script('conf')
        made = pathlib.Path(stack.var, 'etc/nginx.conf').read_text('utf-8')
        assert '/demo/' not in made and 'proxy_pass' not in made
        assert not pathlib.Path(stack.var, 'www/web/demo.json').exists()
    finally:
        subprocess.run(['rm', '-rf', stack.var], check=True)

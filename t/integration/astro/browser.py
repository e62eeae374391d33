"""Chromium without a window, driven over a pipe with the DevTools protocol:
one JSON object after the other, each ended by a NUL.  It ends when its pipe
does, so none outlives the test that started it."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from .ws import SLOW

PATIENCE = 60 * SLOW        # of one call: starting on a busy machine is slow

FLAGS = [
    '--no-sandbox',                         # tests run as root, too
    '--disable-dev-shm-usage', '--disable-gpu', '--mute-audio',
    '--ignore-certificate-errors',
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
    '--allow-loopback-in-peer-connection',  # there may be no other interface
    '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--autoplay-policy=no-user-gesture-required',
    # pages nobody looks at are not to be slowed down
    '--disable-background-timer-throttling',
    '--disable-renderer-backgrounding',
]


class Broken(AssertionError):
    """The browser ended, or the page threw."""


# What a page says of itself from its first script on: a violation of the policy
# is an error on its console, as exceptions are, which DevTools report.
WATCH = """document.addEventListener('securitypolicyviolation', e =>
    console.error('CSP', e.violatedDirective, e.blockedURI, e.sourceFile));"""


class Browser:
    def __init__(self, *flags):
        self.pages = {}
        self.home = tempfile.mkdtemp(prefix='astro-chromium-')
        self.ids, self.rest = 0, b''
        theirs, self.to = os.pipe()
        self.of, ours = os.pipe()
        with open(f'{self.home}/log', 'wb') as log:
            # to it the pipe is descriptors 3 and 4
            self.process = subprocess.Popen(
                ['bash', '-c', f'exec 3<&{theirs} 4>&{ours}; exec "$@"', '-',
                 'chromium-headless-shell', '--remote-debugging-pipe',
                 f'--user-data-dir={self.home}/data', *FLAGS, *flags,
                 'about:blank'],
                pass_fds=(theirs, ours), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        os.close(theirs)
        os.close(ours)
        self.call('Browser.getVersion')

    def call(self, method, session=None, **params):
        self.ids += 1
        message = {'id': self.ids, 'method': method, 'params': params}
        if session:
            message['sessionId'] = session
        wire = json.dumps(message).encode() + b'\0'
        while wire:
            wire = wire[os.write(self.to, wire):]
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.read(until - time.monotonic())
            if answer.get('id') == self.ids:
                if 'error' in answer:
                    raise Broken(f'{method}: {answer["error"]}')
                return answer['result']
            self.event(answer)

    def read(self, seconds):
        while b'\0' not in self.rest:
            if not select.select([self.of], [], [], max(0, seconds))[0]:
                raise Broken(f'Chromium says nothing for {PATIENCE} s')
            more = os.read(self.of, 1 << 20)
            if not more:
                with open(f'{self.home}/log', encoding='utf-8',
                          errors='replace') as log:
                    raise Broken(f'Chromium is gone: {log.read()[-2000:]}')
            self.rest += more
        one, self.rest = self.rest.split(b'\0', 1)
        return json.loads(one)

    def event(self, message):
        page = self.pages.get(message.get('sessionId'))
        if page and 'method' in message:
            page.event(message['method'], message['params'])

    def page(self, url, *scripts, context=None, watch=False, kind=None):
        """A page of that URL, with these files evaluated in it.  context: of
        context(); watch: page.problems has what went wrong in it."""
        return (kind or Page)(self, url, scripts, context, watch)

    def context(self):
        """A browser of its own: it shares no login, no cache with others."""
        return self.call('Target.createBrowserContext')['browserContextId']

    def close(self):
        os.close(self.to)
        try:
            self.process.wait(10 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.of)
        shutil.rmtree(self.home, ignore_errors=True)


class Page:
    def __init__(self, browser, url, scripts=(), context=None, watch=False):
        self.browser = browser
        self.problems, self.context = [], context
        self.target = browser.call(
            'Target.createTarget', url='about:blank',
            **({'browserContextId': context} if context else {}))['targetId']
        self.session = browser.call('Target.attachToTarget', flatten=True,
                                    targetId=self.target)['sessionId']
        browser.pages[self.session] = self
        self.call('Page.enable')
        if watch:
            for domain in ('Runtime', 'Log'):
                self.call(f'{domain}.enable')
            self.call('Page.addScriptToEvaluateOnNewDocument', source=WATCH)
            self.call('Emulation.setFocusEmulationEnabled', enabled=True)
        went = self.call('Page.navigate', url=url)
        assert 'errorText' not in went, went
        until = time.monotonic() + PATIENCE
        while self.get('[location.href, document.readyState]') \
                != [url, 'complete']:
            if time.monotonic() > until:
                raise Broken(f'{url} does not load')
            time.sleep(0.02)
        for script in scripts:
            with open(script, encoding='utf-8') as f:
                self.get(f.read() + '\n;0')

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def event(self, method, params):
        """What went wrong: on the console, thrown, of the network."""
        if method == 'Runtime.exceptionThrown':
            told = params['exceptionDetails']
            self.problems.append('exception: ' + str(
                told.get('exception', {}).get('description') or told['text']))
        elif method == 'Runtime.consoleAPICalled' \
                and params['type'] in ('error', 'assert'):
            self.problems.append('console: ' + ' '.join(
                str(a.get('value', a.get('description')))
                for a in params['args']))
        elif method == 'Log.entryAdded' \
                and params['entry']['level'] == 'error':
            entry = params['entry']
            self.problems.append(f'{entry["source"]}: {entry["text"]}'
                                 f' {entry.get("url", "")}')

    def screenshot(self, path):
        image = self.call('Page.captureScreenshot', format='png')['data']
        with open(path, 'wb') as f:
            f.write(base64.b64decode(image))

    def get(self, expression):
        """The value of a JavaScript expression; of a promise, what becomes
        of it."""
        done = self.call('Runtime.evaluate', expression=expression,
                         awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in done:
            said = done['exceptionDetails']
            raise Broken(said.get('exception', {}).get('description')
                         or said['text'])
        return done['result'].get('value')

    def close(self):
        self.browser.call('Target.closeTarget', targetId=self.target)
        self.browser.pages.pop(self.session, None)

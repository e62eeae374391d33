"""Somebody at a window of the web client: who is signed in, what they see,
what they press, and whether everybody could."""

import base64
import contextlib
import json
import os
import re

from .browser import Browser
from .routes import ROOT
from .stack import eventually

SHOTS = os.environ.get('ASTRO_SHOTS', f'{ROOT}/build/shots')
AXE = f'{ROOT}/build/test-peers/node_modules/axe-core/axe.min.js'

KEYS = {'Tab': 9, 'Enter': 13, ' ': 32, 'Escape': 27, 'ArrowDown': 40,
        'ArrowRight': 39}

# in each document, before anything of its own
FIRST = """
if (%s && !sessionStorage.getItem('astro.login'))
    sessionStorage.setItem('astro.login', JSON.stringify(%s));
window.wrong = [];
addEventListener('error', e => wrong.push(e.message));
addEventListener('unhandledrejection', e => wrong.push(String(e.reason)));
document.addEventListener('securitypolicyviolation',
    e => wrong.push(`${e.violatedDirective} ${e.blockedURI}`));
const said = console.error;
console.error = (...all) => { wrong.push(all.join(' ')); said(...all); };
"""

# what can be focused: one of a group of radio buttons is enough
CONTROLS = """
window.controls = () => {
    const within = document.querySelector('dialog[open]') ?? document;
    const groups = new Set();

    return [...within.querySelectorAll('a[href], button, input, select,'
        + ' textarea, summary, [tabindex="0"]')].filter(e => {
        if (e.disabled || !e.checkVisibility({visibilityProperty: true}))
            return false;
        if (e.type != 'radio') return true;
        return groups.size != groups.add(e.name).size;
    });
};
window.named = e => `${e.localName} ${(e.getAttribute('aria-label')
    ?? e.labels?.[0]?.textContent ?? e.textContent).trim().slice(0, 40)}`;
/* where the focus is, whether that is seen, and which one of all it is */
window.focused = () => {
    const e = document.activeElement, box = e.getBoundingClientRect();
    const of = x => {
        const s = getComputedStyle(x);

        return s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 1
            || s.boxShadow != 'none';
    };
    const all = controls();
    const n = e.type == 'radio' ? all.findIndex(x => x.name == e.name)
                                : all.indexOf(e);

    return {n, name: e == document.body ? 'body' : named(e),
        seen: of(e) || e.type == 'radio' && of(e.parentElement),
        inside: box.bottom > 0 && box.top < innerHeight
                && box.right > 0 && box.left < innerWidth};
};
0
"""


class Eyes(Browser):
    """Keeps what the browser tells of itself."""

    def __init__(self):
        self.events = []
        super().__init__()

    def read(self, seconds):
        said = super().read(seconds)
        if 'method' in said:
            self.events.append(said)
        return said


class Window:
    """A tab with somebody signed in (or nobody)."""

    def __init__(self, browser, stack, person=None):
        self.browser, self.stack = browser, stack
        self.url = f'https://127.0.0.1:{stack.port}/'
        self.page = browser.page('about:blank')
        self.get = self.page.get
        self.call = self.page.call
        login = person and {
            'token': person.token, 'refresh': '', 'until': 1e15,
            'user': {'id': person.id, 'role': person.role}}
        self.call('Page.addScriptToEvaluateOnNewDocument',
                  source=FIRST % ((json.dumps(login),) * 2))
        self.size(1200, 800)

    def open(self, path=''):
        self.call('Page.navigate', url=f'{self.url}#/{path}')
        self.until("document.querySelector('h1')", 30)
        self.get(CONTROLS)
        return self

    def go(self, path):
        self.get(f'location.hash = "#/{path}"')
        return self

    def until(self, what, seconds=20):
        """Waits until that is true in it."""
        def there():
            with contextlib.suppress(AssertionError):   # between two documents
                return self.get(f'!!({what})')

        try:
            return eventually(there, seconds, what, 0.02)
        except AssertionError as e:
            raise AssertionError(f'{e}: ' + self.get(
                'location.hash + " " + JSON.stringify(window.wrong) + " "'
                '+ document.body.innerText')) from None

    def word(self, key):
        """The catalogue's words of that key, up to what is filled in;
        anything else as it is."""
        if not re.fullmatch(r'[a-z]+(\.[a-z]+)+', key):
            return key
        return self.get(f"import('/words.js').then(m => m.say({key!r})"
                        ".split('{')[0].trim())")

    def shows(self, text, within='main'):
        """Waits until it, or what its key stands for, is there to read."""
        text = self.word(text)
        return self.until(f'document.querySelector({json.dumps(within)})'
                          f'?.textContent.includes({json.dumps(text)})')

    def settled(self):
        """Waits until nothing is awaited any more."""
        self.until("!document.querySelector('[aria-busy=true]')"
                   " && document.querySelector('main h1')")

    def click(self, text, within='main'):
        text = self.word(text)
        self.until(f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(within)}
                + ' :is(button, a, summary)')].find(e => (e.ariaLabel
                ?? e.textContent).includes({json.dumps(text)}));

            found?.click();
            return !!found;
        }})()""")

    def size(self, width, height=800):
        self.call('Emulation.setDeviceMetricsOverride', width=width,
                  height=height, deviceScaleFactor=1, mobile=False)

    def media(self, scheme='light', motion='reduce'):
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': scheme},
            {'name': 'prefers-reduced-motion', 'value': motion}])

    def tab(self):
        self.call('Input.dispatchKeyEvent', type='keyDown', key='Tab',
                  code='Tab', windowsVirtualKeyCode=9)

    def press(self, key, shift=False):
        said = {'key': key, 'code': 'Space' if key == ' ' else key,
                'windowsVirtualKeyCode': KEYS[key], 'modifiers': 8 * shift}
        text = {'Enter': '\r', ' ': ' '}.get(key)
        self.call('Input.dispatchKeyEvent', type='keyDown', **said,
                  **({'text': text} if text else {}))
        self.call('Input.dispatchKeyEvent', type='keyUp', **said)

    def shot(self, name):
        """A picture of what is to be seen."""
        data = base64.b64decode(self.call(
            'Page.captureScreenshot', format='png')['data'])
        os.makedirs(SHOTS, exist_ok=True)
        with open(f'{SHOTS}/{name}.png', 'wb') as f:
            f.write(data)

    def axe(self, *rules):
        """[what is wrong, of weight], [what could be better]"""
        if not self.get('!!window.axe'):
            with open(AXE, encoding='utf-8') as f:
                self.get(f.read() + '\n;0')
        only = {'runOnly': list(rules)} if rules else {}
        found = self.get(f"""axe.run(document, {json.dumps(only)}).then(
            r => r.violations.map(v => [v.impact, `${{v.id}}: ` + v.nodes.map(
                n => `${{n.html.slice(0, 120)}} ${{n.any[0]?.message ?? ''}}`)
                .join('; ')]))""")
        bad = ('serious', 'critical')
        return ([text for weight, text in found if weight in bad],
                [text for weight, text in found if weight not in bad])

    def close(self):
        self.page.close()

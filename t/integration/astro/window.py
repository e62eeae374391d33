"""A page as a person uses it: found by what a screen reader would say of it,
clicked with a mouse where it is, typed with a keyboard.  Whatever is looked for
is waited for."""

import functools
import re

from .browser import Page
from .stack import eventually

PATIENCE = 40
BOXES = ('textbox', 'searchbox', 'spinbutton', 'combobox')
KEYS = {'Enter': (13, '\r'), 'Escape': (27, ''), 'Tab': (9, '')}


KEY = re.compile(r'[a-z]+(\.[A-Za-z_]+)+$')


class Window(Page):
    """Names are those of the catalogue (web/words.js): 'ring.accept'; what is
    filled in may be anything but what is given.  Else regular expressions."""

    @functools.cached_property
    def catalogue(self):
        return {}

    def word(self, name, /, **given):
        """A regular expression for it."""
        if not KEY.match(name):
            return name
        if name not in self.catalogue:
            self.catalogue[name] = self.get(
                f"import('/words.js').then(m => m.say('{name}'))")
        return ''.join(
            part if n % 2 == 0 else re.escape(given[part]) if part in given
            else '.*?' for n, part in enumerate(re.split(
                r'\\{(\w+)\\}', re.escape(self.catalogue[name]))))

    def nodes(self, role, name):
        """What has that role and a name that begins so, in the order of the
        page; nothing that a dialog covers."""
        name = self.word(name)
        roles = (role,) if isinstance(role, str) else role
        found = []
        for node in self.call('Accessibility.getFullAXTree')['nodes']:
            said = node.get('name', {}).get('value', '')
            if not node.get('ignored') and 'backendDOMNodeId' in node \
                    and node.get('role', {}).get('value') in roles \
                    and re.match(name, said):
                found.append(node)
        return found

    def there(self, role, name):
        return bool(self.nodes(role, name))

    def find(self, role, name, patience=PATIENCE):
        return eventually(lambda: self.nodes(role, name), patience,
                          f'a {role} "{name}"')[0]

    def at(self, node):
        """Where to click on it; None if something lies over it."""
        node = {'backendNodeId': node['backendDOMNodeId']}
        self.call('DOM.scrollIntoViewIfNeeded', **node)
        quad = self.call('DOM.getContentQuads', **node)['quads']
        if not quad:
            return None
        quad = quad[0]
        x, y = sum(quad[::2]) / 4, sum(quad[1::2]) / 4
        it = self.call('DOM.resolveNode', **node)['object']['objectId']
        free = self.call(
            'Runtime.callFunctionOn', objectId=it, returnByValue=True,
            arguments=[{'value': x}, {'value': y}], functionDeclaration='''
                function (x, y) {
                    const at = document.elementFromPoint(x, y);
                    return this.contains(at) || !!at?.contains(this)
                        && this.matches('input, option');
                }''')['result']['value']
        return (x, y) if free else None

    def click(self, role, name, patience=PATIENCE):
        def try_it():
            for node in self.nodes(role, name):
                try:
                    place = self.at(node)
                except AssertionError:
                    continue            # it has just gone
                if place:
                    return place
            return None

        x, y = eventually(try_it, patience, f'a {role} "{name}" to click on')
        for kind in ('mouseMoved', 'mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y,
                      button='none' if kind == 'mouseMoved' else 'left',
                      clickCount=0 if kind == 'mouseMoved' else 1)

    def button(self, name, **kw):
        self.click('button', name, **kw)

    def press(self, key, *commands):
        code, text = KEYS.get(key, (ord(key.upper()[0]), ''))
        said = {'key': key, 'code': key, 'windowsVirtualKeyCode': code,
                **({'commands': list(commands)} if commands else {})}
        self.call('Input.dispatchKeyEvent', type='keyDown', **said,
                  **({'text': text} if text else {}))
        self.call('Input.dispatchKeyEvent', type='keyUp', **said)

    def fill(self, name, text):
        """In the place of what stands in that field."""
        self.click(BOXES, name)
        self.press('a', 'selectAll')
        self.call('Input.insertText', text=text)

    def choose(self, name, text):
        """Of a list."""
        it = self.call('DOM.resolveNode', backendNodeId=self.find(
            'combobox', name)['backendDOMNodeId'])['object']['objectId']
        self.call('Runtime.callFunctionOn', objectId=it,
                  arguments=[{'value': text}], functionDeclaration='''
            function (text) {
                this.value = [...this.options].find(
                    o => o.text.includes(text)).value;
                this.dispatchEvent(new Event('input', {bubbles: true}));
                this.dispatchEvent(new Event('change', {bubbles: true}));
            }''')

    @property
    def text(self):
        return self.get("document.body?.innerText ?? ''")

    def has(self, *names, **given):
        """Which of them it shows."""
        text = self.text
        return next((n for n in names
                     if re.search(self.word(n, **given), text)), None)

    def says(self, *names, patience=PATIENCE, **given):
        """Waits until it shows one of them; that."""
        return eventually(lambda: self.has(*names, **given), patience,
                          f'{names} on the page')

    def goes(self, *names, patience=PATIENCE):
        eventually(lambda: not self.has(*names), patience,
                   f'{names} no more on the page')

"""The picker of emoji (web/emoji.js) in a browser, by keys alone, and what was
chosen through the chat."""

import json
import os

import pytest

from astro.browser import Browser
from astro.consult import Consultation
from astro.routes import ROOT
from astro.stack import eventually

HTML = """<!doctype html><html lang="en"><title>Chat</title>
<script type="module" src="try.js"></script>
<button id="smile">Emoji</button><input id="text" aria-label="Message">
<button id="send">Send</button>"""

# the page of a client: consult.v1, as anybody would write it
SCRIPT = """
import {attach, find, toned} from './emoji.js';

const $ = (id) => document.getElementById(id);
const picker = attach($('smile'), $('text'));

window.violations = [];
document.addEventListener('securitypolicyviolation',
    (e) => window.violations.push(e.violatedDirective));

window.at = () => {
    let node = document.activeElement;
    while (node.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
    return node.getAttribute('aria-label') || node.id;
};

window.go = (token, conv) => new Promise((ready, failed) => {
    const ws = new WebSocket(`wss://${location.host}/ws`, 'consult.v1');
    ws.onopen = () => ws.send(JSON.stringify(
        {type: 'hello', id: 1, payload: {token}}));
    ws.onmessage = (e) => {
        const m = JSON.parse(e.data);
        if (m.id == 1) m.error ? failed(e.data) : ready();
    };
    $('send').onclick = () => ws.send(JSON.stringify(
        {type: 'chat_message', id: 2, payload: {conv,
         cid: crypto.randomUUID(), kind: 'emoji', text: $('text').value}}));
});

Object.assign(window, {picker, find, toned, ready: true});
"""

KEYS = {'Tab': 9, 'Enter': 13, ' ': 32, 'ArrowLeft': 37, 'ArrowUp': 38,
        'ArrowRight': 39, 'ArrowDown': 40, 'Escape': 27, 'Home': 36,
        'End': 35}


class Hands:
    """On the keyboard, and on nothing else."""

    def __init__(self, page):
        self.page = page

    def press(self, *keys, ctrl=False, shift=False):
        for key in keys:
            said = {'key': key, 'code': 'Space' if key == ' ' else key,
                    'windowsVirtualKeyCode': KEYS[key],
                    'modifiers': 2 * ctrl + 8 * shift}
            text = {'Enter': '\r', ' ': ' '}.get(key)
            self.page.call('Input.dispatchKeyEvent', type='keyDown', **said,
                           **({'text': text} if text else {}))
            self.page.call('Input.dispatchKeyEvent', type='keyUp', **said)
        return self.page.get('at()')

    def write(self, text):
        self.page.call('Input.insertText', text=text)


@pytest.fixture(scope='module')
def browser():
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def page(stack, browser):
    folder = f'{stack.var}/www/docs'
    os.makedirs(folder, exist_ok=True)
    for name, text in (('try.html', HTML), ('try.js', SCRIPT),
                       ('emoji.js', (ROOT / 'web/emoji.js').read_text())):
        with open(f'{folder}/{name}', 'w', encoding='utf-8') as f:
            f.write(text)
    page = browser.page(f'https://127.0.0.1:{stack.port}/docs/try.html')
    eventually(lambda: page.get('window.ready'), 20)
    yield page
    page.close()


def value(page):
    return page.get("document.getElementById('text').value")


def test_e18_by_keys_alone_and_whole_through_the_chat(stack, page):
    talk = Consultation(stack).active()
    page.get(f'go({json.dumps(talk.client.token)}, "{talk.conv}")')
    hands = Hands(page)

    assert hands.press('Tab') == 'smile'
    assert page.get("document.activeElement.getAttribute('aria-expanded')") \
        == 'false'
    assert hands.press('Enter') == 'Search emoji'
    hands.write('family girl boy')
    assert page.get("picker.shadowRoot.querySelector('[role=status]')"
                    '.textContent') == '1 emoji'
    name = 'family: man, woman, girl, boy'
    assert hands.press('ArrowDown') == name
    # chosen: back in the field, with seven code points in it
    assert hands.press('Enter') == 'Message'
    family = '👨‍👩‍👧‍👦'
    assert value(page) == family and len(family) == 7

    # another one behind it, with a tone, chosen with the space bar
    assert hands.press('Tab', shift=True) == 'smile'
    assert hands.press('Enter') == 'Search emoji'
    assert hands.press('Tab') == 'Skin tone'
    hands.press('ArrowDown', 'ArrowDown', 'ArrowDown')
    assert hands.press('Tab', shift=True) == 'Search emoji'
    # what was looked for last is gone
    hands.write('woman comp')
    assert hands.press('ArrowDown') == 'woman technologist'
    assert hands.press(' ') == 'Message'
    sent = family + '👩🏽‍💻'
    assert value(page) == sent

    assert hands.press('Tab') == 'send'
    hands.press('Enter')
    event = talk.a.expect('chat_message')
    assert event['payload']['text'] == sent
    assert sent in event['_raw']
    with stack.db() as db:
        assert db.execute(
            "SELECT payload ->> 'text' FROM consult.event"
            ' WHERE conversation_id = %s AND seq = %s',
            (int(talk.conv[2:]), event['seq'])).fetchone() == (sent,)
    assert page.get('violations') == []


def test_e18_the_grid_goes_with_the_arrows(page):
    hands = Hands(page)
    hands.press('Tab', 'Enter')
    first = page.get("find('')[0].name")
    names = page.get("find('').map((e) => e.name)")
    assert hands.press('ArrowDown') == first
    assert hands.press('ArrowRight', 'ArrowRight') == names[2]
    assert hands.press('ArrowDown') == names[10]
    assert hands.press('Home') == names[8] and hands.press('End') == names[15]
    assert hands.press('ArrowRight') == names[16]
    assert hands.press('ArrowLeft') == names[15]
    assert hands.press('End', ctrl=True) == names[-1]
    assert hands.press('ArrowRight', 'ArrowDown') == names[-1]
    # out of it and in again: where one was
    assert hands.press('Tab') == 'Message'
    assert hands.press('Tab', shift=True) == names[-1]
    assert page.get("picker.shadowRoot.querySelectorAll('[tabindex=\"0\"]')"
                    '.length') == 1
    assert hands.press('Home', ctrl=True) == first
    assert hands.press('ArrowUp') == 'Search emoji'
    hands.write('nothing is called that')
    assert hands.press('ArrowDown', 'Enter') == 'Search emoji'
    assert hands.press('Escape') == 'smile' and value(page) == ''
    # each has a role and a name, also to those who do not see
    assert page.get("[...picker.shadowRoot.querySelectorAll("
                    "'[role=row] > *')].every((c) => c.role == 'gridcell'"
                    " && c.ariaLabel)")
    tree = page.call('Accessibility.getFullAXTree')['nodes']
    assert any(n.get('name', {}).get('value') == 'Emoji' for n in tree)


def test_e18_each_is_one_sequence(page):
    """One character to a reader each, with every tone; no name twice."""
    wrong = page.get('''(() => {
        const one = new Intl.Segmenter('en', {granularity: 'grapheme'});
        const wrong = [], names = new Set();
        for (const tone of ['', '🏻', '🏼', '🏽', '🏾', '🏿'])
            for (const e of find('', tone)) {
                if ([...one.segment(e.emoji)].length != 1
                    || !/^\\\\p{RGI_Emoji}$/v.test(e.emoji)) wrong.push(e);
                if (!tone && names.size == names.add(e.name).size)
                    wrong.push(e.name);
            }
        return wrong;
    })()'''.replace('\\\\', '\\'))
    assert wrong == []
    assert page.get("find('NAMASTE').map((e) => e.emoji)") == ['🙏']
    assert page.get("find('zodiac').length") == 12

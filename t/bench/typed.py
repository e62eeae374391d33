#!/usr/bin/python3
"""How long from Enter in one page until the other page shows it: the pages of
web/ in Chromium, two contexts, over TLS, through PostgreSQL.

    /usr/bin/python3 t/bench/typed.py [MESSAGES [PAUSE_MS]]

A message is written when the one before is shown and PAUSE_MS (200) have gone:
five in a second are more than anybody types, and two software browsers on two
cores are done by then with drawing receipts.  0 is as fast as it goes.

Both pages are in one browser, so their clocks are one (timeOrigin + now).  From
the key's own time to the change of the other page's document ("there"), and to
the frame that shows it ("shown", at 60 frames a second up to 17 ms more).
Beside it the floor: the same size echoed by the same nginx to the page that has
sent it, with nothing stored."""

import contextlib
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 't' / 'integration'))

from web_house import House, session    # noqa: E402

SENDER = """globalThis.typed = [];
document.addEventListener('keydown', e => e.key == 'Enter'
    && typed.push([e.target.value, performance.timeOrigin + e.timeStamp]),
    true);"""

RECEIVER = """globalThis.seen = {};
globalThis.waits = {};
globalThis.shown = text => new Promise(ok => {
    if (seen[text]?.[1]) ok(true); else waits[text] = ok;
});
new MutationObserver(() => {
    const now = performance.timeOrigin + performance.now();
    const last = [...document.querySelectorAll('[role=log] article > p')]
        .slice(-3).map(p => p.textContent).filter(t => !(t in seen));
    for (const text of last) {
        seen[text] = [now];
        requestAnimationFrame(() => setTimeout(() => {
            seen[text].push(performance.timeOrigin + performance.now());
            waits[text]?.(true);
        }));
    }
}).observe(document.querySelector('[role=log]'),
           {childList: true, subtree: true, characterData: true});"""

ECHO = """new Promise((done, failed) => {
    const ws = new WebSocket(`wss://${location.host}/echo`), took = [];
    let at;
    const go = () => { at = performance.now(); ws.send('x'.repeat(300)); };
    ws.onopen = go;
    ws.onerror = failed;
    ws.onmessage = () => {
        took.push(performance.now() - at);
        took.length < %d ? go() : done(took);
    };
})"""


def line(name, ms):
    ms = sorted(ms)
    at = {q: ms[min(len(ms) - 1, int(len(ms) * q))] for q in (.5, .99)}
    print(f'{name:34} p50 {at[.5]:6.1f} ms   p99 {at[.99]:6.1f} ms'
          f'   max {ms[-1]:6.1f} ms   ({len(ms)})')


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    pause = int(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.2
    with contextlib.ExitStack() as ends:
        house = House(ends)
        c = house.open(ends)
        a = house.open(ends)
        house.register(c, 'Asha')
        with house.stack.db() as db:
            db.execute("SELECT billing.topup(%s, 5000000, 'typed')",
                       (int(c.id[2:]),))
        a.sign_in(house.advisor('Meera', c).email)
        a.says('nav.desk')
        c.get("location.hash = '#/wallet'")
        c.click('link', 'nav.find')
        c.fill('find.search', 'Meera')
        c.button('service.chat')
        a.button('ring.accept')
        session(c)
        for page in (c, a):
            page.says('session.active')
        c.get(SENDER + '0')
        a.get(RECEIVER + '0')
        c.click(('textbox',), 'chat.write')
        # which was how to find one's way; nobody is read to
        for page in (c, a):
            page.call('Accessibility.disable')
        for n in range(count):
            time.sleep(pause)
            text = f'message {n} of somebody who writes as people write'
            c.call('Input.insertText', text=text)
            time.sleep(pause / 4)       # the text was there before the key
            c.press('Enter')
            assert a.get(f'shown({text!r})')
        typed, seen = c.get('typed'), a.get('seen')
        line('typed until there', [seen[t][0] - at for t, at in typed])
        line('typed until shown', [seen[t][1] - at for t, at in typed])
        line('floor: an echo to the same page', c.get(ECHO % count))


if __name__ == '__main__':
    main()

/*
 * Copyright (C) The Astro authors
 *
 * Money into the wallet.  The server begins a payment at the vendor and says
 * what the browser needs to pay it; that it was paid only the vendor says, to
 * the server.  A demo has a vendor of its own: demo.json names its door.
 *
 * A payment outlives its page: what was begun is kept (parts/paying.js shows
 * it), and asked for again under the same key, so that nobody pays twice.
 */

import {html, useEffect, useRef, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {demo} from '../demo.js';
import {get, post} from '../api.js';
import {digits, minor, money} from '../format.js';
import {Act, Dialog, Field} from '../ui.js';
import {useOnce} from './once.js';
import {remember} from './paying.js';
import {lookIntoPurse} from './purse.js';

const SUMS = [100, 250, 500, 1000];
const LOOK_MS = 400, PATIENCE_MS = 30000;

const wait = ms => new Promise(ok => setTimeout(ok, ms));


/* the payment, when it is in one of these states; null: nobody waits for it
   any more, or it takes too long */
async function until(id, here, ...states) {
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end;) {
        const p = await get(`/payments/${id}`);

        if (states.includes(p.state)) return p;
        await wait(LOOK_MS);
        if (!here.current) return null;
    }
    return null;
}

/* lead: why; children: what comes after it was paid */
export function TopUp({onClose, onDone, lead, children}) {
    return html`<${Dialog} title=${say('session.topup')} onClose=${onClose}>
        ${lead && html`<p>${lead}</p>`}
        <${Pay} onDone=${onDone} />
        ${children}</${Dialog}>`;
}

export function Pay({onDone}) {
    const currency = use().user.currency ?? 'INR';
    const [text, set] = useState('500');
    const [step, setStep] = useState(null);
    const [door, setDoor] = useState(undefined);
    const here = useRef(true);
    const once = useOnce([text]);
    const amount = minor(text, currency);
    const whole = n => money(n * 10 ** digits(currency), currency);

    useEffect(() => {
        demo.then(d => here.current && setDoor(d.pay ?? null));
        return () => { here.current = false; };
    }, []);

    const show = name => here.current && setStep(name);

    async function pay() {
        show('creating');

        try {
            const {id} = await once(key => post(
                '/payments', {provider: 'stripe', amount}, key));

            remember(id);

            let p = await until(id, here, 'ready', 'failed');

            if (p?.state == 'ready') {
                show('paying');
                await fetch(door, {
                    method: 'POST',
                    headers: {'Content-Type': 'application/json'},
                    body: JSON.stringify({secret: p.checkout.client_secret})})
                    .catch(() => {});       /* what came of it, they say */
                show('waiting');
                p = await until(id, here, 'paid', 'failed');
            }

            if (p?.state == 'failed') return show('failed');
            if (!p) return show('slow');
            show('done');
            await lookIntoPurse().catch(() => {});
            if (here.current) onDone?.();

        } catch (e) {
            show(null);
            throw e;
        }
    }

    return html`<form class="pay" onSubmit=${e => e.preventDefault()}>
        <fieldset class="row"><legend class="unseen">${
            say('topup.sums')}</legend>${SUMS.map(n => html`<button
            type="button" class="secondary small"
            aria-pressed=${text == String(n) ? 'true' : 'false'}
            onClick=${() => set(String(n))}>${
            whole(n)}</button>`)}</fieldset>
        <${Field} label=${say('topup.amount', {currency})} inputmode="decimal"
            value=${text} error=${!(amount > 0) && say('desk.wrong')}
            onInput=${e => set(e.currentTarget.value)} />
        ${door === null && html`<p>${say('topup.none')}</p>`}
        ${door && html`<${Act} disabled=${!(amount > 0)} does=${pay}>${
                     say('topup.pay', {money: money(amount || 0, currency)})}
                 </${Act}>
                 <p><small>${say('topup.demo')}</small></p>`}
        <p role="status" class="step ${step ?? ''}">${
            step && say(`topup.${step}`)}</p>
    </form>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * Money into the wallet.  The server begins a payment at the vendor and says
 * what the browser needs to pay it; that it was paid only the vendor says, to
 * the server.  A demo has a vendor of its own: demo.json names its door.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {demo} from '../demo.js';
import {get, post} from '../api.js';
import {digits, minor, money} from '../format.js';
import {Act, Dialog, Field} from '../ui.js';

const SUMS = [100, 250, 500, 1000];
const LOOK_MS = 400;

const wait = ms => new Promise(ok => setTimeout(ok, ms));


/* the payment, when it is in one of these states */
async function until(id, ...states) {
    for (let n = 0; n < 75; n++) {
        const p = await get(`/payments/${id}`);

        if (states.includes(p.state)) return p;
        await wait(LOOK_MS);
    }
    throw new Error(say('topup.slow'));
}

export function TopUp({onClose}) {
    return html`<${Dialog} title=${say('session.topup')} onClose=${onClose}>
        <${Pay} onDone=${onClose} /></${Dialog}>`;
}

export function Pay({onDone}) {
    const currency = use().user.currency ?? 'INR';
    const [text, set] = useState('500');
    const [step, setStep] = useState(null);
    const [door, setDoor] = useState(null);
    const amount = minor(text, currency);
    const whole = n => money(n * 10 ** digits(currency), currency);

    useEffect(() => { demo.then(d => setDoor(d.pay ?? null)); }, []);

    async function pay() {
        setStep('creating');

        try {
            const {id} = await post('/payments', {provider: 'stripe', amount});
            const p = await until(id, 'ready', 'failed');

            if (p.state == 'failed') throw new Error(say('topup.failed'));
            setStep('paying');
            await fetch(door, {
                method: 'POST', headers: {'Content-Type': 'application/json'},
                body: JSON.stringify({secret: p.checkout.client_secret})});
            setStep('waiting');
            await until(id, 'paid', 'credited');
            setStep('done');
            onDone?.();
        } catch (e) {
            setStep(null);
            throw e;
        }
    }

    return html`<form onSubmit=${e => e.preventDefault()}>
        <div class="row">${SUMS.map(n => html`<button type="button"
            class="secondary small" aria-pressed=${text == String(n)}
            onClick=${() => set(String(n))}>${whole(n)}</button>`)}</div>
        <${Field} label=${say('topup.amount', {currency})} inputmode="decimal"
            value=${text} error=${!(amount > 0) && say('desk.wrong')}
            onInput=${e => set(e.target.value)} />
        ${door ? html`<${Act} disabled=${!(amount > 0)} does=${pay}>${
                     say('topup.pay', {money: money(amount || 0, currency)})}
                 </${Act}>
                 <p><small>${say('topup.demo')}</small></p>`
               : html`<p>${say('topup.none')}</p>`}
        ${step && html`<p role="status">${say(`topup.${step}`)}</p>`}
    </form>`;
}

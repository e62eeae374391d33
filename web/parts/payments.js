/*
 * Copyright (C) The Astro authors
 *
 * What clients paid in, what was given back of it, and to give back more.
 */

import {html, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {post} from '../api.js';
import {digits, minor, moment, money} from '../format.js';
import {Field, List, tell, useEvery, useList} from '../ui.js';
import {Why} from './ask.js';
import {Who, useName} from './who.js';
import {query} from './query.js';

const EVERY_MS = 3000;
const word = (kind, state) => known(`${kind}.${state}`)
    ? say(`${kind}.${state}`) : state;


export function Payments() {
    const [f, set] = useState({user: '', state: ''});
    const [back, setBack] = useState(null);
    const list = useList(`/admin/payments?${query(f)}`);
    const on = key => e => set({...f, [key]: e.target.value});

    /* a refund is with the vendor for a moment */
    useEvery(!back && list.rows.some(p => p.refunds.some(
        r => r.state == 'pending')) ? EVERY_MS : 0, list.again);

    return html`<section><h2>${say('money.payments')}</h2>
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('money.user')} value=${f.user}
                      placeholder="u_17" onInput=${on('user')} />
            <${Field} label=${say('money.state')}>
                <select value=${f.state} onInput=${on('state')}>
                    ${['', 'paid', 'expected', 'failed', 'wrong'].map(s =>
                        html`<option value=${s}>${s ? say(`payment.${s}`)
                            : say('sessions.all')}</option>`)}
                </select></${Field}>
        </form>
        <${List} of=${list} empty=${say(f.user || f.state
            ? 'list.none' : 'money.none')}>
        <div class="wide" tabindex="0" role="region"
             aria-label=${say('money.payments')}><table>
            <thead><tr>${['id', 'who', 'when', 'how', 'state', 'amount',
                'back'].map(k => html`<th scope="col">${say(`money.${k}`)}
                </th>`)}<th><span class="unseen">${say('money.refund')}</span>
            </th></tr></thead>
            <tbody>${list.rows.map(p => html`<tr key=${p.id}>
                <th scope="row">${p.id}</th>
                <td><${Who} id=${p.user} /></td>
                <td>${moment(p.paid_at ?? p.made_at)}</td>
                <td>${p.provider}<br /><small>${p.vendor_id}</small></td>
                <td>${say(`payment.${p.state}`)}${p.disputed
                    ? `, ${say('payment.disputed')}` : ''}</td>
                <td class="n">${money(p.amount)}</td>
                <td class="n">${p.refunds.map(r => html`<div key=${r.id}
                    class=${r.state == 'failed' ? 'wrong' : ''}>${
                    money(r.amount)} <small>${word('refund', r.state)}${
                    r.error ? `: ${r.error}` : ''}</small></div>`)}</td>
                <td>${left(p) > 0 && html`<button class="secondary small"
                    aria-label=${say('money.refund.one', {id: p.id})}
                    onClick=${() => setBack(p)}>${say('money.refund')}
                    </button>`}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${back && html`<${Refund} of=${back} onClose=${() => setBack(null)}
                                  onDone=${list.again} />`}</section>`;
}

/* refunded has those under way, too */
const left = p => p.state == 'paid' ? p.amount.amount - p.refunded.amount : 0;


function Refund({of: p, onClose, onDone}) {
    const name = useName(p.user);
    const {currency} = p.amount;
    const [text, set] = useState((left(p) / 10 ** digits(currency)).toFixed(
        digits(currency)));
    const amount = minor(text, currency);
    const good = amount > 0 && amount <= left(p);
    const shown = good ? money(amount, currency) : '';

    return html`<${Why} title=${say('money.refund.one', {id: p.id})}
        ready=${good} onClose=${onClose}
        text=${say('money.refund.what', {name, money: money(p.amount),
                                         left: money(left(p), currency)})}
        yes=${good ? say('money.refund.yes', {money: shown})
                   : say('money.refund')}
        does=${async reason => {
            await post(`/admin/payments/${p.id}/refund`, {amount, reason});
            tell(say('money.refund.done', {money: shown, name}));
            onDone();
        }}>
        <${Field} label=${say('money.part', {currency})} inputmode="decimal"
            value=${text} onInput=${e => set(e.target.value)}
            error=${good ? null : say('money.part.wrong', {
                left: money(left(p), currency)})} />
    </${Why}>`;
}

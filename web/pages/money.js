/*
 * Copyright (C) The Astro authors
 *
 * Money that came and went, for operators: payments with their refunds, and
 * payouts.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {post} from '../api.js';
import {minor, moment, money} from '../format.js';
import {Act, Field, List, tell, useList, useTitle} from '../ui.js';
import {Why} from '../parts/ask.js';

export default function Money() {
    useTitle(say('nav.money'));

    return html`<h1>${say('nav.money')}</h1>
        <${Payouts} /><${Payments} />`;
}

function Payouts() {
    const list = useList('/admin/payouts?limit=20');

    return html`<section><h2>${say('money.payouts')}</h2>
        <p class="row"><${Act} class="secondary" does=${async () => {
            const r = await post('/admin/payouts', {});
            tell(say('money.ordered', {date: r.date}));
            list.again();
        }}>${say('money.now')}</${Act}>
        <button class="plain link" onClick=${list.again}>${
            say('app.again.look')}</button></p>
        <${List} of=${list}>
        <ul class="plain">${list.rows.map(d => html`<li key=${d.date}>
            <strong>${d.date}</strong> ${d.payouts.map(p => html`<span>${
                p.count} ${say(`payout.${p.state}`)}, ${money(p.amount)}
            </span>`)}</li>`)}</ul>
        </${List}></section>`;
}

function Payments() {
    const list = useList('/admin/payments?limit=20');
    const [back, setBack] = useState(null);
    const [text, setText] = useState('');
    const currency = use().user.currency;

    return html`<section><h2>${say('money.payments')}</h2>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['id', 'who', 'when', 'how', 'state', 'amount',
                'back'].map(k => html`<th scope="col">${say(`money.${k}`)}
                </th>`)}<th><span class="unseen">${say('money.refund')}</span>
            </th></tr></thead>
            <tbody>${list.rows.map(p => html`<tr key=${p.id}>
                <td>${p.id}</td><td>${p.user}</td>
                <td>${moment(p.paid_at ?? p.made_at)}</td>
                <td>${p.provider}</td>
                <td>${p.state}${p.disputed ? ', disputed' : ''}</td>
                <td class="n">${money(p.amount)}</td>
                <td class="n">${money(p.refunded)}</td>
                <td>${p.state == 'paid' && p.refunded.amount < p.amount.amount
                    && html`<button class="secondary small" onClick=${() => {
                        setText('');
                        setBack(p);
                    }}>${say('money.refund')}</button>`}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${back && html`<${Why} title=${say('money.refund')}
            onClose=${() => setBack(null)} does=${async reason => {
                await post(`/admin/payments/${back.id}/refund`, {
                    reason, ...text && {amount: minor(text, currency)}});
                list.again();
            }}><${Field} label=${say('money.part')} inputmode="decimal"
                value=${text} help=${say('money.all')}
                onInput=${e => setText(e.target.value)} /></${Why}>`}
    </section>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * What an advisor has earned, and was paid out; where it is to go.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, post} from '../api.js';
import {day, money} from '../format.js';
import {Act, Field, List, Wait, useData, useList, useTitle} from '../ui.js';

const DAY_MS = 86400000;
const SPAN = {day: 30, week: 84, month: 365};

export default function Earnings() {
    const [by, setBy] = useState('day');
    const from = new Date(Date.now() - SPAN[by] * DAY_MS)
                 .toISOString().slice(0, 10);
    const of = useData(() => get(
        `/advisors/me/earnings?by=${by}&from=${from}`), [by]);
    const paid = useList('/advisors/me/payouts?limit=20');
    const rows = (of.data?.data ?? []).filter(r => r.earned.amount
                                              || r.paid_out.amount);

    useTitle(say('nav.earnings'));

    return html`<h1>${say('nav.earnings')}</h1>
        <${Account} />
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('earnings.by')}>
                <select value=${by} onInput=${e => setBy(e.target.value)}>
                    ${Object.keys(SPAN).map(k => html`<option value=${k}>${
                        say(`earnings.${k}`)}</option>`)}
                </select>
            </${Field}>
        </form>
        <${Wait} of=${of}>${of.data && html`
        <div class="wide"><table>
            <thead><tr>${['from', 'sessions', 'charged', 'fee', 'gifts',
                'earned', 'paid_out'].map(k => html`<th scope="col">${
                say(`earnings.${k}`)}</th>`)}</tr></thead>
            <tbody>${rows.map(r => html`<tr key=${r.from}>
                <td>${day(r.from)}</td>
                <td class="n">${r.sessions}</td>
                ${['charged', 'fee', 'gifts', 'earned', 'paid_out'].map(k =>
                    html`<td class="n">${money(r[k])}</td>`)}</tr>`)}
            </tbody>
            <tfoot><tr><th scope="row">${say('earnings.total')}</th>
                <td class="n">${of.data.total.sessions}</td>
                ${['charged', 'fee', 'gifts', 'earned', 'paid_out'].map(k =>
                    html`<td class="n">${money(of.data.total[k])}</td>`)}
            </tr></tfoot>
        </table></div>`}</${Wait}>
        <section><h2>${say('earnings.paid_out')}</h2>
        <${List} of=${paid}>
        <ul class="plain">${paid.rows.map(p => html`<li key=${p.date}>${
            day(p.date)}: ${money(p.amount)}, ${say(`payout.${p.state}`)} ${
            p.reason ?? ''}</li>`)}</ul>
        </${List}></section>`;
}


const COUNTRIES = ['IN', 'US', 'GB', 'DE', 'FR', 'ES', 'NO', 'AU', 'CA'];

/* none, creating, onboarding, enabled, restricted */
function Account() {
    const of = useData(() => get('/advisors/me/payouts/account'));
    const [country, set] = useState('IN');
    const a = of.data;
    const waits = a?.state == 'creating';

    useEffect(() => {
        if (!waits) return;
        const timer = setTimeout(of.again, 1000);
        return () => clearTimeout(timer);
    });

    const ask = does => html`<${Act} class="small" does=${async () => {
        await post('/advisors/me/payouts/account', {country});
        of.again();
    }}>${say(does)}</${Act}>`;

    return html`<${Wait} of=${of}>${a && html`<section class="row">
        <p role="status">${say(`account.${a.state}`)} ${a.reason ?? ''}</p>
        ${a.state == 'none' && html`<label>${say('account.country')}
            <select value=${country} onInput=${e => set(e.target.value)}>
                ${COUNTRIES.map(c => html`<option value=${c}>${
                    c}</option>`)}</select>
            </label>${ask('account.begin')}`}
        ${a.url && html`<a class="small" role="button" href=${a.url}
            target="_blank" rel="noopener">${say('account.go')}</a>`}
        ${!a.url && /onboarding|restricted/.test(a.state)
            && ask('account.again')}
    </section>`}</${Wait}>`;
}

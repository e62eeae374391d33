/*
 * Copyright (C) The Astro authors
 *
 * What an advisor has earned, and what was paid out; where it is to go; the
 * same as a file.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {get, post} from '../api.js';
import {day, money, moment} from '../format.js';
import {Act, Field, List, Wait, useData, useList, useTitle} from '../ui.js';

const DAY_MS = 86400000;
const SPAN = {day: 30, week: 84, month: 365};
const SUMS = ['charged', 'fee', 'gifts', 'reversed', 'earned', 'paid_out'];

const date = at => new Date(at).toISOString().slice(0, 10);

export default function Earnings() {
    const [by, setBy] = useState('day');
    const of = useData(() => get(`/advisors/me/earnings?by=${by}&from=${
        date(Date.now() - SPAN[by] * DAY_MS)}`), [by]);

    useTitle(say('nav.earnings'));

    return html`<h1>${say('nav.earnings')}</h1>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('earnings.by')}>
                <select value=${by} onInput=${e => setBy(e.target.value)}>
                    ${Object.keys(SPAN).map(k => html`<option value=${k}>${
                        say(`earnings.${k}`)}</option>`)}
                </select>
            </${Field}>
        </form>
        <${Wait} of=${of}>${of.data && html`<${Figures} of=${of.data} />`}
        </${Wait}>
        <${Statement} />
        <${Account} />
        <${Payouts} />`;
}

/* how much of what clients paid one keeps, as it was; none: nothing paid */
function share({charged, fee}) {
    return charged.amount > 0
        ? Math.round(100 * (1 - fee.amount / charged.amount)) : null;
}

function Figures({of}) {
    const rows = of.data.filter(r => SUMS.some(k => r[k].amount));
    const keeps = share(of.total);

    return html`<div>
        <dl class="tiles">${[
            ['earnings.earned', money(of.total.earned)],
            ['earnings.sessions', of.total.sessions],
            ['earnings.keeps', keeps === null ? '–' : `${keeps} %`],
            ['desk.balance', money(of.balance)]].map(([k, v]) => html`
            <div class="tile" key=${k}><dt>${say(k)}</dt><dd>${v}</dd></div>`)}
        </dl>
        ${rows.length == 0 ? html`<p>${say('earnings.none')}</p>` : html`
        <${Bars} rows=${of.data} />
        <p><small>${say('earnings.days', {zone: of.time_zone})}</small></p>
        <div class="wide" role="region" tabindex="0" aria-label=${
            say('nav.earnings')}><table>
            <thead><tr>${['from', 'sessions', ...SUMS].map(k => html`<th
                scope="col">${say(`earnings.${k}`)}</th>`)}</tr></thead>
            <tbody>${rows.map(r => html`<tr key=${r.from}>
                <th scope="row">${day(`${r.from}T12:00`)}</th>
                <td class="n">${r.sessions}</td>
                ${SUMS.map(k => html`<td class="n">${money(r[k])}</td>`)}
            </tr>`)}</tbody>
            <tfoot><tr><th scope="row">${say('earnings.total')}</th>
                <td class="n">${of.total.sessions}</td>
                ${SUMS.map(k => html`<td class="n">${money(of.total[k])}</td>`)}
            </tr></tfoot>
        </table></div>`}
    </div>`;
}

/* the table says the same to who does not see it */
function Bars({rows}) {
    const most = Math.max(1, ...rows.map(r => r.earned.amount));
    const wide = 600 / Math.max(rows.length, 1);

    return html`<svg class="bars" viewBox="0 0 600 100" width="600"
        height="100" preserveAspectRatio="none" aria-hidden="true"
        focusable="false">${rows.map((r, i) => {
            const high = Math.max(0, r.earned.amount) / most * 98;

            return html`<rect key=${r.from} x=${i * wide + wide * 0.1}
                y=${100 - high} width=${wide * 0.8} height=${high}><title>${
                day(`${r.from}T12:00`)}: ${money(r.earned)}</title></rect>`;
        })}</svg>`;
}


/* what moved, as a file for whoever does the books */
function Statement() {
    const year = new Date().getFullYear();
    const [from, setFrom] = useState(`${year}-01-01`);
    const [to, setTo] = useState(date(Date.now()));

    async function save() {
        const file = await get(`/wallet/statement?from=${from}&to=${to}`
                               + '&format=csv');
        const link = document.createElement('a');

        link.href = URL.createObjectURL(file);
        link.download = `statement-${from}-${to}.csv`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }

    return html`<section><h2>${say('earnings.statement')}</h2>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('earnings.since')} type="date" value=${from}
                max=${to} onInput=${e => setFrom(e.target.value)} />
            <${Field} label=${say('earnings.until')} type="date" value=${to}
                min=${from} onInput=${e => setTo(e.target.value)} />
            <p><${Act} class="secondary" disabled=${!from || !to || from > to}
                does=${save}>${say('earnings.csv')}</${Act}></p>
        </form>
    </section>`;
}


const state = s => known(`payout.${s}`) ? say(`payout.${s}`) : s;

function Payouts() {
    const paid = useList('/advisors/me/payouts?limit=20');

    return html`<section><h2>${say('earnings.paid_out')}</h2>
        <${List} of=${paid} empty=${say('payout.none')}>
        <div class="wide" role="region" tabindex="0" aria-label=${
            say('earnings.paid_out')}><table>
            <thead><tr>${['date', 'amount', 'state', 'ended'].map(k => html`
                <th scope="col">${say(`payout.${k}`)}</th>`)}</tr></thead>
            <tbody>${paid.rows.map(p => html`<tr key=${p.date}>
                <th scope="row">${day(`${p.date}T12:00`)}</th>
                <td class="n">${money(p.amount)}</td>
                <td>${state(p.state)} ${p.reason ?? ''}</td>
                <td>${p.ended_at ? moment(p.ended_at) : ''}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}></section>`;
}


const COUNTRIES = ['IN', 'US', 'GB', 'DE', 'FR', 'ES', 'NO', 'AU', 'CA'];
const country = new Intl.DisplayNames(undefined, {type: 'region'});

/* none, creating, onboarding, enabled, restricted */
function Account() {
    const of = useData(() => get('/advisors/me/payouts/account'));
    const [where, set] = useState('IN');
    const a = of.data;
    const waits = a?.state == 'creating';

    useEffect(() => {
        if (!waits) return;
        const timer = setTimeout(of.again, 1000);
        return () => clearTimeout(timer);
    });

    /* details are given in another window: this one looks when it is back */
    useEffect(() => {
        addEventListener('focus', of.again);
        return () => removeEventListener('focus', of.again);
    }, []);

    const ask = does => html`<${Act} class="small" does=${async () => {
        await post('/advisors/me/payouts/account', {
            country: a.country ?? where});
        of.again();
    }}>${say(does)}</${Act}>`;

    return html`<section><h2>${say('account.title')}</h2>
        <${Wait} of=${of}>${a && html`<div>
        <p role="status">${say(`account.${a.state}`)} ${a.reason ?? ''}</p>
        ${a.state == 'none' && html`<div class="filters"><${Field}
            label=${say('account.country')}><select value=${where}
            onInput=${e => set(e.target.value)}>${COUNTRIES.map(c => html`
                <option value=${c}>${country.of(c)}</option>`)}</select>
            </${Field}><p>${ask('account.begin')}</p></div>`}
        ${a.url && html`<a class="small" role="button" href=${a.url}
            target="_blank" rel="noopener">${say('account.go')}</a>`}
        ${!a.url && /onboarding|restricted/.test(a.state)
            && ask('account.again')}
        </div>`}</${Wait}></section>`;
}

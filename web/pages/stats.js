/*
 * Copyright (C) The Astro authors
 *
 * What all of it came to over some days, for operators: people, consultations,
 * money, and a file of the days or the advisors.  Days are UTC's, as the books
 * have them.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {get} from '../api.js';
import {use} from '../live.js';
import {clock, date, moment, money, number} from '../format.js';
import {Act, Field, Wait, useData, useTitle} from '../ui.js';

const PERIODS = ['today', '7d', '30d', 'month', 'last', 'all', 'days'];

/* the parameters of a period: the server knows some by name */
function span({period, from, to}) {
    const now = new Date(), y = now.getUTCFullYear(), m = now.getUTCMonth();
    const iso = (month, d) => new Date(Date.UTC(y, month, d)).toISOString()
        .slice(0, 10);

    if (period == 'month') return {from: iso(m, 1)};
    if (period == 'last') return {from: iso(m - 1, 1), to: iso(m, 0)};
    if (period == 'days') return {...from && {from}, ...to && {to}};
    return {period};
}

const share = n => n === null ? '-'
    : n.toLocaleString(undefined, {style: 'percent',
                                   maximumFractionDigits: 1});


export default function Stats() {
    const [f, set] = useState({period: '7d', from: '', to: ''});
    const q = new URLSearchParams(span(f));
    const whole = f.period != 'days' || f.from && (!f.to || f.to >= f.from);
    const of = useData(() => whole ? get(`/admin/stats?${q}`)
                                   : new Promise(() => {}), [String(q)]);
    const on = key => e => set({...f, [key]: e.target.value});

    useTitle(say('nav.stats'));

    return html`<h1>${say('nav.stats')}</h1>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('stats.period')}>
                <select value=${f.period} onInput=${on('period')}>
                    ${PERIODS.map(p => html`<option value=${p}>${
                        say(`stats.${p}`)}</option>`)}</select></${Field}>
            ${f.period == 'days' && html`
                <${Field} label=${say('stats.from')} type="date"
                    value=${f.from} onInput=${on('from')} />
                <${Field} label=${say('stats.to')} type="date"
                    value=${f.to} onInput=${on('to')} />`}
        </form>
        <p class="row">${['days', 'advisors'].map(r => html`<${Act}
            class="secondary small" does=${() => download(q, r)}>${
            say(`stats.csv.${r}`)}</${Act}>`)}</p>
        <${Wait} of=${of}>${of.data && html`<${Figures} of=${of.data} />
            <${Days} q=${String(q)} />`}</${Wait}>`;
}

async function download(q, report) {
    const file = await get(`/admin/analytics?${q}&report=${report}&format=csv`);
    const link = document.createElement('a');

    link.href = URL.createObjectURL(file);
    link.download = `astro-${report}-${q.get('from') ?? q.get('period')}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}


function Figures({of: s}) {
    const {users: u, sessions: n, revenue: r} = s;

    const groups = [
        ['users', [['total', number(u.total)], ['clients', number(u.clients)],
                   ['advisors', number(u.advisors)], ['new', number(u.new)],
                   ['active', number(u.active)],
                   ['conversion', share(s.conversion_rate)],
                   ['d1', share(s.retention.d1)], ['d7', share(s.retention.d7)],
                   ['d30', share(s.retention.d30)]]],
        ['sessions', [['live', number(n.live)], ['ended', number(n.ended)],
                      ['answered', number(n.answered)],
                      ['completed', number(n.completed)],
                      ['minutes', number(n.minutes)],
                      ['rate', share(n.completion_rate)]]],
        ['money', [['gross', money(r.gross)], ['fees', money(r.fees)],
                   ['given_back', money(r.given_back)], ['net', money(r.net)],
                   ['topups', money(r.topups)], ['refunds', money(r.refunds)],
                   ['promo', money(r.promo)], ['payouts', money(r.payouts)],
                   ['due', money(s.payouts_due.amount)]]]];

    return html`<p><small>${say('stats.of', {from: date(s.period.from),
            to: date(s.period.to)})} ${s.as_of && say('stats.as_of', {
            when: moment(s.as_of)})}</small></p>
        ${groups.map(([g, rows]) => html`<section><h2>${say(`stats.${g}`)}</h2>
        <dl class="tiles">${rows.map(([k, v]) => html`<div class="tile small">
            <dt>${say(`stats.${g}.${k}`)}</dt><dd>${v}</dd></div>`)}</dl>
        </section>`)}`;
}


function Days({q}) {
    const of = useData(() => get(`/admin/analytics?${q}`), [q]);
    const {currency} = use().user;
    const cost = n => money(n, currency);

    const columns = [['clients', number], ['active', number],
                     ['sessions', number], ['completed', number],
                     ['billed_ms', clock], ['gross', cost], ['fees', cost],
                     ['topups', cost], ['refunds', cost], ['payouts', cost]];

    return html`<section><h2>${say('stats.by')}</h2><${Wait} of=${of}>
        ${of.data && html`<div class="wide" tabindex="0" role="region"
            aria-label=${say('stats.by')}><table>
        <thead><tr><th scope="col">${say('payouts.day')}</th>${columns.map(
            ([k]) => html`<th scope="col" class="n">${
                say(`stats.day.${k}`)}</th>`)}</tr></thead>
        <tbody>${of.data.data.map(d => html`<tr key=${d.day}>
            <th scope="row">${date(d.day)}</th>${columns.map(([k, show]) =>
            html`<td class="n">${show(d[k])}</td>`)}</tr>`)}</tbody>
        </table></div>`}</${Wait}></section>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * How the system is doing, every two seconds, as the server tells admins who
 * ask: first in one sentence, then in figures, then over time.  "-" is what
 * nobody knows at the moment, as when Redis is away.
 */

import {html} from '../vendor/preact.js';
import {known, say} from '../words.js';
import '../words_ops.js';
import {get} from '../api.js';
import {use} from '../live.js';
import {money, moment, number} from '../format.js';
import {useClock, useData, useEvery, useTitle} from '../ui.js';
import {all as alarms} from '../parts/alarms.js';
import {useFigures} from '../parts/figures.js';
import {Chart} from '../parts/chart.js';

const LATE_MS = 7000;
const BOOKS_MS = 20000;

/* null: none of it is known */
const sum = list => list.every(x => x === null) ? null
                    : list.reduce((n, x) => n + x, 0);
const STATES = ['active', 'reconnecting', 'paused', 'ringing'];


export default function Live() {
    const {figures, heard} = useFigures();
    const {user} = use();
    const books = useBooks();
    const now = useClock(2000);
    const last = figures.at(-1);

    useTitle(say('nav.admin'));
    if (!last) return html`<h1>${say('nav.admin')}</h1>
        <p role="status" aria-busy="true">${say('live.waits')}</p>`;

    const late = now - heard > LATE_MS;
    const wrong = alarms(figures, books);
    const cost = n => n === null || n === undefined ? '-'
        : money(n, user.currency);

    return html`<h1>${say('nav.admin')}</h1>
        <${Verdict} wrong=${wrong} late=${late ? now - heard : 0}
                    books=${books} />
        <${Tiles} of=${last} wrong=${wrong} cost=${cost} books=${books} />
        <${Charts} of=${figures} cost=${cost} />
        <${Tables} of=${figures} />`;
}

/* null: not known, or not any more */
function useBooks() {
    const of = useData(() => get('/admin/books'));

    useEvery(BOOKS_MS, of.again);
    return of.error ? null : of.data;
}


/* the one sentence; read out when it is another one */
function Verdict({wrong, late, books}) {
    const text = ({name, n, said}) => say(`alarm.${name}`,
                                          {n: number(n), said});
    const audit = books?.audit;

    if (late) return html`<p class="verdict bad" role="alert">
        <strong>${say('live.late')}</strong> ${say('live.late.do')}</p>`;

    return html`<div class="verdict ${wrong.some(a => a.page) ? 'bad'
                    : wrong.length ? 'warn' : 'good'}" role="status">
        ${wrong.length == 0 && html`<p><strong>${say('live.well')}</strong> ${
            !audit ? books && say('live.unaudited')
            : say('live.audited', {when: moment(audit.at)})}</p>`}
        ${wrong.map(a => html`<p key=${a.name}><strong>${text(a)}</strong> ${
            say(`alarm.${a.name}.do`)}</p>`)}
    </div>`;
}


function Tiles({of: {host, billing: b}, wrong, cost, books}) {
    const bad = new Map(wrong.map(a => [a.tile, a]).reverse());
    const audit = books?.audit;

    const tiles = [
        ['connections', sum(host.workers.map(w => w.connections))],
        ['sessions', b && sum(Object.values(b.sessions))],
        ['messages', host.messages_in_s], ['requests', host.requests_s],
        ['ticks', b?.ticks_s], ['lag', b?.tick_lag_p99_ms],
        ['revenue', cost(b?.charged_minute)],
        ['outbox', b?.outbox_waiting], ['parked', b?.outbox_parked],
        ['inbox', b?.inbox_parked],
        ['nodes', host.nodes], ['billers', b?.workers],
        ['pg', host.pg_up], ['redis', host.redis_up],
        ['books', audit ? say(audit.violations ? 'live.books.wrong'
                                               : 'live.books.right')
                        : '-', audit && moment(audit.at)]];

    return html`<dl class="tiles">${tiles.map(([k, v, more]) => html`
        <div key=${k} data-tile=${k} class="tile ${!bad.has(k) ? ''
                : bad.get(k).page ? 'bad' : 'warn'}">
            <dt>${say(`live.${k}`)}</dt>
            <dd>${typeof v == 'string' ? v : number(v)}
                ${bad.has(k) && html` <span class="flag"><span
                    aria-hidden="true">!</span><span class="unseen">${
                    say('live.bad')}</span></span>`}
                ${more && html`<small>${more}</small>`}</dd>
        </div>`)}</dl>`;
}


function Charts({of, cost}) {
    const workers = [...new Set(of.flatMap(
        f => f.host.workers.map(w => w.worker)))].sort((a, b) => a - b);
    const b = key => f => f.billing?.[key];

    return html`<div class="charts">
        <${Chart} title=${say('live.workers')} of=${of}
            series=${workers.map(w => [say('live.worker', {n: w}),
                f => f.host.workers.find(x => x.worker == w)?.connections])} />
        <${Chart} title=${say('live.states')} of=${of} series=${[
            ...STATES.map(s => [say(`state.${s}`), f => f.billing?.sessions[s]
            ]), [say('live.begin'), f => f.billing && sum(Object.entries(
                f.billing.sessions).filter(([s]) => !STATES.includes(s))
                .map(([, n]) => n))]]} />
        <${Chart} title=${say('live.messages')} of=${of} series=${[
            [say('live.in'), f => f.host.messages_in_s],
            [say('live.out'), f => f.host.messages_out_s]]} />
        <${Chart} title=${say('live.ticks')} of=${of}
            series=${[[say('live.ticks'), b('ticks_s')]]} />
        <${Chart} title=${say('live.lag')} of=${of}
            series=${[[say('live.lag'), b('tick_lag_p99_ms')]]} />
        <${Chart} title=${say('live.revenue')} of=${of} unit=${cost}
            series=${[[say('live.revenue'), b('charged_minute')]]} />
        <${Chart} title=${say('live.calls')} of=${of} series=${[
            [say('live.outbox'), b('outbox_waiting')],
            [say('live.parked'), b('outbox_parked')]]} />
        <${Chart} title=${say('live.up')} of=${of} series=${[
            [say('live.pg'), f => f.host.pg_up],
            [say('live.redis'), f => f.host.redis_up],
            [say('live.billers'), b('workers')]]} />
    </div>`;
}


function Tables({of}) {
    const {host, billing} = of.at(-1);
    const first = of[0].host.closes;
    const closed = code => host.closes[code] < (first[code] ?? 0)
        ? host.closes[code] : host.closes[code] - (first[code] ?? 0);
    const codeOf = code => known(`close.${code}`)
        ? `${/^\d/.test(code) ? `${code} ` : ''}${say(`close.${code}`)}`
        : code;

    return html`<div class="charts">
        <section><h2>${say('live.states')}</h2>${!billing
            ? html`<p>${say('live.unknown')}</p>`
            : html`<table><tbody>${Object.entries(billing.sessions).map(
                ([k, n]) => html`<tr key=${k}><th scope="row">${
                    say(`state.${k}`)}</th><td class="n">${number(n)}</td>
                </tr>`)}</tbody></table>`}</section>
        <section><h2>${say('live.closes')}</h2>${
            Object.keys(host.closes).length == 0
            ? html`<p>${say('live.unclosed')}</p>`
            : html`<table><thead><tr><th scope="col">${say('live.code')}</th>
                <th scope="col" class="n">${say('live.seen')}</th>
                <th scope="col" class="n">${say('live.ever')}</th></tr></thead>
            <tbody>${Object.keys(host.closes).sort().map(
                code => html`<tr key=${code}><th scope="row">${codeOf(code)}
                </th><td class="n">${number(closed(code))}</td>
                <td class="n">${number(host.closes[code])}</td></tr>`)}
            </tbody></table>`}</section>
        <section><h2>${say('live.workers')}</h2><table>
            <thead><tr>
            <th scope="col">${say('live.worker', {n: ''})}</th>
            <th scope="col" class="n">${say('live.connections')}</th>
            <th scope="col" class="n">${say('live.joined')}</th></tr></thead>
            <tbody>${host.workers.map(w => html`<tr key=${w.worker}>
            <th scope="row">${say('live.worker', {n: w.worker})}</th>
            <td class="n">${number(w.connections)}</td>
            <td class="n">${number(w.joined)}</td></tr>`)}
        </tbody></table></section>
    </div>`;
}

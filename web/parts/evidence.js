/*
 * Copyright (C) The Astro authors
 *
 * What was known of a consultation when its dispute was opened, in words: who
 * was there for how long, what was charged, how the connection was.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {clock, moment, money, number, time} from '../format.js';
import {sayReason} from './over.js';

export function Evidence({of: d}) {
    const e = d.evidence, s = e.session;
    const {currency} = s.rate;
    const name = id => id == d.client.id ? d.client.name
                     : id == d.advisor.id ? d.advisor.name : id ?? '-';

    const facts = [
        ['how', `${say(`service.${s.service}`)}, ${say('find.minute', {
            money: money(s.rate)})}`],
        ['when', `${moment(s.created_at)} - ${e.end ? time(e.end) : ''}`],
        ['end', `${sayReason(s.reason, d.advisor.name)} ${e.ended_by
            ? name(e.ended_by) : ''}`],
        ['billed', `${clock(s.billed_ms)}, ${money(s.charged, currency)}`],
        ['both', clock(e.connected_ms.both)],
        ['client', `${d.client.name}: ${clock(e.connected_ms.client)}`],
        ['advisor', `${d.advisor.name}: ${clock(e.connected_ms.advisor)}`],
        ['kept', money(e.transfers.fee, currency)],
        ['promo', e.transfers.promo ? money(e.transfers.promo, currency) : ''],
        ['charges', number(e.transfers.count)],
        ['said', `${d.client.name}: ${number(e.transcript.client)}, ${
            d.advisor.name}: ${number(e.transcript.advisor)}`]];

    return html`<details><summary>${say('dispute.evidence')}</summary>
        <dl class="evidence">${facts.filter(([, v]) => v).map(([k, v]) => html`
            <div><dt>${say(`evidence.${k}`)}</dt><dd>${v}</dd></div>`)}</dl>
        ${e.intervals.length > 0 && html`<h3>${say('evidence.intervals')}</h3>
        <ul>${e.intervals.map(i => html`<li>${name(i.user)}: ${
            time(i.from)} - ${time(i.to)} (${
            clock(new Date(i.to) - new Date(i.from))})</li>`)}</ul>`}
        ${e.quality.length > 0 && html`<h3>${say('evidence.quality')}</h3>
        <ul>${e.quality.map(q => html`<li>${say('evidence.poor', {
            name: name(q.from), poor: number(q.poor), n: number(q.samples),
            rtt: number(q.rtt), loss: number(q.loss)})}</li>`)}</ul>`}
    </details>`;
}

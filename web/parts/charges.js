/*
 * Copyright (C) The Astro authors
 *
 * What a consultation cost, and by which prices.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {clock, instant, money} from '../format.js';

/* segments: each service with the price that held from then on */
export function Charges({session: s}) {
    const rows = s.segments ?? [];
    const until = n => rows[n + 1]?.from ?? s.ended_at;

    if (rows.length == 0 || !rows[0].from) return null;

    return html`<section><h2>${say('charges.title')}</h2>
        <div class="wide" role="region" tabindex="0"
            aria-label=${say('charges.title')}><table>
            <thead><tr>${['from', 'to', 'how', 'rate'].map(k => html`
                <th scope="col" class=${k == 'rate' ? 'n' : ''}>${
                say(`charges.${k}`)}</th>`)}</tr></thead>
            <tbody>${rows.map((r, n) => html`<tr>
                <td>${instant(r.from)}</td>
                <td>${until(n) && instant(until(n))}</td>
                <td>${say(`service.${r.service}`)}</td>
                <td class="n">${say('find.minute', {money: money(r.rate)})}</td>
            </tr>`)}</tbody>
        </table></div>
        <p>${say('charges.total', {
            time: clock(s.billed_ms),
            money: money(s.charged, s.rate.currency)})}</p>
    </section>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * Consultations that one has had.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {nameOf, use} from '../live.js';
import {clock, moment, money} from '../format.js';
import {List, useList, useTitle} from '../ui.js';
import {sayReason} from '../parts/over.js';

export default function History() {
    const list = useList('/sessions?limit=20');

    use();
    useTitle(say('history.title'));

    return html`<h1>${say('history.title')}</h1>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['when', 'with', 'how', 'time', 'cost', 'state'].map(
                k => html`<th scope="col">${say(`history.${k}`)}</th>`)}
                <th><span class="unseen">${say('history.open')}</span></th>
            </tr></thead>
            <tbody>${list.rows.map(s => html`<tr key=${s.session}>
                <td>${moment(s.created_at)}</td>
                <td>${nameOf(s)}</td>
                <td>${say(`service.${s.service}`)}</td>
                <td class="n">${clock(s.billed_ms)}</td>
                <td class="n">${money(s.charged, s.rate.currency)}</td>
                <td>${sayReason(s.reason, nameOf(s))}</td>
                <td><a href=${s.state == 'ended' ? `#/history/${s.session}`
                    : `#/session/${s.session}`}>${say(s.state == 'ended'
                    ? 'history.open' : 'history.live')}</a></td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>`;
}

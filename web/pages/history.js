/*
 * Copyright (C) The Astro authors
 *
 * Consultations that one has had.
 */

import {html, useEffect} from '../vendor/preact.js';
import {say} from '../words.js';
import {nameOf, use} from '../live.js';
import {get} from '../api.js';
import {clock, moment, money} from '../format.js';
import {List, useData, useList, useTitle} from '../ui.js';
import {sayReason} from '../parts/over.js';

const NEW = 100;            /* conversations whose unread is looked at */

export default function History() {
    const {ended} = use();
    const list = useList('/sessions?limit=20');
    const talks = useData(() => get(`/conversations?limit=${NEW}`));
    const unread = new Map((talks.data?.data ?? []).map(
        c => [c.conv, c.unread]));
    const shown = new Set();            /* unread is said once for each */

    useTitle(say('history.title'));
    useEffect(() => { if (list.path) list.again(); }, [ended.size]);

    const news = ({conv}) => {
        const n = shown.has(conv) ? 0 : unread.get(conv);

        shown.add(conv);
        return n > 0 && html` <b class="new">${say('history.unread', {n})}</b>`;
    };

    return html`<h1>${say('history.title')}</h1>
        <${List} of=${list} empty=${say('history.none')}>
        ${list.rows.length > 0 && html`<div class="wide" role="region"
            tabindex="0" aria-label=${say('history.title')}><table>
            <thead><tr>${['when', 'with', 'how', 'time', 'cost', 'state'].map(
                k => html`<th scope="col" class=${k == 'time' || k == 'cost'
                ? 'n' : ''}>${say(`history.${k}`)}</th>`)}
                <th><span class="unseen">${say('history.open')}</span></th>
            </tr></thead>
            <tbody>${list.rows.map(s => html`<tr key=${s.session}>
                <td>${moment(s.created_at)}</td>
                <td>${nameOf(s)}${news(s)}</td>
                <td>${say(`service.${s.service}`)}</td>
                <td class="n">${clock(s.billed_ms)}</td>
                <td class="n">${money(s.charged, s.rate.currency)}</td>
                <td>${sayReason(s.reason, nameOf(s))}</td>
                <td><a href=${s.state == 'ended' ? `#/history/${s.session}`
                    : `#/session/${s.session}`}>${say(s.state == 'ended'
                    ? 'history.open' : 'history.live')}<span class="unseen">${
                    ' '}${nameOf(s)}, ${moment(s.created_at)}</span></a></td>
            </tr>`)}</tbody>
        </table></div>`}
        </${List}>`;
}

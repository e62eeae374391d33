/*
 * Copyright (C) The Astro authors
 *
 * Consultations of everybody, and an end to one.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {post} from '../api.js';
import {clock, moment, money} from '../format.js';
import {Field, List, useList, useTitle} from '../ui.js';
import {sayReason} from '../parts/over.js';
import {Why} from '../parts/ask.js';

export default function Sessions() {
    const [state, setState] = useState('live');
    const [end, setEnd] = useState(null);
    const list = useList(`/admin/sessions?limit=20${
        state ? `&state=${state}` : ''}`);

    useTitle(say('nav.sessions'));

    return html`<h1>${say('nav.sessions')}</h1>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('sessions.which')}>
                <select value=${state}
                        onInput=${e => setState(e.target.value)}>
                    ${['live', 'ended', ''].map(s => html`<option value=${s}>${
                        say(`sessions.${s || 'all'}`)}</option>`)}
                </select>
            </${Field}>
        </form>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['id', 'when', 'client', 'advisor', 'how', 'state',
                'time', 'cost'].map(k => html`<th scope="col">${
                say(`sessions.${k}`)}</th>`)}
                <th><span class="unseen">${say('session.end')}</span></th></tr>
            </thead>
            <tbody>${list.rows.map(s => html`<tr key=${s.session}>
                <td>${s.session}</td>
                <td>${moment(s.created_at)}</td>
                <td>${s.client}</td><td>${s.advisor}</td>
                <td>${say(`service.${s.service}`)}</td>
                <td>${s.state == 'ended' ? sayReason(s.reason, s.advisor)
                                         : s.state}</td>
                <td class="n">${clock(s.billed_ms)}</td>
                <td class="n">${money(s.charged, s.rate.currency)}</td>
                <td>${s.state != 'ended' && html`<button class="end small"
                    onClick=${() => setEnd(s.session)}>${
                    say('session.end')}</button>`}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${end && html`<${Why} title=${say('sessions.end')}
            onClose=${() => setEnd(null)} does=${async reason => {
                await post(`/admin/sessions/${end}/end`, {reason});
                list.again();
            }} />`}`;
}

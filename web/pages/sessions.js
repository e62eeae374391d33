/*
 * Copyright (C) The Astro authors
 *
 * Consultations of everybody, and an end to one.  Those that live are looked
 * at again every few seconds: what has ended is not there any more.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {post} from '../api.js';
import {clock, moment, money} from '../format.js';
import {Field, List, tell, useEvery, useList, useTitle} from '../ui.js';
import {sayReason} from '../parts/over.js';
import {Why} from '../parts/ask.js';
import {Who, useName} from '../parts/who.js';
import {query} from '../parts/query.js';

const EVERY_MS = 5000;
const STATES = ['live', 'ringing', 'accepted', 'connecting', 'active',
                'reconnecting', 'paused', 'ended', ''];


export default function Sessions() {
    const [f, set] = useState({state: 'live', user: '', from: '', to: ''});
    const [end, setEnd] = useState(null);
    const list = useList(`/admin/sessions?${query(f)}`);
    const put = key => e => set({...f, [key]: e.target.value});

    useEvery(f.state == 'ended' || end ? 0 : EVERY_MS, list.again);
    useTitle(say('nav.sessions'));

    return html`<h1>${say('nav.sessions')}</h1>
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('sessions.which')}>
                <select value=${f.state} onInput=${put('state')}>
                    ${STATES.map(s => html`<option value=${s}>${
                        say(s == 'live' ? 'sessions.live' : s ? `state.${s}`
                            : 'sessions.all')}</option>`)}
                </select>
            </${Field}>
            <${Field} label=${say('sessions.user')} value=${f.user}
                      placeholder="u_17" onInput=${put('user')} />
            <${Field} label=${say('sessions.from')} type="datetime-local"
                      value=${f.from} onInput=${put('from')} />
            <${Field} label=${say('sessions.to')} type="datetime-local"
                      value=${f.to} onInput=${put('to')} />
        </form>
        <${List} of=${list} empty=${say(f.state == 'live' && !f.user
                                        ? 'sessions.quiet' : 'list.none')}>
        <div class="wide" tabindex="0" role="region"
             aria-label=${say('nav.sessions')}><table>
            <thead><tr>${['id', 'when', 'client', 'advisor', 'how', 'state',
                'time', 'cost'].map(k => html`<th scope="col">${
                say(`sessions.${k}`)}</th>`)}
                <th><span class="unseen">${say('session.end')}</span></th></tr>
            </thead>
            <tbody>${list.rows.map(s => html`<tr key=${s.session}>
                <th scope="row">${s.session}</th>
                <td>${moment(s.created_at)}</td>
                <td><${Who} id=${s.client} /></td>
                <td><${Who} id=${s.advisor} /></td>
                <td>${say(`service.${s.service}`)}</td>
                <td>${s.state == 'ended' ? sayReason(s.reason, s.advisor)
                                         : say(`state.${s.state}`)}</td>
                <td class="n">${clock(s.billed_ms)}</td>
                <td class="n">${money(s.charged, s.rate.currency)}</td>
                <td>${s.state != 'ended' && html`<button class="end small"
                    aria-label=${say('sessions.end.one', {id: s.session})}
                    onClick=${() => setEnd(s)}>${say('session.end')}
                    </button>`}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${end && html`<${End} session=${end} onClose=${() => setEnd(null)}
                              onDone=${list.again} />`}`;
}

function End({session: s, onClose, onDone}) {
    const client = useName(s.client), advisor = useName(s.advisor);

    return html`<${Why} title=${say('sessions.end')}
        text=${say('sessions.end.what', {client, advisor,
            money: money(s.charged, s.rate.currency)})}
        yes=${say('sessions.end.one', {id: s.session})}
        onClose=${onClose} does=${async reason => {
            await post(`/admin/sessions/${s.session}/end`, {reason});
            tell(say('sessions.done', {id: s.session}));
            onDone();
        }} />`;
}

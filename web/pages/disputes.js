/*
 * Copyright (C) The Astro authors
 *
 * Disputes: the queue of those that wait for a decision, and those decided.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {clock, moment, money} from '../format.js';
import {Field, List, useEvery, useList, useTitle} from '../ui.js';
import {Decide} from '../parts/decide.js';
import {Evidence} from '../parts/evidence.js';
import {Transcript} from '../parts/transcript.js';
import {Who, knownAs} from '../parts/who.js';

const EVERY_MS = 30000;


export default function Disputes() {
    const [state, setState] = useState('open');
    const [open, setOpen] = useState(null);
    const list = useList(`/admin/disputes?limit=20${
        state ? `&state=${state}` : ''}`);

    useEvery(open ? 0 : EVERY_MS, list.again);
    useTitle(say('nav.disputes'));

    return html`<h1>${say('nav.disputes')}</h1>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('sessions.which')}>
                <select value=${state}
                        onInput=${e => setState(e.target.value)}>
                    ${['open', 'refunded', 'refused', ''].map(s => html`
                        <option value=${s}>${say(s ? `dispute.is.${s}`
                        : 'sessions.all')}</option>`)}
                </select>
            </${Field}>
        </form>
        <${List} of=${list} empty=${say(state == 'open' ? 'dispute.none'
                                                        : 'list.none')}>
        <ul class="plain">${list.rows.map(d => html`<li key=${d.id}>
            <${Case} of=${d} onDecide=${() => setOpen(d)} /></li>`)}</ul>
        </${List}>
        ${open && html`<${Decide} dispute=${open} onClose=${() =>
            setOpen(null)} onDone=${list.again} />`}`;
}

function Case({of: d, onDecide}) {
    const s = d.evidence.session;

    knownAs(d.client.id, d.client.name);
    knownAs(d.advisor.id, d.advisor.name);

    return html`<article>
        <h2><${Who} id=${d.client.id} />, <${Who} id=${d.advisor.id} />${' '}
            <small>${d.session}</small></h2>
        <p>${say('dispute.says', {when: moment(d.at), name: d.by == d.client.id
                ? d.client.name : d.advisor.name})} <strong>${
            say(`dispute.why.${d.reason}`)}</strong></p>
        <blockquote class="prose">${d.text}</blockquote>
        <p>${say('dispute.charged', {time: clock(s.billed_ms),
            money: money(s.charged, s.rate.currency)})}</p>
        <${Evidence} of=${d} />
        <${Transcript} dispute=${d} />
        ${d.state == 'open'
        ? html`<p><button onClick=${onDecide}
            aria-label=${say('decide.title', {id: d.id})}>${
            say('dispute.decide')}</button></p>`
        : html`<p><strong>${say(`dispute.${d.state}`)}</strong> ${d.amount
            && money(d.amount)} ${d.decision} <small>${moment(d.decided_at)} ${
            d.decided_by && html`<${Who} id=${d.decided_by} />`}</small></p>`}
    </article>`;
}

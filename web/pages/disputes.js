/*
 * Copyright (C) The Astro authors
 *
 * Disputes, with what was known at the instant that they were opened, and
 * their decision: once, with the money in the same moment.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, post} from '../api.js';
import {clock, minor, moment, money, time} from '../format.js';
import {Act, Dialog, Field, List, tell, useList, useTitle} from '../ui.js';
import {sayReason} from '../parts/over.js';

export default function Disputes() {
    const [state, setState] = useState('open');
    const [open, setOpen] = useState(null);
    const list = useList(`/admin/disputes?limit=20${
        state ? `&state=${state}` : ''}`);

    useTitle(say('nav.disputes'));

    return html`<h1>${say('nav.disputes')}</h1>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('sessions.which')}>
                <select value=${state}
                        onInput=${e => setState(e.target.value)}>
                    ${['open', 'refunded', 'refused', ''].map(s => html`
                        <option value=${s}>${say(s ? `dispute.${s}`
                        : 'sessions.all')}</option>`)}
                </select>
            </${Field}>
        </form>
        <${List} of=${list}>
        <ul class="plain">${list.rows.map(d => html`<li key=${d.id}><article>
            <h2>${d.client.name}, ${d.advisor.name} <small>${d.session}</small>
            </h2>
            <p>${moment(d.at)}, ${d.by == d.client.id ? d.client.name
                : d.advisor.name}: <strong>${say(`dispute.why.${d.reason}`)}
                </strong> ${d.text}</p>
            <${Evidence} of=${d.evidence} />
            <p>${say(`dispute.${d.state}`)} ${d.amount && money(d.amount)} ${
                d.decision}</p>
            <p class="row"><${Said} dispute=${d} />
            ${d.state == 'open' && html`<button class="small"
                onClick=${() => setOpen(d)}>${say('dispute.decide')}</button>`}
            </p>
        </article></li>`)}</ul>
        </${List}>
        ${open && html`<${Decide} dispute=${open} onClose=${() =>
            setOpen(null)} onDone=${list.again} />`}`;
}

function Evidence({of}) {
    const s = of.session;

    return html`<p><small>${say(`service.${s.service}`)}, ${
        clock(s.billed_ms)}, ${money(s.charged, s.rate.currency)}. ${
        sayReason(s.reason, s.advisor)}</small></p>
        <details><summary>${say('dispute.evidence')}</summary>
        <pre tabindex="0">${JSON.stringify(of, null, 2)}</pre></details>`;
}

/* opening it is written down: whoever looks knows that */
function Said({dispute}) {
    const [said, set] = useState(null);

    if (!said)
        return html`<${Act} class="secondary small" does=${async () => set(
            (await get(`/admin/disputes/${dispute.id}/transcript?limit=200`))
            .data)}>${say('history.transcript')}</${Act}>`;

    return html`<ul class="plain">${said.filter(m => m.type == 'chat_message')
        .map(m => html`<li><small>${time(m.ts)} ${m.from == dispute.client.id
            ? dispute.client.name : dispute.advisor.name}:</small> ${
            m.payload.text ?? say('chat.deleted')}</li>`)}</ul>`;
}

function Decide({dispute: d, onClose, onDone}) {
    const s = d.evidence.session;
    const [text, setText] = useState('');
    const [part, setPart] = useState('');

    const decide = decision => async () => {
        await post(`/admin/disputes/${d.id}/decision`, {
            decision, text, ...decision == 'refund' && part
            && {amount: minor(part, s.rate.currency)}});
        tell(say('dispute.done'));
        onClose();
        onDone();
    };

    return html`<${Dialog} title=${say('dispute.decide')} onClose=${onClose}>
        <${Field} label=${say('dispute.text')} value=${text} maxlength="1000"
            onInput=${e => setText(e.target.value)} />
        <${Field} label=${say('money.part')} inputmode="decimal" value=${part}
            help=${say('dispute.all', {
                money: money(s.charged, s.rate.currency)})}
            onInput=${e => setPart(e.target.value)} />
        <footer class="row">
            <${Act} class="secondary" disabled=${!text.trim()}
                does=${decide('refuse')}>${say('dispute.refuse')}</${Act}>
            <${Act} disabled=${!text.trim()} does=${decide('refund')}>${
                say('money.refund')}</${Act}>
        </footer>
    </${Dialog}>`;
}

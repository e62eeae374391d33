/*
 * Copyright (C) The Astro authors
 *
 * Something was wrong with a consultation: said once, answered by an operator.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {get, post} from '../api.js';
import {moment, money} from '../format.js';
import {Act, Field} from '../ui.js';

const REASONS = ['quality', 'behaviour', 'billing', 'other'];

export function Dispute({session}) {
    const {notices} = use();
    const [had, setHad] = useState(undefined);
    const [open, setOpen] = useState(false);
    const path = `/sessions/${session}/dispute`;
    const news = notices.find(n => n.kind.startsWith('dispute_')
                              && n.about.session == session)?.id;

    useEffect(() => {
        let here = true;

        get(path).then(d => here && setHad(d),
                       () => here && setHad(old => old ?? null));
        return () => { here = false; };
    }, [path, news]);

    if (had === undefined) return null;
    if (had) return html`<section class="dispute">
        <h2>${say('dispute.yours')}</h2>
        <p role="status">${say(`dispute.mine.${had.state}`)}
            ${had.amount?.amount > 0 && html` ${say('dispute.back', {
                money: money(had.amount)})}`}</p>
        <p><small>${moment(had.at)}, ${say(`dispute.why.${had.reason}`)}:
            ${had.text}</small></p>
        ${had.decision && html`<blockquote>${had.decision}</blockquote>`}
    </section>`;
    if (!open) return html`<p><button class="plain link"
        onClick=${() => setOpen(true)}>${say('dispute.ask')}</button></p>`;

    return html`<${Form} path=${path} onDone=${setHad} />`;
}

function Form({path, onDone}) {
    const [reason, setReason] = useState('quality');
    const [text, setText] = useState('');

    return html`<form class="dispute" onSubmit=${e => e.preventDefault()}>
        <${Field} label=${say('dispute.what')}>
            <select value=${reason}
                onInput=${e => setReason(e.currentTarget.value)}>
                ${REASONS.map(r => html`<option value=${r}>${
                    say(`dispute.why.${r}`)}</option>`)}
            </select></${Field}>
        <label>${say('review.text')}<textarea rows="3" maxlength="2000"
            value=${text} onInput=${e => setText(e.currentTarget.value)}
            ></textarea></label>
        <${Act} disabled=${!text.trim()} does=${async () => onDone(
            await post(path, {reason, text: text.trim()}))}>${
            say('dispute.send')}</${Act}>
    </form>`;
}

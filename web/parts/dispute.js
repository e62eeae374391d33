/*
 * Copyright (C) The Astro authors
 *
 * Something was wrong with a consultation: said once, answered by an operator.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, post} from '../api.js';
import {money} from '../format.js';
import {Act, Field} from '../ui.js';

const REASONS = ['quality', 'behaviour', 'billing', 'other'];

export function Dispute({session}) {
    const [had, setHad] = useState(undefined);
    const [open, setOpen] = useState(false);
    const [reason, setReason] = useState('quality');
    const [text, setText] = useState('');
    const path = `/sessions/${session}/dispute`;

    useEffect(() => { get(path).then(setHad, () => setHad(null)); }, [path]);

    if (had === undefined) return null;
    if (had) return html`<p role="status">${say('dispute.yours')} ${
        say(`dispute.${had.state}`)} ${had.amount && money(had.amount)} ${
        had.decision}</p>`;
    if (!open) return html`<p><button class="plain link"
        onClick=${() => setOpen(true)}>${say('dispute.ask')}</button></p>`;

    return html`<form onSubmit=${e => e.preventDefault()}>
        <${Field} label=${say('dispute.what')}>
            <select value=${reason} onInput=${e => setReason(e.target.value)}>
                ${REASONS.map(r => html`<option value=${r}>${
                    say(`dispute.why.${r}`)}</option>`)}
            </select></${Field}>
        <label>${say('review.text')}<textarea rows="3" maxlength="2000"
            value=${text} onInput=${e => setText(e.target.value)}></textarea>
        </label>
        <${Act} disabled=${!text.trim()} does=${async () => setHad(
            await post(path, {reason, text}))}>${say('dispute.send')}</${Act}>
    </form>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * Something for an advisor, beside what a consultation costs.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {post} from '../api.js';
import {minor, money} from '../format.js';
import {Act, Dialog, Field, tell} from '../ui.js';
import {useOnce} from './once.js';
import {lookIntoPurse} from './purse.js';

/* path: of the session, or of the advisor */
export function Gift({path, name, small}) {
    const [open, set] = useState(false);

    return html`<button class="secondary ${small ? 'small' : ''}"
            onClick=${() => set(true)}>${say('gift.give')}</button>
        ${open && html`<${Give} path=${path} name=${name}
            onClose=${() => set(false)} />`}`;
}

function Give({path, name, onClose}) {
    const {user, wallet} = use();
    const [text, set] = useState('50');
    const [note, setNote] = useState('');
    const once = useOnce([text, note]);
    const currency = user.currency ?? 'INR';
    const amount = minor(text, currency);
    const short = wallet && amount > wallet.available;

    return html`<${Dialog} title=${say('gift.title', {name})}
            onClose=${onClose}>
        <${Field} label=${say('topup.amount', {currency})} inputmode="decimal"
            value=${text} error=${!(amount > 0) ? say('desk.wrong')
                : short && say('gift.short', {
                    money: money(wallet.available, currency)})}
            onInput=${e => set(e.currentTarget.value)} />
        <${Field} label=${say('gift.note')} value=${note} maxlength="200"
            onInput=${e => setNote(e.currentTarget.value)} />
        <footer class="row">
            <button class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} disabled=${!(amount > 0) || short} does=${async () => {
                await once(cid => post(`${path}/gifts`, {
                    amount, cid,
                    ...note.trim() && {note: note.trim()}}, cid));
                tell(say('gift.given', {money: money(amount, currency), name}));
                lookIntoPurse().catch(() => {});
                onClose();
            }}>${say('gift.do', {money: money(amount || 0, currency)})}
            </${Act}>
        </footer>
    </${Dialog}>`;
}

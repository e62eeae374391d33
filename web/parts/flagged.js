/*
 * Copyright (C) The Astro authors
 *
 * Payments that look odd, until somebody has looked at them.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {post} from '../api.js';
import {moment, money, number} from '../format.js';
import {List, tell, useList} from '../ui.js';
import {Why} from './ask.js';
import {Who} from './who.js';

export function Flagged() {
    const list = useList('/admin/payments/flagged?limit=20');
    const [clear, set] = useState(null);
    const {currency} = use().user;
    const n = (p, x) => p.rule == 'amount' ? money(x, currency) : number(x);

    return html`<section><h2>${say('flagged.title')}</h2>
        <${List} of=${list} empty=${say('flagged.none')}>
        <ul class="plain">${list.rows.map(p => html`<li key=${p.id}
            class="row"><span>${p.id}, <${Who} id=${p.client} />, ${
                moment(p.at)}, ${money(p.amount)}: <strong>${
                say(`flagged.${p.rule}`, {found: n(p, p.found),
                                          allowed: n(p, p.allowed)})}</strong>
            </span><button class="secondary small" onClick=${() => set(p)}>${
                say('flagged.clear', {id: p.id})}</button></li>`)}</ul>
        </${List}>
        ${clear && html`<${Why} title=${say('flagged.clear', {id: clear.id})}
            text=${say('flagged.what')} onClose=${() => set(null)}
            does=${async note => {
                await post(`/admin/payments/${clear.id}/clear`, {note});
                tell(say('flagged.done', {id: clear.id}));
                list.again();
            }} />`}</section>`;
}

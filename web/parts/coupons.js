/*
 * Copyright (C) The Astro authors
 *
 * Codes that are worth something to who types them, and to make one.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {post} from '../api.js';
import {minor, moment, money, number} from '../format.js';
import {Field, List, tell, useList} from '../ui.js';
import {Why} from './ask.js';

export function Coupons() {
    const list = useList('/admin/coupons?limit=20');
    const [fresh, set] = useState(false);

    return html`<section><h2>${say('coupons.title')}</h2>
        <p><button class="secondary small" onClick=${() => set(true)}>${
            say('coupons.new')}</button></p>
        <${List} of=${list} empty=${say('coupons.none')}>
        <div class="wide"><table><thead><tr>${['code', 'worth', 'used',
            'until'].map(k => html`<th scope="col">${say(`coupons.${k}`)}
            </th>`)}</tr></thead>
        <tbody>${list.rows.map(c => html`<tr key=${c.id}>
            <th scope="row"><code>${c.code}</code></th>
            <td>${c.amount ? money(c.amount) : say('coupons.minutes', {
                n: number(c.free_minutes)})}</td>
            <td>${number(c.used)}${c.max_total ? ` / ${number(c.max_total)}`
                                               : ''}</td>
            <td>${c.expires_at ? moment(c.expires_at) : say('coupons.ever')}
            </td></tr>`)}</tbody></table></div></${List}>
        ${fresh && html`<${Fresh} onClose=${() => set(false)}
                                  onDone=${list.again} />`}</section>`;
}

function Fresh({onClose, onDone}) {
    const {currency} = use().user;
    const [f, set] = useState({worth: '', most: '', until: ''});
    const on = key => e => set({...f, [key]: e.target.value});
    const amount = minor(f.worth, currency);
    const most = +f.most;
    const ready = amount > 0 && Number.isInteger(most) && most > 0;

    return html`<${Why} title=${say('coupons.new')} free=${true}
        ready=${ready} onClose=${onClose}
        text=${ready ? say('coupons.what', {
            money: money(amount, currency), n: number(most),
            most: money(amount * most, currency)}) : null}
        does=${async () => {
            const c = await post('/admin/coupons', {
                amount, max_total: most, ...f.until && {
                    expires_at: new Date(f.until).toISOString()}});

            tell(say('coupons.made', {code: c.code}));
            onDone();
        }}>
        <${Field} label=${say('coupons.amount', {currency})}
            inputmode="decimal" value=${f.worth} onInput=${on('worth')}
            error=${f.worth && !(amount > 0) ? say('desk.wrong') : null} />
        <${Field} label=${say('coupons.most')} inputmode="numeric"
            value=${f.most} onInput=${on('most')} />
        <${Field} label=${say('coupons.expires')} type="datetime-local"
            value=${f.until} help=${say('coupons.empty')}
            onInput=${on('until')} />
    </${Why}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * What the platform keeps, of one advisor or of all (advisor null): what holds,
 * what is to come, and another part from an instant on.  Sessions that have
 * begun keep theirs.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, put} from '../api.js';
import {moment} from '../format.js';
import {Field, Wait, tell, useData} from '../ui.js';
import {Why} from './ask.js';

const percent = bps => `${(bps / 100).toLocaleString()} %`;


export function Commission({advisor, name, base}) {
    const of = useData(() => get(`/admin/config${
        advisor ? `?advisor=${advisor}` : ''}`), [advisor]);
    const [change, ask] = useState(false);

    return html`<section><h2>${say('fee.title')}</h2>
        <${Wait} of=${of}>
        ${base && html`<p>${say('fee.base', {
            percent: percent(base.commission_bps)})}</p>`}
        ${!base && of.data?.commission.length == 0 && html`<p>${
            say('fee.own')}</p>`}
        <ul>${of.data?.commission.map(t => html`<li>${t.service
            ? say(`service.${t.service}`) : say('fee.every')}: ${
            t.bps === null ? say('fee.none') : percent(t.bps)}${
            t.from && `, ${say('fee.from', {when: moment(t.from)})}`}</li>`)}
        </ul>
        <p><button class="secondary small" onClick=${() => ask(true)}>${
            say('fee.change')}</button></p>
        </${Wait}>
        ${change && html`<${Change} advisor=${advisor} name=${name}
            onClose=${() => ask(false)} onDone=${of.again} />`}</section>`;
}

function Change({advisor, name, onClose, onDone}) {
    const [f, set] = useState({percent: '', service: '', from: ''});
    const on = key => e => set({...f, [key]: e.target.value});
    const bps = /^\d{1,3}([.,]\d{1,2})?$/.test(f.percent.trim())
        ? Math.round(+f.percent.replace(',', '.') * 100) : NaN;
    const good = bps >= 0 && bps <= 10000;

    return html`<${Why} title=${say('fee.change')} ready=${good}
        text=${good ? say('fee.what', {
            percent: percent(bps), name: name ?? say('fee.all'),
            service: f.service ? say(`service.${f.service}`)
                               : say('fee.every'),
            when: f.from ? moment(f.from) : say('fee.now')}) : null}
        onClose=${onClose} does=${async reason => {
            await put('/admin/config', {reason, commission: {
                bps, advisor, service: f.service || null,
                from: f.from ? new Date(f.from).toISOString() : null}});
            tell(say('fee.done'));
            onDone();
        }}>
        <${Field} label=${say('fee.percent')} inputmode="decimal"
            value=${f.percent} onInput=${on('percent')}
            error=${f.percent && !good ? say('fee.wrong') : null} />
        <${Field} label=${say('fee.service')}><select value=${f.service}
            onInput=${on('service')}><option value="">${say('fee.every')}
            </option>${['chat', 'audio', 'video'].map(s => html`
            <option value=${s}>${say(`service.${s}`)}</option>`)}</select>
        </${Field}>
        <${Field} label=${say('fee.when')} type="datetime-local"
            value=${f.from} help=${say('fee.empty')} onInput=${on('from')} />
    </${Why}>`;
}

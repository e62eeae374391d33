/*
 * Copyright (C) The Astro authors
 *
 * What operators can set while it runs, for all: the platform's part, options
 * of tariffs, bookings, messages and disputes.  What has begun goes on as it
 * was.  And to have all clients connect anew.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {use} from '../live.js';
import {get, post, put} from '../api.js';
import {Field, Wait, tell, useData, useTitle} from '../ui.js';
import {Why} from '../parts/ask.js';
import {Commission} from '../parts/commission.js';
import {kind} from '../parts/option.js';

const GROUPS = [['booking'], ['chat'], ['dispute'], ['tariff', 'chat'],
                ['tariff', 'audio'], ['tariff', 'video']];


export default function Settings() {
    const of = useData(() => get('/admin/config'));
    const [all, ask] = useState(false);

    useTitle(say('nav.settings'));

    return html`<h1>${say('nav.settings')}</h1>
        <p>${say('settings.lead')}</p>
        <${Commission} advisor=${null} />
        <${Wait} of=${of}>${of.data && GROUPS.map(at => html`<${Group}
            key=${at.join('.')} at=${at} onDone=${of.again}
            of=${at.reduce((x, k) => x[k], of.data)} />`)}</${Wait}>
        <section><h2>${say('settings.sockets')}</h2>
            <p><button class="end" onClick=${() => ask(true)}>${
                say('settings.all')}</button></p></section>
        ${all && html`<${Why} title=${say('settings.all')}
            text=${say('settings.all.what')} onClose=${() => ask(false)}
            does=${async reason => {
                await post('/admin/disconnect', {reason});
                tell(say('settings.all.done'));
            }} />`}`;
}


function Group({at, of, onDone}) {
    const {currency} = use().user;
    const [f, set] = useState({});
    const [asks, ask] = useState(false);
    const title = at.length > 1
        ? `${say('settings.tariff')}: ${say(`service.${at[1]}`)}`
        : say(`settings.${at[0]}`);

    const keys = Object.keys(of);
    const value = k => typeof of[k] == 'boolean' ? f[k]
                       : kind(k).value(f[k], currency);
    const changed = keys.filter(k => f[k] !== undefined && value(k) !== of[k]);
    const good = changed.every(k => !Number.isNaN(value(k)));
    const label = k => say(`option.${k}`, {
        unit: kind(k)?.unit(currency) ?? ''});

    return html`<form onSubmit=${e => {
            e.preventDefault();
            if (good && changed.length) ask(true);
        }}><fieldset class="filters"><legend><h2>${title}</h2></legend>
        ${keys.map(k => typeof of[k] == 'boolean'
        ? html`<label class="check"><input type="checkbox" role="switch"
            checked=${f[k] ?? of[k]} onChange=${e => set({
                ...f, [k]: e.target.checked})} /> ${label(k)}</label>`
        : html`<${Field} label=${label(k)} inputmode="decimal"
            value=${f[k] ?? kind(k).text(of[k], currency)}
            error=${Number.isNaN(f[k] === undefined ? 0 : value(k))
                    ? say('option.wrong') : null}
            onInput=${e => set({...f, [k]: e.target.value})} />`)}
        </fieldset>
        <button class="secondary small" disabled=${!good || !changed.length}>${
            say('app.save')}</button></form>
        ${asks && html`<${Why} title=${title} yes=${say('app.save')}
            onClose=${() => ask(false)} text=${say('settings.what', {
                changes: changed.map(k => `${label(k)}: ${words(of[k], k,
                    currency)} -> ${words(value(k), k, currency)}`).join('; ')
            })} does=${async reason => {
                const doc = Object.fromEntries(changed.map(
                    k => [k, value(k)]));

                await put('/admin/config', {reason, ...at.reduceRight(
                    (x, k) => ({[k]: x}), doc)});
                set({});
                tell(say('app.saved'));
                onDone();
            }} />`}`;
}

const words = (value, key, currency) => typeof value == 'boolean'
    ? say(value ? 'option.yes' : 'option.no') : kind(key).text(value, currency);

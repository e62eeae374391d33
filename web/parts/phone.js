/*
 * Copyright (C) The Astro authors
 *
 * A phone of one's own, proven by a code that was sent to it: it signs one in.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {del, get, post} from '../api.js';
import {Act, Field, Wait, useData} from '../ui.js';

export function Phone() {
    const of = useData(() => get('/me/phone').catch(e => {
        if (e.status == 404) return {phone: null};
        throw e;
    }));
    const [phone, setPhone] = useState('+');
    const [code, setCode] = useState('');
    const [sent, setSent] = useState(null);
    const [wrong, setWrong] = useState(null);

    const trying = does => async () => {
        setWrong(null);
        try {
            await does();
        } catch (e) {
            if (e.retry || e.status >= 500) throw e;
            setWrong(e.fields?.[0]?.detail ?? e.message);
        }
    };

    return html`<section class="narrow"><h2>${say('phone.title')}</h2>
        <${Wait} of=${of}>${of.data?.phone ? html`<p>${of.data.phone}</p>
            <${Act} class="secondary" does=${async () => {
                await del('/me/phone');
                of.again();
            }}>${say('phone.forget')}</${Act}>`
        : of.data && html`<form onSubmit=${e => e.preventDefault()}>
            ${!sent ? html`<${Field} label=${say('phone.number')} type="tel"
                value=${phone} error=${wrong} autocomplete="tel"
                onInput=${e => setPhone(e.currentTarget.value)} />
            <${Act} class="secondary" disabled=${phone.length < 8}
                does=${trying(async () => setSent(await post('/me/phone', {
                    phone: phone.replace(/[\s()-]/g, '')})))}>${
                say('phone.send')}</${Act}>`
            : html`<${Field} label=${say('phone.code')} inputmode="numeric"
                autocomplete="one-time-code" maxlength="6" value=${code}
                error=${wrong} onInput=${e => setCode(e.currentTarget.value)}
                /><${Act} disabled=${code.length != 6}
                does=${trying(async () => {
                    await post('/me/phone/verify', {
                        challenge: sent.challenge, code});
                    setSent(null);
                    of.again();
                })}>${say('phone.verify')}</${Act}>
            <button type="button" class="plain link" onClick=${() => {
                setSent(null);
                setWrong(null);
            }}>${say('phone.other')}</button>`}
        </form>`}</${Wait}></section>`;
}

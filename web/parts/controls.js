/*
 * Copyright (C) The Astro authors
 *
 * What one can do with a consultation while it lives: another service, a later
 * end, a pause, the end.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {line} from '../live.js';
import {get, post} from '../api.js';
import {duration, money} from '../format.js';
import {Act, Dialog, Wait, useData} from '../ui.js';
import {Gift} from './gift.js';
import {useOnce} from './once.js';

const SERVICES = ['chat', 'audio', 'video'];
const MORE_MINUTES = 10;

export function Controls({session: s, name, client, onShort}) {
    const [wants, want] = useState(null);
    const of = useData(() => get(`/advisors/${s.advisor}`), [s.advisor]);
    const rates = of.data?.rates ?? {};
    const about = {session: s.session};
    const joined = ['active', 'reconnecting'].includes(s.state);

    return html`<div class="row">
        ${joined && SERVICES.filter(x => rates[x] && x != s.service
                 && (client || rates[x].amount <= s.rate.amount)).map(x => html`
            <button class="secondary small" onClick=${() => want(x)}>${
            say('session.switch', {service: say(`service.${x}`)})}</button>`)}
        ${client && s.max_ms > 0 && html`<${Longer} session=${s}
            onShort=${onShort} />`}
        ${client && s.state != 'accepted' && html`<${Gift} small=${true}
            path="/sessions/${s.session}" name=${name} />`}
        ${s.state == 'active' && html`<${Act} class="secondary small"
            does=${() => line.ask('session_pause', about)}>${
            say('session.pause')}</${Act}>`}
        ${s.state == 'paused' && s.reason == (client ? 'client_paused'
                                                     : 'advisor_paused')
          && html`<${Act} class="small"
            does=${() => line.ask('session_resume', about)}>${
            say('session.resume')}</${Act}>`}
        <${Act} class="end small" does=${() => line.ask('session_end', about)}
            >${say('session.end')}</${Act}>
        ${wants && html`<${Switch} session=${s} service=${wants}
            onShort=${onShort} onClose=${() => want(null)} />`}
    </div>`;
}

/* the price of now, which is what is agreed to; changed meanwhile: once more */
function Switch({session: s, service, onShort, onClose}) {
    const of = useData(() => get(`/advisors/${s.advisor}`), [s.advisor]);
    const rate = of.data?.rates[service];
    const word = say(`service.${service}`);

    async function go() {
        try {
            await line.ask('session_mode', {session: s.session, service,
                                            confirm_rate: rate.amount});
            onClose();
        } catch (e) {
            if (e.code == 'insufficient_balance') {
                onClose();
                return onShort(say('session.switch.short', {
                    service: word, money: money(rate)}));
            }
            of.again();
            throw e;
        }
    }

    return html`<${Dialog} title=${say('session.switch', {service: word})}
            onClose=${onClose}>
        <${Wait} of=${of}>${of.data && !rate && html`<p>${
            say('session.switch.none')}</p>`}
        ${rate && html`<p>${say('session.switch.ask', {
            service: word, money: money(rate)})}</p>
        <footer class="row"><button class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} does=${go}>${say('session.switch.yes', {
                money: money(rate)})}</${Act}></footer>`}</${Wait}>
    </${Dialog}>`;
}

/* the end that was chosen becomes a later one */
function Longer({session: s, onShort}) {
    const minutes = Math.round(s.max_ms / 60000) + MORE_MINUTES;
    const once = useOnce([minutes]);

    return html`<${Act} class="secondary small" title=${say('session.most', {
            time: duration(s.max_ms)})} does=${async () => {
        try {
            await once(key => post(`/sessions/${s.session}/extend`,
                                   {max_minutes: minutes}, key));
        } catch (e) {
            if (e.code != 'insufficient_balance') throw e;
            onShort();
        }
    }}>${say('session.longer', {n: MORE_MINUTES})}</${Act}>`;
}

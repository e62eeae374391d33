/*
 * Copyright (C) The Astro authors
 *
 * The ways to a consultation with one advisor: now, in line, or told later.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {change, line, now, use} from '../live.js';
import {del, put} from '../api.js';
import {money} from '../format.js';
import {Act, tell} from '../ui.js';
import {go} from '../app.js';

const SERVICES = ['chat', 'audio', 'video'];


export async function start(advisor, service) {
    const s = await line.ask('session_start', {
        advisor, service, cid: crypto.randomUUID()});

    change({sessions: new Map(now.sessions).set(
        s.session, {...s, at: Date.now()})});
    go(`session/${s.session}`);
}

/* offline, busy, online: what the line says now, else the list's word */
export function state(advisor) {
    const online = now.online.get(advisor.id) ?? advisor.online;

    return !online ? 'offline' : advisor.busy ? 'busy' : 'online';
}

export function Start({advisor}) {
    const {queue} = use();
    const place = queue.get(advisor.id);
    const is = state(advisor);
    const offered = place?.state == 'offered';

    if (place && (place.state == 'waiting' || offered))
        return html`<${Place} advisor=${advisor} place=${place} />`;

    if (is == 'offline') return null;

    if (is == 'busy')
        return html`<${Act} class="secondary" does=${async () => {
            await line.ask('queue_join', {advisor: advisor.id})
                .then(p => change({queue: new Map(now.queue)
                                          .set(advisor.id, p)}));
        }}>${say('find.queue')}</${Act}>`;

    return SERVICES.filter(s => advisor.rates[s]).map(s => html`<${Act}
        does=${() => start(advisor.id, s)}>${say(`service.${s}`)} <small>${
        say('find.minute', {money: money(advisor.rates[s])})}</small>
        </${Act}>`);
}

function Place({advisor, place}) {
    const {name} = advisor;
    const offered = place.state == 'offered';

    return html`<p role="status">${offered
            ? say('queue.offered', {name})
            : say('queue.waiting', {position: place.position, name})}
        ${!offered && place.eta_s > 0 && html` ${say('queue.eta', {
            minutes: Math.ceil(place.eta_s / 60)})}`}</p>
        ${offered && html`<${Act} does=${() =>
            start(advisor.id, place.service ?? 'chat')}>${
            say('queue.start')}</${Act}>`}
        <${Act} class="secondary" does=${async () => {
            await line.ask('queue_leave', {advisor: advisor.id});
            const rest = new Map(now.queue);
            rest.delete(advisor.id);
            change({queue: rest});
        }}>${say('queue.leave')}</${Act}>`;
}


/* told once they are online, and found again */
export function Favorite({advisor, on, onChange}) {
    const {name, id} = advisor;
    const label = say(on ? 'find.unfavorite' : 'find.favorite', {name});

    return html`<${Act} class="plain star" aria-pressed=${on ? 'true' : 'false'}
        aria-label=${label} title=${label} does=${async () => {
            await (on ? del : put)(`/favorites/${id}`);
            onChange(!on);
            if (!on) tell(say('find.told', {name}));
        }}>${on ? '★' : '☆'}</${Act}>`;
}

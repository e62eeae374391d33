/*
 * Copyright (C) The Astro authors
 *
 * The ways to a consultation with one advisor: now, in line, or told later.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {change, line, now, use} from '../live.js';
import {del, put} from '../api.js';
import {duration, money} from '../format.js';
import {Act, tell} from '../ui.js';
import {go} from '../app.js';
import {isBusy, sayBusy} from './status.js';
import {TopUp} from './topup.js';

const SERVICES = ['chat', 'audio', 'video'];

/*
 * What was asked for and not answered is asked for again under the same cid,
 * so that a second press never rings twice.
 */
const cids = new Map();

export async function start(advisor, service, most) {
    const what = `${advisor} ${service} ${most}`;

    if (!cids.has(what)) cids.set(what, crypto.randomUUID());

    let s;

    try {
        s = await line.ask('session_start', {
            advisor, service, cid: cids.get(what),
            ...most && {max_minutes: most}});
    } catch (e) {
        if (e.code != 'offline') cids.delete(what);
        if (e.code == 'busy') sayBusy(advisor, true);
        if (e.code == 'conflict' || e.code == 'forbidden')
            throw new Error(say('start.refused', {why: e.message}));
        throw e;
    }

    cids.delete(what);

    /* nobody heard that it rang, and it is over: another one, then */
    if (s.state == 'ended') return start(advisor, service, most);

    change({sessions: new Map(now.sessions).set(
        s.session, {...s, at: Date.now()})});
    go(`session/${s.session}`);
}

/* offline, busy, online: what the line says now, else the list's word */
export function state(advisor) {
    const online = now.online.get(advisor.id) ?? advisor.online;

    return !online ? 'offline' : isBusy(advisor) ? 'busy' : 'online';
}

/* how long the wallet lasts at this rate */
const lasts = rate => now.wallet && rate.amount > 0
    ? now.wallet.available / rate.amount * 60000 : null;

/* most: at most so many minutes; full: also what it comes to */
export function Start({advisor, most, full}) {
    const {queue, user} = use();
    const [short, setShort] = useState(null);
    const place = queue.get(advisor.id);
    const is = state(advisor);
    const offered = place?.state == 'offered';

    if (user?.role != 'client') return null;

    if (place && (place.state == 'waiting' || offered))
        return html`<${Place} advisor=${advisor} place=${place} />`;

    if (is == 'offline')
        return full ? html`<p><small>${say('start.offline', {
            name: advisor.name})}</small></p>` : null;

    if (is == 'busy')
        return html`<${Act} class="secondary" does=${async () => {
            const p = await line.ask('queue_join', {advisor: advisor.id});

            change({queue: new Map(now.queue).set(advisor.id, p)});
        }}>${say('find.queue')}</${Act}>`;

    const ring = async service => {
        try {
            await start(advisor.id, service, most);
        } catch (e) {
            if (e.code != 'insufficient_balance') throw e;
            setShort(service);
        }
    };

    return html`${SERVICES.filter(s => advisor.rates[s]).map(s => html`<${Act}
            does=${() => ring(s)}>${say(`service.${s}`)} <small>${
            say('find.minute', {money: money(advisor.rates[s])})}</small>${' '}
            ${full && lasts(advisor.rates[s]) !== null && html`<small>${
                say('start.lasts', {time: duration(lasts(advisor.rates[s]))})
            }</small>`}</${Act}>`)}
        ${short && html`<${Short} advisor=${advisor} service=${short}
            ring=${ring} onClose=${() => setShort(null)} />`}`;
}

/* not enough money: more of it, and on from there */
function Short({advisor, service, ring, onClose}) {
    const [paid, set] = useState(false);

    return html`<${TopUp} onClose=${onClose} onDone=${() => set(true)}
        lead=${say('start.short', {name: advisor.name,
                                   money: money(advisor.rates[service])})}>
        ${paid && html`<${Act} does=${async () => {
            onClose();
            await ring(service);
        }}>${say('start.now', {service: say(`service.${service}`),
                               name: advisor.name})}</${Act}>`}
    </${TopUp}>`;
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
            start(advisor.id, place.service ?? first(advisor))}>${
            say('queue.start')}</${Act}>`}
        <${Act} class="secondary" does=${async () => {
            await line.ask('queue_leave', {advisor: advisor.id});
            const rest = new Map(now.queue);
            rest.delete(advisor.id);
            change({queue: rest});
        }}>${say('queue.leave')}</${Act}>`;
}

const first = advisor => SERVICES.find(s => advisor.rates[s]);


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

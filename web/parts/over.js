/*
 * Copyright (C) The Astro authors
 *
 * What a consultation came to, and how it was.
 */

import {html} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {clock, money} from '../format.js';
import {Gift} from './gift.js';
import {Review} from './review.js';

/* that nobody came: there are other ways */
const AGAIN = ['missed', 'rejected', 'cancelled'];

export function sayReason(reason, name) {
    const key = `reason.${reason}`;

    return known(key) ? say(key, {name}) : reason ?? '';
}

export function Over({session: s, name, client}) {
    const ms = s.totals?.billed_ms ?? s.billed_ms;
    const charged = s.totals?.charged ?? s.charged;

    return html`<div class="narrow">
        <h1>${say('session.ended')}</h1>
        <p role="status">${sayReason(s.reason, name)} ${charged > 0
            ? say('session.total', {time: clock(ms),
                                    money: money(charged, s.rate.currency)})
            : say('session.free')}</p>
        ${client && AGAIN.includes(s.reason) && html`<p>
            ${say('session.elsewhen', {name})}</p>`}
        ${client && ms > 0 && html`<${Review} session=${s.session} />`}
        <p class="row">
            ${client && html`<a href="#/advisor/${s.advisor}" role="button"
                class="secondary">${say('session.toadvisor', {name})}</a>`}
            ${client && ms > 0 && html`<${Gift} name=${name}
                path="/advisors/${s.advisor}" />`}</p>
        <p><a href="#/history/${s.session}">${say('session.detail')}</a></p>
        <p><a href="#/">${say('session.back')}</a></p>
    </div>`;
}

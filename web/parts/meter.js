/*
 * Copyright (C) The Astro authors
 *
 * Time and money of a session, as the server says them.  Between two ticks the
 * time goes on by itself, while it is billed; a tick puts it right.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {clock, money} from '../format.js';
import {useClock} from '../ui.js';

const AHEAD_MS = 20000;         /* no further without a tick */

export function Meter({session: s, onTopUp}) {
    const {ticks, low, wallet, user} = use();
    const active = s.state == 'active';
    const at = useClock(1000, active);
    const tick = ticks.get(s.session);
    const since = Math.max(tick?.at ?? 0, s.from ?? at);
    const ahead = active ? Math.min(Math.max(0, at - since), AHEAD_MS) : 0;
    const client = user.id == s.client;
    const currency = s.rate.currency;
    const left = tick?.left_s === undefined ? null
                 : tick.left_s * 1000 - ahead;

    return html`
        <dl class="meter" aria-live="off">
            <div><dt>${say('session.time')}</dt><dd>${
                clock((tick?.billed_ms ?? s.billed_ms) + ahead)}</dd></div>
            <div><dt>${say(client ? 'session.cost' : 'session.earned')}</dt>
                <dd>${money(client ? tick?.charged ?? s.charged
                                   : tick?.earned ?? 0, currency)}</dd></div>
            ${client && html`<div><dt>${say('session.balance')}</dt><dd>${
                money(wallet?.available, currency)}</dd></div>`}
            ${client && left !== null && html`<div><dt>${
                say('session.left')}</dt><dd>${clock(left)}</dd></div>`}
        </dl>
        ${client && low?.session == s.session && html`
            <p class="banner" role="alert">${say('session.low', {
                left: clock(low.left_s * 1000)})}
                <button class="small" onClick=${onTopUp}>${
                say('session.topup')}</button></p>`}`;
}

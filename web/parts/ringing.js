/*
 * Copyright (C) The Astro authors
 *
 * Somebody is rung.  How long, the server's clock says; when it is over, the
 * server says.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {line, use} from '../live.js';
import {clock, initial, money} from '../format.js';
import {Act, useClock} from '../ui.js';

export function Ringing({session: s, name, client}) {
    const {skew} = use();
    const at = useClock(1000) + skew;
    const ask = type => line.ask(type, {session: s.session});

    return html`<div class="narrow center">
        <p class="face large ring" aria-hidden="true">${initial(name)}</p>
        <h1>${say('session.title', {service: say(`service.${s.service}`),
                                    name})}</h1>
        <p role="status">${say('session.ringing', {name})}</p>
        <p aria-hidden="true" class="clock">${clock(at - s.since)}</p>
        <p><small>${say('session.ringing.free', {
            money: money(s.rate)})}</small></p>
        ${client && html`<${Act} class="secondary"
            does=${() => ask('session_cancel')}>${
            say('session.cancel')}</${Act}>`}
    </div>`;
}

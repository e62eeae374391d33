/*
 * Copyright (C) The Astro authors
 *
 * What was said in a consultation, page by page.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {day, time} from '../format.js';
import {List, useList} from '../ui.js';

export function Transcript({session: s, me, name}) {
    const list = useList(`/sessions/${s.session}/transcript?limit=50`);
    const said = list.rows.filter(m => m.type == 'chat_message');

    return html`<section><h2>${say('history.transcript')}</h2>
        <${List} of=${{...list, rows: said}} empty=${say('history.silent')}>
        <ul class="plain transcript">${said.map((m, n) => html`
            ${day(m.ts) != (n ? day(said[n - 1].ts) : '')
              && html`<li class="day"><small>${day(m.ts)}</small></li>`}
            <li key=${m.seq}>
            <strong>${say('chat.said', {time: time(m.ts),
                name: (m.from ?? m.payload.from) == me
                    ? say('session.mine') : name})}</strong>
            <span class="prose"> ${m.payload.deleted ? say('chat.deleted')
                                  : m.payload.text}</span></li>`)}</ul>
        </${List}>
    </section>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * What was said in the consultation of a dispute.  Each look is written down,
 * and whoever looks is told so before.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {moment} from '../format.js';
import {List, useList} from '../ui.js';

export function Transcript({dispute}) {
    const [open, set] = useState(false);

    if (!open) return html`<p><button class="secondary small"
        aria-describedby="look-${dispute.id}" onClick=${() => set(true)}>${
        say('history.transcript')}</button> <small id="look-${dispute.id}">${
        say('dispute.look')}</small></p>`;
    return html`<${Said} dispute=${dispute} />`;
}

function Said({dispute: d}) {
    const list = useList(`/admin/disputes/${d.id}/transcript?limit=100`);

    return html`<section><h3>${say('history.transcript')}</h3>
        <p><small>${say('dispute.looked')}</small></p>
        <${List} of=${list} empty=${say('history.silent')}>
        <ul class="plain">${list.rows.filter(m => m.type == 'chat_message')
            .map(m => html`<li key=${m.seq}><small>${moment(m.ts)}</small>
            <strong>${m.from == d.client.id ? d.client.name
                : m.from == d.advisor.id ? d.advisor.name : m.from}:</strong> ${
            m.payload.text ?? say('chat.deleted')}</li>`)}</ul>
        </${List}></section>`;
}

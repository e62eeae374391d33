/*
 * Copyright (C) The Astro authors
 *
 * One consultation that is over: what it came to, what was said, its review,
 * and where to go when something was wrong.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {nameOf, use} from '../live.js';
import {get} from '../api.js';
import {clock, moment, money, time} from '../format.js';
import {List, Wait, useData, useList, useTitle} from '../ui.js';
import {Review, sayReason} from '../parts/over.js';
import {Dispute} from '../parts/dispute.js';

export default function Past({id}) {
    const {user} = use();
    const of = useData(() => get(`/sessions/${id}`), [id]);
    const s = of.data, name = s ? nameOf(s) : '';
    const client = s?.client == user.id;

    useTitle(name);

    return html`<${Wait} of=${of}>${s && html`<div class="narrow">
        <h1>${say('session.title', {service: say(`service.${s.service}`),
                                    name})}</h1>
        <p>${moment(s.created_at)}. ${sayReason(s.reason, name)} ${
            s.charged > 0 ? say('session.total', {time: clock(s.billed_ms),
                money: money(s.charged, s.rate.currency)})
            : say('session.free')}</p>
        ${client && s.billed_ms > 0 && html`<${Review}
            session=${s.session} />`}
        <${Transcript} session=${s} me=${user.id} name=${name} />
        <${Dispute} session=${s.session} />
    </div>`}</${Wait}>`;
}

function Transcript({session: s, me, name}) {
    const list = useList(`/sessions/${s.session}/transcript?limit=100`);
    const said = list.rows.filter(m => m.type == 'chat_message');

    return html`<section><h2>${say('history.transcript')}</h2>
        <${List} of=${{...list, rows: said}} empty=${say('history.silent')}>
        <ul class="plain">${said.map(m => html`<li key=${m.seq}>
            <strong>${say('chat.said', {time: time(m.ts),
                name: (m.from ?? m.payload.from) == me
                    ? say('session.mine') : name})}</strong>
            <span class="prose"> ${m.payload.deleted ? say('chat.deleted')
                                  : m.payload.text}</span></li>`)}</ul>
        </${List}>
    </section>`;
}

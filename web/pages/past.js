/*
 * Copyright (C) The Astro authors
 *
 * One consultation that is over: what it came to, what was said, its review,
 * and where to go when something was wrong.
 */

import {html, useEffect} from '../vendor/preact.js';
import {say} from '../words.js';
import {nameOf, use} from '../live.js';
import {get} from '../api.js';
import {clock, moment, money} from '../format.js';
import {Wait, useData, useTitle} from '../ui.js';
import {go} from '../app.js';
import {Charges} from '../parts/charges.js';
import {Dispute} from '../parts/dispute.js';
import {sayReason} from '../parts/over.js';
import {Review} from '../parts/review.js';
import {Transcript} from '../parts/said.js';

export default function Past({id}) {
    const {user} = use();
    const of = useData(() => get(`/sessions/${id}`), [id]);
    const s = of.data, name = s ? nameOf(s) : '';
    const client = s?.client == user.id;

    useTitle(name);

    /* a link to one that lives leads into it */
    useEffect(() => {
        if (s && s.state != 'ended') go(`session/${id}`);
    }, [s?.state]);

    return html`<${Wait} of=${of}>${s && html`<div class="narrow">
        <h1>${say('session.title', {service: say(`service.${s.service}`),
                                    name})}</h1>
        <p>${moment(s.created_at)}. ${sayReason(s.reason, name)} ${
            s.charged > 0 ? say('session.total', {time: clock(s.billed_ms),
                money: money(s.charged, s.rate.currency)})
            : say('session.free')}</p>
        ${client && html`<p><a href="#/advisor/${s.advisor}">${
            say('session.toadvisor', {name})}</a></p>`}
        <${Charges} session=${s} />
        ${client && s.billed_ms > 0 && html`<${Review}
            session=${s.session} />`}
        <${Transcript} session=${s} me=${user.id} name=${name} />
        <${Dispute} session=${s.session} />
    </div>`}</${Wait}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * An advisor's desk: whether one is to be found, who waits, who has booked,
 * what one asks for, and when one can be booked.
 */

import {html, useEffect} from '../vendor/preact.js';
import {say} from '../words.js';
import {mine, use} from '../live.js';
import {get, put} from '../api.js';
import {clock, money} from '../format.js';
import {Act, Wait, useData, useTitle} from '../ui.js';
import {Bookings} from '../parts/bookings.js';
import {Hours} from '../parts/hours.js';
import {Offer} from '../parts/offer.js';
import {Sound, useSound} from '../parts/ring.js';

const LOOK_MS = 10000;          /* who waits is told to clients alone */

export default function Desk() {
    const {notices, ended} = use();
    const live = mine()?.session;
    const of = useData(() => get('/advisors/me'), [live]);
    const figures = useData(() => get('/advisors/me/dashboard'), [ended.size]);
    const approved = of.data?.approved;
    const newest = notices[0]?.id;

    useTitle(say('nav.desk'));
    useEffect(() => {
        const timer = setInterval(of.again, LOOK_MS);

        return () => clearInterval(timer);
    }, []);

    /* an approval may be what one was told of */
    useEffect(() => { if (approved === false) of.again(); }, [newest]);

    return html`<h1>${say('nav.desk')}</h1>
        <${Wait} of=${of}>${of.data && html`
            <div class="page">
            <${Status} me=${of.data} live=${live} onChange=${of.again} />
            ${of.data.approved && html`<${Waitlist} me=${of.data} />`}
            <${Wait} of=${figures}>${figures.data && html`
                <${Figures} of=${figures.data} />`}</${Wait}>
            <${Bookings} />
            <${Offer} me=${of.data} onChange=${of.again} />
            <${Hours} />
            </div>`}
        </${Wait}>`;
}

/* online, in a consultation, away; and what the button makes of it */
function Status({me, live, onChange}) {
    const [loud, setLoud] = useSound();
    const busy = me.busy || !!live;
    const is = me.away ? 'away' : busy ? 'busy' : 'online';
    const does = me.away ? 'desk.show' : busy ? 'desk.after' : 'desk.hide';

    return html`<section class="desk-status">
        ${!me.approved ? html`<div class="banner" role="status">
            <strong>${say('desk.unapproved')}</strong>
            ${' '}${say('desk.unapproved.do')}</div>` : html`
        <div class="row">
            <p class="here ${me.away ? 'offline' : busy ? 'busy' : 'online'}"
               role="status"><i aria-hidden="true"></i>${
                say(me.away && busy ? 'desk.is.last' : `desk.is.${is}`)}</p>
            <${Act} class=${me.away ? '' : 'secondary'} does=${async () => {
                await put('/advisors/me/status',
                          {status: me.away ? 'online' : 'offline'});
                onChange();
            }}>${say(does)}</${Act}>
            ${live && html`<a role="button" href="#/session/${live}">${
                say('history.live')}</a>`}
        </div>`}
        <${Sound} on=${loud} set=${setLoud} />
    </section>`;
}

function Waitlist({me}) {
    return html`<p role="status">${me.queue == 0 ? say('desk.queue.none')
        : say(me.queue == 1 ? 'desk.queue.one' : 'desk.queue.some',
              {n: me.queue})}
        ${me.queue > 0 && ` ${say(me.away ? 'desk.queue.away'
                                          : 'desk.queue.how')}`}</p>`;
}

function Figures({of}) {
    const tiles = [['desk.sessions', of.sessions], ['desk.clients', of.clients],
                   ['desk.time', clock(of.billed_ms)],
                   ['desk.earned', money(of.earned)],
                   ['desk.balance', money(of.balance)]];

    return html`<dl class="tiles">${tiles.map(([k, v]) => html`
        <div class="tile"><dt>${say(k)}</dt><dd>${v}</dd></div>`)}</dl>`;
}

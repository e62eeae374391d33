/*
 * Copyright (C) The Astro authors
 *
 * What clients have booked with this advisor, and what can be done about it.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {use} from '../live.js';
import {post} from '../api.js';
import {moment, money, time} from '../format.js';
import {Act, Dialog, Field, Wait, tell, useClock, useList} from '../ui.js';
import {go} from '../app.js';

const OPEN = ['requested', 'confirmed', 'open'];

export function Bookings() {
    const {notices} = use();
    const list = useList('/bookings?limit=50');
    const [no, refuse] = useState(null);
    const at = useClock(15000);
    const newest = notices.find(n => n.kind.startsWith('booking'))?.id;

    useEffect(() => { if (newest) list.again(); }, [newest]);

    const open = list.rows.filter(b => OPEN.includes(b.state))
        .sort((a, b) => new Date(a.start) - new Date(b.start));

    const act = async (b, what, body) => {
        const done = await post(`/bookings/${b.id}/${what}`, body);

        if (what == 'start') return go(`session/${done.session}`);
        list.again();
        return tell(say(`booking.did.${what}`));
    };

    return html`<section><h2>${say('desk.bookings')}</h2>
        <${Wait} of=${list}>${open.length == 0
            ? html`<p>${say('desk.bookings.none')}</p>`
            : html`<ul class="plain">${open.map(b => html`<li key=${b.id}>
                <${Booking} b=${b} at=${at} act=${act} refuse=${refuse} />
            </li>`)}</ul>`}</${Wait}>
        ${no && html`<${Reason} of=${no} onClose=${() => refuse(null)}
            does=${reason => act(no.b, no.what, {reason})} />`}
    </section>`;
}

function Booking({b, at, act, refuse}) {
    const state = `booking.${b.state}`;
    const say_ = what => say(`booking.${what}`, {name: b.client.name});
    const ready = b.state != 'requested' && new Date(b.opens_at) <= at;

    return html`<div>
        <p><strong>${moment(b.start)}–${time(b.end)}</strong> ${
            b.client.name}, ${say(`service.${b.service}`)}, ${
            known(state) ? say(state) : b.state}. ${
            say('booking.held', {money: money(b.held)})}
            ${b.state == 'requested' && ` ${say('booking.by', {
                when: moment(b.answer_by)})}`}</p>
        ${b.note && html`<blockquote class="prose">${b.note}</blockquote>`}
        <div class="row">
            ${b.state == 'requested' && html`<${Act} class="small"
                aria-label=${say_('confirm.who')}
                does=${() => act(b, 'confirm')}>${say('desk.confirm')}</${Act}>
                <button class="secondary small"
                    aria-label=${say_('decline.who')}
                    onClick=${() => refuse({b, what: 'decline'})}>${
                    say('desk.decline')}</button>`}
            ${ready && html`<${Act} class="small" does=${() =>
                act(b, 'start')}>${say('booking.start')}</${Act}>`}
            ${b.state != 'requested' && html`<button class="secondary small"
                aria-label=${say_('cancel.who')}
                onClick=${() => refuse({b, what: 'cancel'})}>${
                say('booking.cancel')}</button>`}
        </div>
    </div>`;
}

/* what the client is told of why */
function Reason({of, does, onClose}) {
    const [text, set] = useState('');
    const title = say(`booking.${of.what}.who`, {name: of.b.client.name});

    return html`<${Dialog} title=${title} onClose=${onClose}>
        <${Field} label=${say('booking.reason')} value=${text} maxlength="200"
                  onInput=${e => set(e.target.value)} />
        <p>${say('booking.back', {money: money(of.b.held)})}</p>
        <footer class="row">
            <button class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} does=${async () => { await does(text); onClose(); }}>${
                say(`desk.${of.what}`)}</${Act}>
        </footer>
    </${Dialog}>`;
}

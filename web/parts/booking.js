/*
 * Copyright (C) The Astro authors
 *
 * A booking of one's own: what was agreed, how to go into its room, how to
 * give it up, and what of the deposit is given back then.
 */

import {html, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {change, now} from '../live.js';
import {post} from '../api.js';
import {moment, money} from '../format.js';
import {Act, Dialog, Field, tell, useClock} from '../ui.js';
import {go} from '../app.js';
import {useOnce} from './once.js';
import {lookIntoPurse} from './purse.js';

export const OPEN = ['requested', 'confirmed'];

/* what a client loses who cancels at this instant, minor units */
export function lost(b, at) {
    if (b.state != 'confirmed') return 0;
    if (at >= Date.parse(b.start)) return b.deposit.amount;
    return at > Date.parse(b.free_until) ? b.late_charge.amount : 0;
}

export function Booking({booking: b, onChange}) {
    const [asks, ask] = useState(false);
    const at = useClock(10000);
    const open = OPEN.includes(b.state);
    const room = b.state == 'confirmed' && at + now.skew
                 >= Date.parse(b.opens_at);
    const word = `booking.${b.state}`;

    return html`<li class="booking" data-booking=${b.id}>
        <p><strong>${moment(b.start)}</strong>, ${
            say(`service.${b.service}`)}, <a href="#/advisor/${b.advisor.id}"
            >${b.advisor.name}</a>: ${known(word) ? say(word) : b.state}</p>
        <p><small>${say('booking.deposit', {money: money(b.deposit)})}
            ${b.charged.amount > 0 && html` ${say('booking.charged', {
                money: money(b.charged)})}`}
            ${b.state == 'requested' && html` ${say('booking.answer', {
                when: moment(b.answer_by)})}`}
            ${b.state == 'confirmed' && !room && html` ${say('booking.opens', {
                when: moment(b.opens_at)})}`}
            ${b.reason && html` ${b.reason}`}</small></p>
        ${open && html`<p class="row">
            ${room && html`<${Act} class="small" does=${async () => {
                const s = await post(`/bookings/${b.id}/start`);

                change({sessions: new Map(now.sessions).set(
                    s.session, {...s, at: Date.now()})});
                go(`session/${s.session}`);
            }}>${say('booking.enter')}</${Act}>`}
            <button class="secondary small" onClick=${() => ask(true)}>${
                say('booking.giveup')}</button></p>`}
        ${asks && html`<${Cancel} booking=${b} onDone=${onChange}
            onClose=${() => ask(false)} />`}
    </li>`;
}

function Cancel({booking: b, onDone, onClose}) {
    const [reason, set] = useState('');
    const once = useOnce([reason]);
    const at = useClock(1000) + now.skew;
    const minus = lost(b, at), {currency} = b.deposit;

    return html`<${Dialog} title=${say('booking.giveup')} onClose=${onClose}>
        <p>${say(minus ? 'booking.loses' : 'booking.all', {
            money: money(minus, currency),
            rest: money(b.deposit.amount - minus, currency)})}</p>
        <${Field} label=${say('booking.why')} value=${reason} maxlength="200"
            onInput=${e => set(e.currentTarget.value)} />
        <footer class="row">
            <button class="secondary" onClick=${onClose}>${
                say('booking.keep')}</button>
            <${Act} class="end" does=${async () => {
                const done = await once(key => post(
                    `/bookings/${b.id}/cancel`, {...reason.trim()
                    && {reason: reason.trim()}}, key));

                tell(say('booking.gone', {money: money(
                    b.deposit.amount - done.charged.amount, currency)}));
                lookIntoPurse().catch(() => {});
                onClose();
                onDone();
            }}>${say('booking.do')}</${Act}>
        </footer>
    </${Dialog}>`;
}

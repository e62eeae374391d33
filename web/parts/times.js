/*
 * Copyright (C) The Astro authors
 *
 * The times at which an advisor can be booked, a day at a time, by the clock
 * of who looks; what is held, and what it costs to change one's mind, is said
 * before.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {now, use} from '../live.js';
import {get, post} from '../api.js';
import {day, duration, moment, money, time} from '../format.js';
import {Act, Dialog, Field, Wait, tell, useData} from '../ui.js';
import {useOnce} from './once.js';
import {lookIntoPurse} from './purse.js';
import {TopUp} from './topup.js';

const AHEAD_DAYS = 30;

export function Times({advisor}) {
    const of = useData(() => {
        const at = Date.now();

        return get(`/advisors/${advisor.id}/slots?from=${
            new Date(at).toISOString()}&to=${
            new Date(at + AHEAD_DAYS * 86400000).toISOString()}`);
    }, [advisor.id]);
    const [date, setDate] = useState(null);
    const [slot, choose] = useState(null);
    const days = new Map();

    for (const s of of.data?.data ?? []) {
        const at = day(s.start);

        days.set(at, [...days.get(at) ?? [], s]);
    }

    const chosen = days.has(date) ? date : [...days.keys()][0];

    return html`<section><h2>${say('find.book')}</h2>
        <${Wait} of=${of}>${days.size == 0
        ? html`<p>${say('times.none')}</p>` : html`
        <div class="short"><${Field} label=${say('advisor.day')}>
            <select class="day" value=${chosen} onInput=${e =>
                setDate(e.currentTarget.value)}>${[...days.keys()].map(d =>
                html`<option value=${d}>${d}</option>`)}</select></${Field}>
        </div>
        <p><small>${say('times.zone', {zone: Intl.DateTimeFormat()
            .resolvedOptions().timeZone})}</small></p>
        <div class="slots">${days.get(chosen).map(s => html`<button
            key=${s.start} class="secondary small" onClick=${() => choose(s)}
            >${time(s.start)}</button>`)}</div>
        ${slot && html`<${Book} slot=${slot} advisor=${advisor}
            terms=${of.data.terms} onClose=${() => choose(null)}
            onBooked=${of.again} />`}`}</${Wait}>
    </section>`;
}

function Book({slot, advisor, terms, onClose, onBooked}) {
    const services = Object.entries(advisor.rates).filter(([, r]) => r);
    const {wallet} = use();
    const [service, set] = useState(services[0]?.[0]);
    const [note, setNote] = useState('');
    const [short, setShort] = useState(false);
    const once = useOnce([service, note]);
    const rate = advisor.rates[service];
    const minutes = (Date.parse(slot.end) - Date.parse(slot.start)) / 60000;
    const deposit = terms && rate && Math.floor(
        rate.amount * minutes * terms.deposit_bps / 10000);
    const free = Date.parse(slot.start) - (terms?.free_cancel_ms ?? 0);
    const sum = n => money(n, rate.currency);

    if (short) return html`<${TopUp} onClose=${() => setShort(false)}
        onDone=${() => setShort(false)} lead=${say('times.short', {
            money: sum(deposit)})} />`;

    async function book() {
        try {
            const b = await once(key => post('/bookings', {
                advisor: advisor.id, start: slot.start, service,
                ...note.trim() && {note: note.trim()}}, key));

            tell(say('advisor.booked', {when: moment(b.start),
                                        money: money(b.deposit)}));
            lookIntoPurse().catch(() => {});
            onClose();
            onBooked();
        } catch (e) {
            if (e.code != 'insufficient_balance') throw e;
            setShort(true);
        }
    }

    return html`<${Dialog} title=${say('times.title', {
            name: advisor.name})} onClose=${onClose}>
        <p><strong>${moment(slot.start)}</strong>, ${
            duration(minutes * 60000)}</p>
        <fieldset><legend>${say('find.by')}</legend>
            ${services.map(([s, r]) => html`<label><input type="radio"
                name="service" value=${s} checked=${service == s}
                onChange=${() => set(s)} />${say(`service.${s}`)}, ${
                say('find.minute', {money: money(r)})}</label>`)}
        </fieldset>
        <${Field} label=${say('times.note')} value=${note} maxlength="500"
            onInput=${e => setNote(e.currentTarget.value)} />
        ${terms && html`<p>${say('times.deposit', {money: sum(deposit)})}</p>
            <ul><li>${free > Date.now() + now.skew
                    ? say('times.free', {when: moment(free)})
                    : say('times.soon')}</li>
                <li>${say('times.late', {money: sum(Math.floor(
                    deposit * terms.late_bps / 10000))})}</li>
                <li>${say('times.absent', {money: sum(deposit)})}</li></ul>
            ${wallet && deposit > wallet.available && html`<p role="status">${
                say('times.low')}</p>`}`}
        <footer class="row">
            <button class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} does=${book}>${say('times.book')}</${Act}>
        </footer>
    </${Dialog}>`;
}

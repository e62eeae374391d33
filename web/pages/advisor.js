/*
 * Copyright (C) The Astro authors
 *
 * One advisor: what they say of themselves, what others say, when they can be
 * booked.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {watch} from '../live.js';
import {get, post} from '../api.js';
import {day, moment, money, time} from '../format.js';
import {Act, List, Wait, tell, useData, useList, useTitle} from '../ui.js';
import {Favorite, Start} from '../parts/start.js';
import {Here, Rating} from './find.js';

export default function Advisor({id}) {
    const of = useData(() => get(`/advisors/${id}`), [id]);
    const reviews = useList(`/advisors/${id}/reviews?limit=20`);
    const [star, setStar] = useState(false);
    const a = of.data;

    useTitle(a?.name);
    useEffect(() => watch([id]), [id]);
    useEffect(() => {
        get('/favorites?limit=200').then(
            ({data}) => setStar(data.some(f => f.id == id)), () => {});
    }, [id]);

    return html`<${Wait} of=${of}>${a && html`
        <header class="row">
            <span class="face" aria-hidden="true">${a.name[0]}</span>
            <div><h1>${a.name}</h1><${Here} advisor=${a} /></div>
            <${Favorite} advisor=${a} on=${star} onChange=${setStar} />
        </header>
        <p class="lead">${a.headline}</p>
        <p class="facts"><${Rating} of=${a.rating} />
            ${a.city && html`<span>${a.city}</span>`}
            ${a.languages.length > 0 && html`<span>${
                a.languages.join(', ')}</span>`}
            ${a.experience > 0 && html`<span>${
                say('find.years', {n: a.experience})}</span>`}</p>
        ${a.bio && html`<p class="prose">${a.bio}</p>`}
        <p class="row"><${Start} advisor=${a} /></p>
        <${Times} advisor=${a} />
        <section><h2>${say('advisor.reviews')}</h2>
            <${List} of=${reviews}>
            <ul class="plain">${reviews.rows.map(r => html`<li>
                <p><strong>${'★'.repeat(r.rating)}<span class="unseen">${
                    say('review.stars', {n: r.rating})}</span></strong>
                    ${' '}${r.client.name}, ${day(r.created_at)}</p>
                ${r.text && html`<p class="prose">${r.text}</p>`}
                ${r.reply && html`<blockquote>${r.reply}</blockquote>`}
            </li>`)}</ul>
            </${List}>
        </section>`}
    </${Wait}>`;
}


/* the next days' slots, a day at a time */
function Times({advisor}) {
    const of = useData(() => get(`/advisors/${advisor.id}/slots`),
                       [advisor.id]);
    const [date, setDate] = useState(null);
    const days = new Map();

    for (const s of of.data?.data ?? []) {
        const at = day(s.start);

        days.set(at, [...days.get(at) ?? [], s]);
    }

    if (days.size == 0) return null;

    const services = Object.entries(advisor.rates).filter(([, r]) => r);
    const chosen = days.get(date) ? date : [...days.keys()][0];

    return html`<section><h2>${say('find.book')}</h2>
        <label>${say('advisor.day')}
            <select value=${chosen} onChange=${e => setDate(e.target.value)}>
            ${[...days.keys()].map(d => html`<option value=${d}>${d}</option>`)}
            </select></label>
        <div class="slots">${days.get(chosen).map(s => html`
            <${Slot} key=${s.start} slot=${s} advisor=${advisor}
                     services=${services} onBooked=${of.again} />`)}</div>
    </section>`;
}

function Slot({slot, advisor, services, onBooked}) {
    const [open, set] = useState(false);

    if (!open)
        return html`<button class="secondary small"
            onClick=${() => set(true)}>${time(slot.start)}</button>`;

    return html`<span class="row">${time(slot.start)}
        ${services.map(([service, rate]) => html`<${Act} class="small"
            does=${async () => {
                const b = await post('/bookings', {
                    advisor: advisor.id, start: slot.start, service});

                tell(say('advisor.booked', {when: moment(b.start),
                                            money: money(b.deposit)}));
                onBooked();
            }}>${say(`service.${service}`)} <small>${
            say('find.minute', {money: money(rate)})}</small></${Act}>`)}
        <button class="plain small" onClick=${() => set(false)}>${
            say('app.cancel')}</button></span>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * One advisor: what they say of themselves, what others say, how to talk to
 * them now, and when they can be booked.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {change, now, use, watch} from '../live.js';
import {get} from '../api.js';
import {day, duration, initial, tongue} from '../format.js';
import {Field, List, Wait, useData, useList, useTitle} from '../ui.js';
import {Here, Rating} from '../parts/card.js';
import {Coupon} from '../parts/coupon.js';
import {useFavorites} from '../parts/favorites.js';
import {Gift} from '../parts/gift.js';
import {Favorite, Start, state} from '../parts/start.js';
import {useStatus} from '../parts/status.js';
import {Times} from '../parts/times.js';

const MOST = [10, 20, 30, 60];

/* one's place in line may be from before this page was loaded */
function usePlace(id) {
    const {user} = use();

    useEffect(() => {
        if (user?.role != 'client') return;
        get(`/advisors/${id}/queue`).then(place => {
            if (['waiting', 'offered'].includes(place.state))
                change({queue: new Map(now.queue).set(id, place)});
        }, () => {});
    }, [id, user?.role]);
}

export default function Advisor({id}) {
    const {user} = use();
    const of = useData(() => get(`/advisors/${id}`), [id]);
    const [stars, star] = useFavorites();
    const client = user?.role == 'client';
    const a = of.data;

    useTitle(a?.name);
    useEffect(() => watch([id]), [id]);
    usePlace(id);
    useStatus(`/advisors/${id}`);

    return html`<${Wait} of=${of}>${a && html`
        <header class="row">
            <span class="face" aria-hidden="true">${initial(a.name)}</span>
            <div><h1>${a.name}</h1><${Here} advisor=${a} /></div>
            ${client && html`<${Favorite} advisor=${a} on=${stars.has(id)}
                onChange=${on => star(id, on)} />`}
        </header>
        <p class="lead">${a.headline}</p>
        <p class="facts"><${Rating} of=${a.rating} />
            ${a.city && html`<span>${a.city}</span>`}
            ${a.languages.length > 0 && html`<span>${a.languages.map(
                tongue).join(', ')}</span>`}
            ${a.specialties.length > 0 && html`<span>${
                a.specialties.join(', ')}</span>`}
            ${a.experience > 0 && html`<span>${
                say('find.years', {n: a.experience})}</span>`}
            ${a.queue > 0 && html`<span>${
                say('advisor.queue', {n: a.queue})}</span>`}</p>
        ${a.bio && html`<p class="prose">${a.bio}</p>`}
        ${client && html`<${Now} advisor=${a} again=${of.again} />
            <${Times} advisor=${a} />`}
        <${Reviews} id=${id} />`}
    </${Wait}>`;
}

/* of the services that are offered, as long as one may count on */
const free = a => Object.entries(a.free_ms ?? {})
    .filter(([s]) => a.rates[s])
    .reduce((least, [, ms]) => Math.min(least ?? ms, ms), null);

function Now({advisor: a, again}) {
    const [most, set] = useState('');
    const is = (use(), state(a));

    return html`<section class="now"><h2>${say('advisor.now')}</h2>
        ${free(a) > 0 && html`<p class="banner free">${say('advisor.free', {
            time: duration(free(a))})}</p>`}
        ${is == 'online' && html`<div class="short"><${Field}
            label=${say('advisor.most')}>
            <select name="most" value=${most}
                onInput=${e => set(e.currentTarget.value)}>
                <option value="">${say('advisor.wallet')}</option>
                ${MOST.map(n => html`<option value=${n}>${
                    duration(n * 60000)}</option>`)}</select></${Field}>
            </div>`}
        <div class="row"><${Start} advisor=${a} most=${+most || undefined}
            full=${true} /></div>
        <div class="row">
            <${Gift} path="/advisors/${a.id}" name=${a.name} small=${true} />
        </div>
        <details><summary>${say('coupon.title')}</summary>
            <${Coupon} advisor=${a} onDone=${again} /></details>
    </section>`;
}

function Reviews({id}) {
    const reviews = useList(`/advisors/${id}/reviews?limit=20`);

    return html`<section><h2>${say('advisor.reviews')}</h2>
        <${List} of=${reviews} empty=${say('find.unrated')}>
        <ul class="plain reviews">${reviews.rows.map(r => html`
            <li key=${r.session}>
                <p><strong><span aria-hidden="true">${'★'.repeat(r.rating)}
                    </span><span class="unseen">${
                    say('review.stars', {n: r.rating})}</span></strong>
                    ${' '}${r.client.name}, ${day(r.created_at)}</p>
                ${r.text && html`<p class="prose">${r.text}</p>`}
                ${r.reply && html`<blockquote>${r.reply}</blockquote>`}
            </li>`)}</ul>
        </${List}>
    </section>`;
}

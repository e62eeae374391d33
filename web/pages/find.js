/*
 * Copyright (C) The Astro authors
 *
 * The list of advisors: filters, live presence, and the ways to talk to one.
 */

import {html, useEffect, useMemo, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use, watch} from '../live.js';
import {get} from '../api.js';
import {money} from '../format.js';
import {Field, List, useData, useList, useTitle} from '../ui.js';
import {Favorite, Start, state} from '../parts/start.js';

const SORTS = [['-rating', 'rating'], ['price', 'price'],
               ['newest', 'newest'], ['name', 'name']];
const TYPED_MS = 250;


/* what is typed, a moment after the last key */
function useLater(value) {
    const [later, set] = useState(value);

    useEffect(() => {
        const timer = setTimeout(() => set(value), TYPED_MS);
        return () => clearTimeout(timer);
    }, [value]);
    return later;
}

export default function Find() {
    useTitle(say('find.title'));

    const [f, set] = useState({q: '', specialty: '', service: '',
                               sort: 'rating', online: false});
    const q = useLater(f.q.trim());
    const path = useMemo(() => {
        const query = new URLSearchParams({limit: 20, sort: f.sort});

        for (const name of ['specialty', 'service'])
            if (f[name]) query.set(name, f[name]);
        if (q) query.set('q', q);
        if (f.online) query.set('online', 'true');
        return `/advisors?${query}`;
    }, [q, f.specialty, f.service, f.sort, f.online]);

    const list = useList(path);
    const subjects = useData(() => get('/specialties'));
    const [stars, setStars] = useState(new Set());
    const here = list.rows.map(a => a.id).join();

    useEffect(() => {
        get('/favorites?limit=200').then(
            ({data}) => setStars(new Set(data.map(a => a.id))), () => {});
    }, []);

    useEffect(() => watch(here ? here.split(',').slice(0, 200) : []), [here]);

    const field = name => ({value: f[name], onInput: e => set(
        {...f, [name]: e.target.value})});

    return html`
        <h1>${say('find.title')}</h1>
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('find.search')} type="search"
                      ...${field('q')} />
            <${Field} label=${say('find.subject')}>
                <select ...${field('specialty')}>
                    <option value="">${say('find.all')}</option>
                    ${(subjects.data?.data ?? []).map(s => html`
                        <option value=${s.slug}>${s.name}</option>`)}
                </select>
            </${Field}>
            <${Field} label=${say('find.by')}>
                <select ...${field('service')}>
                    <option value="">${say('find.all')}</option>
                    ${['chat', 'audio', 'video'].map(s => html`
                        <option value=${s}>${say(`service.${s}`)}</option>`)}
                </select>
            </${Field}>
            <${Field} label=${say('find.sort')}>
                <select ...${field('sort')}>
                    ${SORTS.map(([, s]) => html`<option value=${s}>
                        ${say(`find.sort.${s}`)}</option>`)}
                </select>
            </${Field}>
            <label class="check"><input type="checkbox" role="switch"
                checked=${f.online} onChange=${e => set(
                {...f, online: e.target.checked})} />${say('find.here')}</label>
        </form>
        <${List} of=${list} empty=${say('find.none')}>
            <ul class="cards">${list.rows.map(a => html`<${Card} key=${a.id}
                advisor=${a} starred=${stars.has(a.id)} onStar=${on => {
                    const next = new Set(stars);
                    on ? next.add(a.id) : next.delete(a.id);
                    setStars(next);
                }} />`)}</ul>
        </${List}>`;
}

export function Rating({of}) {
    return html`<span class="rating">${of.count
        ? html`<span aria-hidden="true">★ ${of.average.toFixed(1)} <small>(${
               of.count})</small></span><span class="unseen">${
               say('find.reviews', of)}</span>`
        : html`<small>${say('find.unrated')}</small>`}</span>`;
}

export function Here({advisor}) {
    use();
    const is = state(advisor);

    return html`<span class="here ${is}"><i aria-hidden="true"></i>${
        say(`find.${is}`)}</span>`;
}

function Card({advisor: a, starred, onStar}) {
    const least = Math.min(...Object.values(a.rates).filter(Boolean)
                           .map(r => r.amount));
    const currency = Object.values(a.rates).find(Boolean)?.currency;

    return html`<li><article class="card">
        <header>
            <span class="face" aria-hidden="true">${a.name[0]}</span>
            <div><h2><a href="#/advisor/${a.id}">${a.name}</a></h2>
                <${Here} advisor=${a} /></div>
            <${Favorite} advisor=${a} on=${starred} onChange=${onStar} />
        </header>
        ${a.headline && html`<p>${a.headline}</p>`}
        <p class="facts"><${Rating} of=${a.rating} />
            ${a.experience > 0 && html`<span>${
                say('find.years', {n: a.experience})}</span>`}
            ${currency && html`<span>${say('find.minute', {
                money: money(least, currency)})}</span>`}</p>
        <footer class="row"><${Start} advisor=${a} /></footer>
    </article></li>`;
}

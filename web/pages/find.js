/*
 * Copyright (C) The Astro authors
 *
 * The list of advisors: filters, live presence, and the ways to talk to one.
 */

import {html, useEffect, useMemo, useRef, useState}
    from '../vendor/preact.js';
import {say} from '../words.js';
import {use, watch} from '../live.js';
import {get} from '../api.js';
import {minor, tongue} from '../format.js';
import {Field, List, useData, useList, useTitle} from '../ui.js';
import {Card} from '../parts/card.js';
import {useFavorites} from '../parts/favorites.js';
import {useStatus} from '../parts/status.js';

const SORTS = [['rating', 'rating'], ['price', 'price'],
               ['-price', 'dear'], ['newest', 'newest'], ['name', 'name']];
const EMPTY = {q: '', specialty: '', service: '', language: '', price: '',
               rating: '', online: false};
const TYPED_MS = 250;
const WATCHED = 200;                /* more than that nobody looks at */


/* the languages of those who were seen: there is no catalogue of them */
function useLanguages(rows) {
    const all = useRef(new Set());

    for (const a of rows) for (const l of a.languages) all.current.add(l);
    return [...all.current].map(l => [l, tongue(l)])
        .sort(([, a], [, b]) => a.localeCompare(b));
}

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

    const {user} = use();
    const [f, set] = useState({...EMPTY, sort: 'rating'});
    const q = useLater(f.q.trim()), price = useLater(f.price);
    const most = minor(price, user.currency ?? 'INR');

    const path = useMemo(() => {
        const query = new URLSearchParams({limit: 20, sort: f.sort});

        for (const name of ['specialty', 'service', 'language', 'rating'])
            if (f[name]) query.set(name, f[name]);
        if (q) query.set('q', q);
        if (most >= 0) query.set('price_max', most);
        if (f.online) query.set('online', 'true');
        return `/advisors?${query}`;
    }, [q, most, f.specialty, f.service, f.language, f.rating, f.sort,
        f.online]);

    const list = useList(path);
    const subjects = useData(() => get('/specialties?limit=200'));
    const languages = useLanguages(list.rows);
    const [stars, star] = useFavorites();
    const here = list.rows.map(a => a.id).slice(0, WATCHED).join();
    const narrow = Object.keys(EMPTY).filter(k => f[k]);

    useEffect(() => watch(here ? here.split(',') : []), [here]);
    useStatus(path);

    const field = name => ({value: f[name], onInput: e => {
        const {value} = e.currentTarget;

        set(old => ({...old, [name]: value}));
    }});

    return html`
        <h1>${say('find.title')}</h1>
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('find.search')} type="search"
                      maxlength="60" ...${field('q')} />
            <${Pick} name="specialty" label="find.subject" field=${field}
                of=${(subjects.data?.data ?? []).map(s => [s.slug, s.name])} />
            <${Pick} name="service" label="find.by" field=${field}
                of=${['chat', 'audio', 'video'].map(s =>
                     [s, say(`service.${s}`)])} />
            <${Pick} name="language" label="find.language" field=${field}
                of=${languages} />
            <${Pick} name="rating" label="find.rated" field=${field}
                of=${[4, 3, 2].map(n => [n, say('find.from', {n})])} />
            <${Field} label=${say('find.price')} inputmode="decimal"
                error=${price && !(most >= 0) && say('desk.wrong')}
                ...${field('price')} />
            <${Field} label=${say('find.sort')}>
                <select ...${field('sort')}>
                    ${SORTS.map(([key, name]) => html`<option value=${key}>
                        ${say(`find.sort.${name}`)}</option>`)}
                </select>
            </${Field}>
            <label class="check"><input type="checkbox" role="switch"
                checked=${f.online} onChange=${e => {
                    const {checked} = e.currentTarget;

                    set(old => ({...old, online: checked}));
                }} />${say('find.here')}</label>
        </form>
        <${List} of=${list} empty=${html`<${Nobody} narrow=${narrow}
            widen=${k => set(old => ({...old, ...k ? {[k]: EMPTY[k]}
                                                   : EMPTY}))} />`}>
            <ul class="cards" aria-busy=${list.busy}>${list.rows.map(a =>
                html`<${Card} key=${a.id} advisor=${a}
                    starred=${stars.has(a.id)}
                    onStar=${on => star(a.id, on)} />`)}</ul>
        </${List}>`;
}

function Pick({name, label, of, field}) {
    return html`<${Field} label=${say(label)}>
        <select name=${name} ...${field(name)}>
            <option value="">${say('find.all')}</option>
            ${of.map(([key, word]) => html`<option value=${key}>${
                word}</option>`)}
        </select>
    </${Field}>`;
}

/* nobody fits: which filter may go */
function Nobody({narrow, widen}) {
    if (narrow.length == 0) return say('find.nobody');

    return html`${say('find.none')}
        <span class="row">${narrow.map(k => html`<button class="small
            secondary" onClick=${() => widen(k)}>${
            say('find.without', {filter: say(`find.filter.${k}`)})}</button>`)}
            ${narrow.length > 1 && html`<button class="small"
                onClick=${() => widen(null)}>${
                say('find.widest')}</button>`}</span>`;
}

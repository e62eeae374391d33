/*
 * Copyright (C) The Astro authors
 *
 * The payments that were begun in this window, and how far each is.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {use, who} from '../live.js';
import {get} from '../api.js';
import {moment, money} from '../format.js';

const KEPT = 20, LOOK_MS = 2000;
const OPEN = ['creating', 'ready'];

const key = () => `astro.payments.${who()?.id}`;
const kept = () => JSON.parse(sessionStorage.getItem(key()) ?? '[]');
const ears = new Set();

export function remember(id) {
    sessionStorage.setItem(key(), JSON.stringify(
        [id, ...kept().filter(x => x != id)].slice(0, KEPT)));
    for (const ear of ears) ear();
}

export function Payments() {
    const {wallet} = use();
    const [list, set] = useState([]);

    useEffect(() => {
        let here = true, looks = 0, timer;  /* the longer, the rarer */

        async function look() {
            clearTimeout(timer);

            const all = (await Promise.all(kept().map(
                id => get(`/payments/${id}`).catch(() => null))))
                .filter(Boolean);

            if (!here) return;
            set(all);
            if (all.some(p => OPEN.includes(p.state)))
                timer = setTimeout(look, LOOK_MS * ++looks);
        }

        look();
        ears.add(look);
        return () => {
            here = false;
            clearTimeout(timer);
            ears.delete(look);
        };
    }, [wallet?.balance]);

    if (list.length == 0) return null;

    return html`<section><h2>${say('payments.title')}</h2>
        <ul class="plain">${list.map(p => html`<li key=${p.id}>
            ${moment(p.created_at)}, <strong>${money(p.amount)}</strong>: ${
            known(`payments.${p.state}`) ? say(`payments.${p.state}`)
                                         : p.state}</li>`)}</ul>
    </section>`;
}

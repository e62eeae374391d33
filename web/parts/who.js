/*
 * Copyright (C) The Astro authors
 *
 * Somebody whom an operator reads of: lists say ids, accounts say whose they
 * are.  Asked for once in a window, few at a time.
 */

import {html, useEffect, useReducer} from '../vendor/preact.js';
import {get} from '../api.js';

const AT_ONCE = 3;

const names = new Map();        /* id: name, or null while it is asked for */
const queue = [];
const readers = new Set();
let asking = 0;

async function ask() {
    if (asking == AT_ONCE || queue.length == 0) return;

    const id = queue.shift();

    asking++;
    try {
        names.set(id, (await get(`/admin/users/${id}`)).name);
    } catch (e) {
        names.delete(id);
    }
    asking--;
    for (const draw of [...readers]) draw();
    ask();
}

export const knownAs = (id, name) => names.set(id, name);

export function useName(id) {
    const [, draw] = useReducer(n => n + 1, 0);

    useEffect(() => {
        readers.add(draw);
        if (id && !names.has(id)) {
            names.set(id, null);
            queue.push(id);
            ask();
        }
        return () => readers.delete(draw);
    }, [id]);
    return names.get(id) ?? id;
}

export function Who({id}) {
    const name = useName(id);

    return html`<a href="#/users/${id}" title=${id}>${name}</a>`;
}

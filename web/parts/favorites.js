/*
 * Copyright (C) The Astro authors
 *
 * Whom one keeps in mind: as a set of ids, and one's changes to it.
 */

import {useEffect, useState} from '../vendor/preact.js';
import {get} from '../api.js';

export function useFavorites() {
    const [stars, set] = useState(new Set());

    useEffect(() => {
        let here = true;

        get('/favorites?limit=200').then(
            ({data}) => here && set(new Set(data.map(a => a.id))), () => {});
        return () => { here = false; };
    }, []);

    const change = (id, on) => set(old => {
        const next = new Set(old);

        on ? next.add(id) : next.delete(id);
        return next;
    });

    return [stars, change];
}

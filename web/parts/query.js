/*
 * Copyright (C) The Astro authors
 *
 * The filters of a list as the server wants them: what is empty is left out,
 * an instant that somebody typed is one of their own zone.
 */

export function query(filters, limit = 20) {
    const q = new URLSearchParams({limit});

    for (const [key, value] of Object.entries(filters)) {
        const text = String(value).trim();

        if (!text) continue;
        q.set(key, /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text)
              ? new Date(text).toISOString() : text);
    }
    return q;
}

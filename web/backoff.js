/*
 * Copyright (C) The Astro authors
 *
 * Full jitter: anything from 0 to a most that doubles with each try, so that
 * thousands who lost the same server do not come back at once.
 */

const FIRST_MS = 400;
const MOST_MS = 15000;

/* tries: 0 for the first wait */
export const backoff = (tries, random) =>
    Math.min(MOST_MS, FIRST_MS * 2 ** tries) * random();

/* who was told that it was too much */
export const slowly = random => MOST_MS * (0.5 + random() / 2);

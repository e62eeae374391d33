/*
 * Copyright (C) The Astro authors
 *
 * What operators did, in words.
 */

import {known, say} from '../words.js';

export const sayAct = act => known(`act.${act}`) ? say(`act.${act}`)
                                                  : act.replaceAll('_', ' ');

/* {reason: "x", amount: 5} as "reason: x, amount: 5" */
export function sayDetail(detail) {
    return Object.entries(detail ?? {}).filter(([, v]) => v !== null)
        .map(([k, v]) => `${k.replaceAll('_', ' ')}: ${
            Array.isArray(v) ? v.join(' ')
            : typeof v == 'object' ? sayDetail(v) || '-' : v}`).join(', ');
}

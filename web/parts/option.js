/*
 * Copyright (C) The Astro authors
 *
 * A setting as people write it, and back: the end of its name says what it is
 * kept in (_bps, _ms, _minor).
 */

import {digits, minor} from '../format.js';

const KINDS = [
    [/_bps$/, {unit: () => '%', text: n => String(n / 100),
               value: t => read(t, 100)}],
    [/_ms$/, {unit: () => 'min', text: n => String(n / 60000),
              value: t => read(t, 60000)}],
    [/_minor$/, {unit: c => c, text: (n, c) => (n / 10 ** digits(c)).toFixed(
                    digits(c)), value: (t, c) => minor(t, c)}],
    [/_days$/, {unit: () => 'd', text: String, value: t => read(t, 1)}]
];

/* NaN: it is none */
function read(text, times) {
    return /^\s*\d{1,7}([.,]\d{1,4})?\s*$/.test(text)
        ? Math.round(+text.replace(',', '.') * times) : NaN;
}

export const kind = name => KINDS.find(([end]) => end.test(name))?.[1];

/*
 * Copyright (C) The Astro authors
 *
 * Numbers as people read them: money in its currency, times in their own zone.
 * Amounts stay whole minor units up to the moment that they are written.
 */

const kinds = new Map();

function kind(currency) {
    if (!kinds.has(currency))
        kinds.set(currency, new Intl.NumberFormat(undefined, {
            style: 'currency', currency}));
    return kinds.get(currency);
}

export const digits = currency =>
    kind(currency).resolvedOptions().maximumFractionDigits;

/* money(1250, 'INR'), money({amount, currency}) */
export function money(amount, currency) {
    if (amount === null || amount === undefined) return '';
    if (typeof amount == 'object') ({amount, currency} = amount);
    return kind(currency).format(amount / 10 ** digits(currency));
}

/* "12.50" typed by somebody, in minor units; NaN if it is no amount */
export function minor(text, currency) {
    const n = digits(currency);
    const m = /^\s*(\d{1,9})(?:[.,](\d+))?\s*$/.exec(text);

    if (!m || (m[2] ?? '').length > n) return NaN;
    return +m[1] * 10 ** n + +(m[2] ?? '').padEnd(n, '0').slice(0, n);
}

/* 1:05, 1:02:03 */
export function clock(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    const two = n => String(n).padStart(2, '0');
    const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;

    return (h ? `${h}:${two(m)}` : `${m}`) + `:${two(s % 60)}`;
}

export const time = at => new Date(at).toLocaleTimeString(
    undefined, {hour: '2-digit', minute: '2-digit'});

/* to the second: of what is charged */
export const instant = at => new Date(at).toLocaleTimeString(
    undefined, {timeStyle: 'medium'});

export const day = at => new Date(at).toLocaleDateString(
    undefined, {dateStyle: 'medium'});

/* a day of the books, which are kept in UTC: "2026-01-31" */
export const date = text => new Date(text).toLocaleDateString(
    undefined, {dateStyle: 'medium', timeZone: 'UTC'});

export const moment = at => new Date(at).toLocaleString(
    undefined, {dateStyle: 'medium', timeStyle: 'short'});

export const number = n => n === null || n === undefined ? '-'
    : n.toLocaleString(undefined, {maximumFractionDigits: 1});

/* what stands for a name in a circle; no half of a character */
export const initial = name => [...name][0] ?? '';

/* about how long: 45 s, 12 min, 2 h 5 min */
export function duration(ms) {
    const s = Math.max(0, Math.floor(ms / 1000)), m = Math.floor(s / 60);
    const unit = (n, of) => new Intl.NumberFormat(undefined, {
        style: 'unit', unit: of, unitDisplay: 'short'}).format(n);

    return m == 0 ? unit(s, 'second') : m < 60 ? unit(m, 'minute')
        : `${unit(Math.floor(m / 60), 'hour')} ${unit(m % 60, 'minute')}`;
}

const tongues = new Intl.DisplayNames(undefined, {type: 'language'});

/* a tag of a language ("hi") by its name; a name as it is */
export const tongue = tag => /^[a-z]{2,3}(-|$)/.test(tag) ? tongues.of(tag)
                                                          : tag;

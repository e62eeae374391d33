/*
 * Copyright (C) The Astro authors
 *
 * Whether the books are right, as far as anybody has looked, and what waits
 * for somebody to look at it, with the command that tells more.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {get} from '../api.js';
import {moment, number} from '../format.js';
import {Wait, useData, useEvery} from '../ui.js';

const EVERY_MS = 10000;


export function Books() {
    const of = useData(() => get('/admin/books'));

    useEvery(EVERY_MS, of.again);

    return html`<section><h2>${say('books.title')}</h2>
        <${Wait} of=${of}>${of.data && html`<ul class="plain">${
            rows(of.data).map(([bad, text]) => html`<li class=${bad
                ? 'wrong' : ''}>${text}</li>`)}</ul>`}</${Wait}></section>`;
}

function rows({audit, reconcile, webhooks, calls}) {
    return [
        !audit ? [false, say('live.unaudited')]
        : [audit.violations > 0, say(audit.violations ? 'books.wrong'
                                                      : 'books.right', {
            when: moment(audit.at), n: number(audit.violations),
            said: audit.said, sessions: number(audit.sessions),
            transfers: number(audit.transfers)})],
        [false, !reconcile ? say('books.unasked')
         : reconcile.finished_at ? say('books.asked', {
             when: moment(reconcile.finished_at)})
         : say('books.asking', {when: moment(reconcile.begun_at)})],
        [webhooks.parked > 0, say(webhooks.parked ? 'books.webhooks.parked'
                                                  : 'books.webhooks', {
            parked: number(webhooks.parked),
            waiting: number(webhooks.waiting)})],
        [calls.parked > 0, say(calls.parked ? 'books.calls.parked'
                                            : 'books.calls', {
            parked: number(calls.parked), waiting: number(calls.waiting)})]
    ];
}

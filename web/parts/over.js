/*
 * Copyright (C) The Astro authors
 *
 * What a consultation came to, and how it was.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {get, post} from '../api.js';
import {clock, money} from '../format.js';
import {Act} from '../ui.js';

export function sayReason(reason, name) {
    const key = `reason.${reason}`;

    return known(key) ? say(key, {name}) : reason ?? '';
}

export function Over({session: s, name, client}) {
    const ms = s.totals?.billed_ms ?? s.billed_ms;
    const charged = s.totals?.charged ?? s.charged;

    return html`<div class="narrow">
        <h1>${say('session.ended')}</h1>
        <p role="status">${sayReason(s.reason, name)} ${charged > 0
            ? say('session.total', {time: clock(ms),
                                    money: money(charged, s.rate.currency)})
            : say('session.free')}</p>
        ${client && ms > 0 && html`<${Review} session=${s.session} />`}
        <p><a href="#/">${say('session.back')}</a></p>
    </div>`;
}

export function Review({session}) {
    const [had, setHad] = useState(undefined);
    const [rating, setRating] = useState(0);
    const [text, setText] = useState('');

    useEffect(() => {
        get(`/sessions/${session}/review`).then(setHad, () => setHad(null));
    }, [session]);

    if (had === undefined) return null;
    if (had) return html`<p role="status">${say('review.thanks')} ${
        '★'.repeat(had.rating)}</p>`;

    return html`<form onSubmit=${e => e.preventDefault()}>
        <fieldset class="stars"><legend>${say('review.title')}</legend>
            ${[1, 2, 3, 4, 5].map(n => html`<label class=${
                n <= rating ? 'lit' : ''}><input type="radio" name="rating"
                value=${n} checked=${rating == n}
                onChange=${() => setRating(n)} /><span aria-hidden="true"
                >★</span><span class="unseen">${
                say('review.stars', {n})}</span></label>`)}
        </fieldset>
        <label>${say('review.text')}<textarea rows="3" maxlength="2000"
            onInput=${e => setText(e.target.value)}>${text}</textarea></label>
        <${Act} disabled=${!rating} does=${async () => setHad(
            await post(`/sessions/${session}/review`, {rating, text}))}>${
            say('review.send')}</${Act}>
    </form>`;
}

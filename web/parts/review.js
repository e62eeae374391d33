/*
 * Copyright (C) The Astro authors
 *
 * How a consultation was: said once, changed as often as one likes.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, post, put} from '../api.js';
import {Act} from '../ui.js';

const WAITS_MS = 1000, TRIES = 10;

/* it is over a moment before the books are: then it can be reviewed */
async function settled(does) {
    for (let n = 0; ; n++) {
        try {
            return await does();
        } catch (e) {
            if (e.code != 'session_state' || n == TRIES) throw e;
            await new Promise(ok => setTimeout(ok, WAITS_MS));
        }
    }
}

export function Review({session}) {
    const [had, setHad] = useState(undefined);
    const [edits, edit] = useState(false);
    const path = `/sessions/${session}/review`;

    useEffect(() => {
        let here = true;

        get(path).then(r => here && setHad(r), () => here && setHad(null));
        return () => { here = false; };
    }, [path]);

    if (had === undefined) return null;
    if (had && !edits)
        return html`<section class="review"><h2>${say('review.yours')}</h2>
            <p><strong aria-hidden="true">${'★'.repeat(had.rating)}</strong>
                <span class="unseen">${say('review.stars', {n: had.rating})
                }</span></p>
            ${had.text && html`<p class="prose">${had.text}</p>`}
            ${had.reply && html`<blockquote>${had.reply}</blockquote>`}
            ${had.hidden && html`<p>${say('review.hidden')}</p>`}
            <p role="status">${say('review.thanks')}</p>
            <button class="secondary small" onClick=${() => edit(true)}>${
                say('review.edit')}</button></section>`;

    return html`<${Form} of=${had} path=${path} onDone=${r => {
        setHad(r);
        edit(false);
    }} />`;
}

function Form({of, path, onDone}) {
    const [rating, setRating] = useState(of?.rating ?? 0);
    const [text, setText] = useState(of?.text ?? '');

    return html`<form class="review" onSubmit=${e => e.preventDefault()}>
        <fieldset class="stars"><legend>${say('review.title')}</legend>
            ${[1, 2, 3, 4, 5].map(n => html`<label class=${
                n <= rating ? 'lit' : ''}><input type="radio" name="rating"
                value=${n} checked=${rating == n}
                onChange=${() => setRating(n)} /><span aria-hidden="true"
                >★</span><span class="unseen">${
                say('review.stars', {n})}</span></label>`)}
        </fieldset>
        <label>${say('review.text')}<textarea rows="3" maxlength="2000"
            value=${text} onInput=${e => setText(e.currentTarget.value)}
            ></textarea></label>
        <${Act} disabled=${!rating} does=${async () => onDone(await settled(
            () => (of ? put : post)(path, {rating, text})))}>${
            say('review.send')}</${Act}>
    </form>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * Asks once before something is done that others will want to know of: what
 * comes of it in words, and why.  What went wrong is said where one looks.
 */

import {html, useState} from '../vendor/preact.js';
import {say, sayError} from '../words.js';
import {Act, Dialog, Field} from '../ui.js';

/*
 * does(reason) with what was written; text: what comes of it; yes: what the
 * button says; free: no reason is needed; ready: the other fields are right.
 */
export function Why({title, text, yes = title, does, onClose, children,
                     free = false, ready = true}) {
    const [reason, set] = useState('');
    const [error, setError] = useState(null);

    return html`<${Dialog} title=${title} onClose=${onClose}>
        <form onSubmit=${e => e.preventDefault()}>
        ${text && html`<p>${text}</p>`}
        ${children}
        ${!free && html`<${Field} label=${say('why.reason')} value=${reason}
            maxlength="500" onInput=${e => set(e.target.value)} />`}
        ${error && html`<p class="wrong" role="alert">${sayError(error)}</p>`}
        <footer class="row">
            <button type="button" class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} disabled=${!ready || !free && !reason.trim()}
                does=${async () => {
                    setError(null);
                    try {
                        await does(reason.trim());
                    } catch (e) {
                        return setError(e);
                    }
                    onClose();
                }}>${yes}</${Act}>
        </footer></form>
    </${Dialog}>`;
}

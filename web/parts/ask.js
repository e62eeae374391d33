/*
 * Copyright (C) The Astro authors
 *
 * Asks why before something is done that others will want to know of.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {Act, Dialog, Field} from '../ui.js';

/* does(reason) with what was written; children: more fields */
export function Why({title, does, onClose, children}) {
    const [reason, set] = useState('');

    return html`<${Dialog} title=${title} onClose=${onClose}>
        ${children}
        <${Field} label=${say('why.reason')} value=${reason} maxlength="500"
                  onInput=${e => set(e.target.value)} />
        <footer class="row">
            <button class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} disabled=${!reason.trim()} does=${async () => {
                await does(reason.trim());
                onClose();
            }}>${title}</${Act}>
        </footer>
    </${Dialog}>`;
}

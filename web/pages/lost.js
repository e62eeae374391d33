/*
 * Copyright (C) The Astro authors
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {useTitle} from '../ui.js';

export default function Lost() {
    useTitle(null);
    return html`<h1>${say('app.where')}</h1>
        <p><a href="#/">${say('app.back')}</a></p>`;
}

/*
 * Copyright (C) The Astro authors
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {Dialog} from '../ui.js';

export function TopUp({onClose}) {
    return html`<${Dialog} title=${say('session.topup')} onClose=${onClose} />`;
}

/*
 * Copyright (C) The Astro authors
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';

export function EmojiButton({onPick}) {
    return html`<button type="button" class="plain" aria-label=${
        say('chat.emoji')} onClick=${() => onPick('😊')}>😊</button>`;
}

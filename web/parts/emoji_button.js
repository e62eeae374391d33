/*
 * Copyright (C) The Astro authors
 *
 * The picker of emoji beside a text field.
 */

import {html, useEffect, useRef} from '../vendor/preact.js';
import {say} from '../words.js';
import {attach} from '../emoji.js';

export function EmojiButton({field}) {
    const button = useRef(null);

    useEffect(() => { attach(button.current, field.current); }, []);

    return html`<button type="button" class="plain" ref=${button}
        aria-label=${say('chat.emoji')}>😊</button>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * Of a demonstration: one line that says what to do next, and the door to
 * whoever is still missing.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {mine, now, rings, use} from '../live.js';
import {door, first, openDoor, usePeople} from '../demo.js';

/* what to say at which page, and whose window is opened from there */
function next(at) {
    const {user, online} = use();

    if (mine()) return mine().state == 'ringing' ? ['hint.ringing'] : null;
    if (rings().length) return null;
    if (user.role == 'client' && at == 'find')
        return [...online.values()].some(Boolean)
            ? ['hint.call'] : ['hint.nobody', 'advisor'];
    if (user.role == 'advisor' && at == 'desk')
        return ['hint.wait', 'client'];
    if (user.role == 'admin' && at == 'live' && now.user)
        return ['hint.watch', 'client'];
    return null;
}

export default function Hint({at}) {
    const people = usePeople();
    const what = next(at);
    const person = what?.[1] && first(people, what[1]);

    if (!what || !people.length) return null;

    return html`<p class="hint" role="region"
        aria-label=${say('hint.title')}>${say(what[0])}${person
        && html` <a href=${door(person)} target="_blank" rel="noopener"
            onClick=${e => openDoor(e, person)}>${
            say(`hint.open.${what[1]}`)}</a>`}</p>`;
}

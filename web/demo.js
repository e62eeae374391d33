/*
 * Copyright (C) The Astro authors
 *
 * A demonstration (make run) has demo.json beside these pages: {people: [{name,
 * role, email, password}], pay: where its payments are paid}.  Elsewhere there
 * is none, and nothing of this shows.
 */

import {useEffect, useState} from './vendor/preact.js';

export const demo = fetch('demo.json')
    .then(a => a.status == 200 ? a.json() : {}).catch(() => ({}));

/* its people; none before it is known */
export function usePeople() {
    const [people, set] = useState([]);

    useEffect(() => { demo.then(d => set(d.people ?? [])); }, []);
    return people;
}

/* the first of a role is the one whose window the buttons open */
export const first = (people, role) => people.find(p => p.role == role);

const AS = '#/as/';

export const door = person => AS + encodeURIComponent(person.email);

/* whose window this one is to be */
export function invited(people) {
    return location.hash.startsWith(AS)
        ? people.find(p => door(p) == location.hash) : undefined;
}

/*
 * A window of one's own: what it keeps it shares with no other (noopener), so
 * that two windows are two people.  Client and advisor side by side.
 */
export function openDoor(event, person) {
    const {availWidth: w, availHeight: h, availLeft: x = 0,
           availTop: y = 0} = screen;
    const left = person.role == 'advisor' ? x + Math.floor(w / 2) : x;

    event.preventDefault();
    open(door(person), '_blank', person.role == 'admin' ? 'noopener'
        : `noopener,width=${Math.floor(w / 2)},height=${h},left=${left},`
          + `top=${y}`);
}

/*
 * Copyright (C) The Astro authors
 *
 * Who of those that are shown is busy.  The line says who comes and goes at
 * once; that somebody is in a consultation it does not say, so the page asks
 * for what it shows again, now and then, while it is looked at.
 */

import {useEffect} from '../vendor/preact.js';
import {change, now} from '../live.js';
import {get} from '../api.js';

const EVERY_MS = 15000;
const busy = new Map();             /* advisor: boolean, as heard last */

export const isBusy = advisor => busy.get(advisor.id) ?? advisor.busy;

export function heard(advisors) {
    for (const a of advisors) busy.set(a.id, a.busy);
    change({});
}

/* somebody was refused for being busy, or is in a session with us no more */
export function sayBusy(id, is) {
    busy.set(id, is);
    change({});
}

/* path: a list of advisors, or one */
export function useStatus(path) {
    useEffect(() => {
        let here = true;

        async function look() {
            if (document.visibilityState != 'visible' || now.line != 'ready')
                return;

            const answer = await get(path).catch(() => null);

            if (here && answer) heard(answer.data ?? [answer]);
        }

        const timer = setInterval(look, EVERY_MS);

        document.addEventListener('visibilitychange', look);
        return () => {
            here = false;
            clearInterval(timer);
            document.removeEventListener('visibilitychange', look);
        };
    }, [path]);
}

/*
 * Copyright (C) The Astro authors
 *
 * A key for something that must not happen twice.  It is kept for as long as
 * nobody knows what came of it: asked for again, it is the same thing.  Done,
 * or refused, or asked for with something else in it (on), it is a new one.
 */

import {useEffect, useRef} from '../vendor/preact.js';

export function useOnce(on = []) {
    const key = useRef(null);

    useEffect(() => { key.current = null; }, on);

    return async does => {
        key.current ??= crypto.randomUUID();

        try {
            const answer = await does(key.current);

            key.current = null;
            return answer;
        } catch (e) {
            if (e.code != 'offline' && !e.retry) key.current = null;
            throw e;
        }
    };
}

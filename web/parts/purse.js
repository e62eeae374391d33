/*
 * Copyright (C) The Astro authors
 *
 * The wallet's figures, asked for when they may have changed: during a
 * consultation the line says them, at other times nobody does.
 */

import {useEffect} from '../vendor/preact.js';
import {change, now, use} from '../live.js';
import {get} from '../api.js';

const EVERY_MS = 10000;
let asked = 0;

export async function lookIntoPurse() {
    const mine = ++asked;
    const w = await get('/wallet');
    const is = Object.fromEntries(['balance', 'held', 'available'].map(
        k => [k, w[k].amount]));

    /* the answer to the last question, and only if it says something new */
    if (mine == asked && Object.keys(is).some(
        k => is[k] != now.wallet?.[k])) change({wallet: is});
    return w;
}

/* for as long as a page shows it */
export function usePurse() {
    const {notices} = use();

    useEffect(() => {
        const look = () => document.visibilityState == 'visible'
            && lookIntoPurse().catch(() => {});
        const timer = setInterval(look, EVERY_MS);

        look();
        document.addEventListener('visibilitychange', look);
        return () => {
            clearInterval(timer);
            document.removeEventListener('visibilitychange', look);
        };
    }, [notices[0]?.id]);
}

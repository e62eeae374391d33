/*
 * Copyright (C) The Astro authors
 *
 * The figures that the server tells admins who ask, as they were told: kept
 * for as long as the window is there, so that a page that is left, a
 * connection that is lost and an nginx that is loaded anew cost no more than
 * the time that they took.
 */

import {useEffect, useReducer} from '../vendor/preact.js';
import {line, use} from '../live.js';

const KEEP_MS = 15 * 60000;

let told = {who: null, figures: []};


/* {figures, heard}: heard is when the last came, by this window's clock */
export function useFigures() {
    const {line: state, user} = use();
    const [, draw] = useReducer(n => n + 1, 0);

    if (told.who != user.id) told = {who: user.id, figures: []};

    useEffect(() => {
        if (!line || state != 'ready') return;

        /* refused for a moment, as after a reload: the next hello asks again */
        const again = setInterval(() => {
            if (Date.now() - (told.heard ?? 0) > 8000) ask();
        }, 8000);
        const ask = () => line?.ask('admin_metrics', {on: true})
            .catch(() => {});

        ask();
        return () => clearInterval(again);
    }, [line, state]);

    useEffect(() => {
        const off = line?.on('admin_metrics', ({payload}) => {
            const from = payload.at - KEEP_MS;

            told.heard = Date.now();
            told.figures = [...told.figures.filter(
                f => f.at >= from && f.at < payload.at), payload];
            draw();
        });

        return () => {
            off?.();
            if (line?.state == 'ready')
                line.ask('admin_metrics', {on: false}).catch(() => {});
        };
    }, [line]);

    return told;
}

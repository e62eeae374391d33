/*
 * Copyright (C) The Astro authors
 *
 * Lines over time, by uPlot, fetched when somebody looks.  What nobody knows,
 * and time in which nothing was told, is a gap in the line; its label says the
 * last values in words.
 */

import {html, useEffect, useRef} from '../vendor/preact.js';
import {number, time} from '../format.js';

const COLOURS = ['#5b6be0', '#17966b', '#c77700', '#c23b7e', '#3a8fb7',
                 '#8a6d3b', '#7a7a7a', '#a04040'];
const SILENT_MS = 7000;
const HEIGHT = 170;


/* rows of uPlot's: times in seconds, and a list of values for each series */
export function data(of, series) {
    const out = [[], ...series.map(() => [])];
    let before = null;

    for (const f of of) {
        if (before !== null && f.at - before > SILENT_MS) {
            out[0].push((before + 1) / 1000);
            for (const list of out.slice(1)) list.push(null);
        }
        out[0].push(f.at / 1000);
        series.forEach(([, value], i) => out[i + 1].push(value(f) ?? null));
        before = f.at;
    }
    return out;
}

const gaps = of => of.filter((f, i) => i && f.at - of[i - 1].at > SILENT_MS)
    .length;

/* seconds are of use only while there are few minutes */
const clock = (u, at) => at.map(s => at.at(-1) - at[0] < 120
    ? new Date(s * 1000).toLocaleTimeString() : time(s * 1000));

/* series: [name, figure => value or null]; unit: value => text */
export function Chart({title, of, series, unit = number}) {
    const box = useRef(null), plot = useRef(null);
    const names = series.map(([name]) => name).join('\n');

    useEffect(() => {
        let here = true;

        sheet();
        import('../vendor/uplot.js').then(({default: Plot}) => {
            if (!here) return;

            /* asked for at each drawing: dark may become light */
            const ink = () => getComputedStyle(box.current).color;
            const axis = {stroke: ink, grid: {stroke: '#8884', width: 1},
                          ticks: {stroke: '#8884'}};

            plot.current = new Plot({
                width: box.current.clientWidth, height: HEIGHT,
                legend: {show: series.length > 1, live: false},
                cursor: {show: false},
                scales: {y: {range: (u, from, to) => [
                    Math.min(0, from ?? 0), Math.max(to ?? 0, 1) * 1.1]}},
                axes: [{...axis, values: clock, space: 90},
                       {...axis, size: 64,
                        values: (u, at) => at.map(n => unit(n))}],
                series: [{}, ...series.map(([label], i) => ({
                    label, stroke: COLOURS[i % COLOURS.length], width: 2,
                    points: {size: 4}}))]
            }, data(of, series), box.current);
        }, () => {});

        /* drawn with the next picture: it may not change while it is seen */
        const wide = new ResizeObserver(([e]) => requestAnimationFrame(
            () => plot.current?.setSize({width: e.contentRect.width,
                                         height: HEIGHT})));

        wide.observe(box.current);
        return () => {
            here = false;
            wide.disconnect();
            plot.current?.destroy();
            plot.current = null;
        };
    }, [names]);

    useEffect(() => plot.current?.setData(data(of, series)), [of]);

    return html`<section><h2>${title}</h2>
        <div ref=${box} class="chart" data-points=${of.length}
            data-gaps=${gaps(of)} role="img" aria-label="${title}: ${
            series.map(([name, value]) => `${name} ${
                unit(value(of.at(-1)))}`).join(', ')}"></div></section>`;
}

function sheet() {
    if (document.getElementById('uplot-css')) return;

    const link = document.createElement('link');

    Object.assign(link, {id: 'uplot-css', rel: 'stylesheet',
                         href: 'vendor/uplot.css'});
    document.head.append(link);
}

/*
 * Copyright (C) The Astro authors
 *
 * How the system is doing, every two seconds, as the server tells admins who
 * ask.  "-" is what nobody knows at the moment, as when Redis is away.
 */

import {html, useEffect, useRef, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {line, use} from '../live.js';
import {money, number} from '../format.js';
import {useTitle} from '../ui.js';

const KEEP = 300;               /* ten minutes */
const LATE_MS = 6000;


/* asked for anew after each hello, so that a reconnect misses little */
function useFigures() {
    const {line: state} = use();
    const [all, set] = useState([]);

    useEffect(() => {
        if (!line || state != 'ready') return;
        line.ask('admin_metrics', {on: true}).catch(() => {});
    }, [state]);

    useEffect(() => {
        const off = line?.on('admin_metrics', m => set(
            old => [...old, m.payload].slice(-KEEP)));

        return () => {
            off?.();
            if (line?.state == 'ready')
                line.ask('admin_metrics', {on: false}).catch(() => {});
        };
    }, [line]);

    return all;
}

const sum = list => list.reduce((n, x) => n + x, 0);

export default function Live() {
    const all = useFigures();
    const {user} = use();
    const last = all.at(-1);

    useTitle(say('nav.admin'));
    if (!last) return html`<h1>${say('nav.admin')}</h1>
        <p role="status" aria-busy="true">${say('app.loading')}</p>`;

    const {host, billing: b} = last;
    const open = sum(host.workers.map(w => w.connections));
    const sessions = b ? sum(Object.values(b.sessions)) : null;
    const late = Date.now() - last.at > LATE_MS;

    const tiles = [
        ['connections', open], ['sessions', sessions],
        ['messages', host.messages_in_s], ['requests', host.requests_s],
        ['ticks', b?.ticks_s], ['lag', b?.tick_lag_p99_ms, b?.tick_lag_p99_ms
                                                           > 1000],
        ['revenue', b?.charged_minute === null || !b ? null
                    : money(b.charged_minute, user.currency)],
        ['outbox', b?.outbox_waiting], ['parked', b?.outbox_parked,
                                        b?.outbox_parked > 0],
        ['nodes', host.nodes], ['billers', b?.workers ?? 0, !b],
        ['pg', host.pg_up, host.pg_up < 3 * host.workers.length],
        ['redis', host.redis_up, host.redis_up < 2 * host.workers.length]];

    return html`<h1>${say('nav.admin')}</h1>
        ${late && html`<p class="banner" role="alert">${say('live.late')}</p>`}
        <dl class="tiles">${tiles.map(([k, v, bad]) => html`
            <div class="tile ${bad ? 'bad' : ''}"><dt>${say(`live.${k}`)}</dt>
            <dd>${typeof v == 'string' ? v : number(v)}</dd></div>`)}</dl>
        <div class="charts">
            <${Chart} title=${say('live.connections')} of=${all}
                series=${host.workers.map(w => [say('live.worker',
                    {n: w.worker}), f => f.host.workers.find(
                    x => x.worker == w.worker)?.connections])} />
            <${Chart} title=${say('live.messages')} of=${all} series=${[
                [say('live.in'), f => f.host.messages_in_s],
                [say('live.out'), f => f.host.messages_out_s]]} />
            <${Chart} title=${say('live.ticks')} of=${all} series=${[
                [say('live.ticks'), f => f.billing?.ticks_s]]} />
            <${Chart} title=${say('live.lag')} of=${all} series=${[
                [say('live.lag'), f => f.billing?.tick_lag_p99_ms]]} />
        </div>
        <div class="charts">
            <${Table} title=${say('live.states')} of=${b?.sessions ?? {}} />
            <${Table} title=${say('live.closes')} of=${host.closes} />
            <${Table} title=${say('live.workers')} of=${Object.fromEntries(
                host.workers.map(w => [say('live.worker', {n: w.worker}),
                                       w.connections]))} />
        </div>`;
}

function Table({title, of}) {
    const rows = Object.entries(of);

    return html`<section><h2>${title}</h2>${rows.length == 0
        ? html`<p>${say('app.nothing')}</p>`
        : html`<table><tbody>${rows.map(([k, n]) => html`<tr>
            <th scope="row">${k}</th><td class="n">${number(n)}</td></tr>`)}
        </tbody></table>`}</section>`;
}


const COLOURS = ['#5b6be0', '#1b9e77', '#d98200', '#c23b7e', '#7a7a7a'];

/* uPlot, fetched when somebody looks; a table says the same in words */
function Chart({title, of, series}) {
    const box = useRef(null), plot = useRef(null);

    useEffect(() => {
        let here = true;

        sheet();
        import('../vendor/uplot.js').then(({default: Plot}) => {
            if (!here) return;

            const ink = getComputedStyle(box.current).color;
            const axis = {stroke: ink, grid: {stroke: '#8884', width: 1},
                          ticks: {stroke: '#8884'}};

            plot.current = new Plot({
                width: box.current.clientWidth, height: 160,
                legend: {show: series.length > 1}, cursor: {show: false},
                axes: [axis, {...axis, size: 50}],
                series: [{}, ...series.map(([label], i) => ({
                    label, stroke: COLOURS[i % COLOURS.length], width: 2,
                    points: {show: false}}))]
            }, data(of, series), box.current);
        }, () => {});

        const wide = new ResizeObserver(([e]) => plot.current?.setSize(
            {width: e.contentRect.width, height: 160}));

        wide.observe(box.current);
        return () => {
            here = false;
            wide.disconnect();
            plot.current?.destroy();
            plot.current = null;
        };
    }, [series.length]);

    useEffect(() => plot.current?.setData(data(of, series)), [of]);

    return html`<section><h2>${title}</h2>
        <div ref=${box} role="img" aria-label="${title}: ${series.map(
            ([name, f]) => `${name} ${number(f(of.at(-1)))}`).join(', ')}"
        ></div></section>`;
}

const data = (of, series) => [of.map(f => f.at / 1000),
                              ...series.map(([, f]) => of.map(x => f(x)
                                                              ?? null))];

function sheet() {
    if (document.getElementById('uplot-css')) return;

    const link = document.createElement('link');

    Object.assign(link, {id: 'uplot-css', rel: 'stylesheet',
                         href: 'vendor/uplot.css'});
    document.head.append(link);
}

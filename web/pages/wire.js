/*
 * Copyright (C) The Astro authors
 *
 * The protocol as it passes by, and ways to break it: what is lost here is
 * seen to come back by itself.
 */

import {html, useEffect, useReducer, useRef, useState}
    from '../vendor/preact.js';
import {say} from '../words.js';
import {line, use} from '../live.js';
import {Act, useTitle} from '../ui.js';

const MOST = 300;
const HIDE = /"(token|credential|refresh_token)":"[^"]*"/g;

const shown = frame => JSON.stringify(frame).replace(HIDE, '"$1":"…"');

export default function Wire() {
    const {line: state, user} = use();
    const [, draw] = useReducer(n => n + 1, 0);
    const [quiet, hush] = useState(true);
    const all = useRef([]);
    const counts = useRef({events: 0, repeats: 0, gaps: 0});
    const last = useRef(new Map());

    useTitle(say('nav.wire'));

    const note = (kind, text) => {
        all.current = [...all.current, {kind, text, at: new Date()}]
                      .slice(-MOST);
        draw();
    };

    useEffect(() => {
        if (!line) return;

        const offs = [
            line.on('sent', f => (quiet && f.type == 'pong')
                    || note('out', `→ ${shown(f)}`)),
            line.on('heard', f => (quiet && f.type == 'ping')
                    || note('in', `← ${shown(f)}`)),
            line.on('closed', code => note('note', say('wire.closed',
                                                       {code}))),
            line.on('state', s => note('note', say(`line.${s}`))),
            line.on('*', m => count(m))];

        return () => offs.forEach(off => off());
    }, [line, quiet]);

    /* what the pages were told: never twice, never with a gap */
    function count(m) {
        if (m.seq === undefined) return;

        const c = counts.current, before = last.current.get(m.conv);

        c.events++;
        if (before !== undefined && m.seq <= before) c.repeats++;
        if (before !== undefined && m.seq > before + 1) c.gaps++;
        last.current.set(m.conv, m.seq);
    }

    return html`<h1>${say('nav.wire')}</h1>
        <p>${say('wire.lead')}</p>
        <p class="row">
            <${Act} class="secondary" does=${() => line.ws?.close(3000)}>${
                say('wire.drop')}</${Act}>
            <${Act} class="secondary" does=${async () => {
                line.drop();
                line.become('connecting');
                await line.connect(false);
            }}>${say('wire.cut')}</${Act}>
            <${Act} class="secondary" does=${async () => {
                for (const k of line.kept) line.carry(k);
                const [conv] = line.last.keys();
                if (conv) await line.ask('sync', {
                    conv, after: Math.max(0, line.last.get(conv) - 3)});
            }}>${say('wire.twice')}</${Act}>
            <label class="check"><input type="checkbox" checked=${quiet}
                onChange=${e => hush(e.target.checked)} />${
                say('wire.quiet')}</label>
        </p>
        <dl class="tiles">
            ${[['events', counts.current.events], ['repeats',
               counts.current.repeats], ['gaps', counts.current.gaps],
               ['kept', line?.kept.length ?? 0]].map(([k, n]) => html`
                <div class="tile ${n && /repeats|gaps/.test(k) ? 'bad' : ''}">
                <dt>${say(`wire.${k}`)}</dt><dd>${n}</dd></div>`)}
        </dl>
        <ol class="frames" tabindex="0" aria-label=${say('nav.wire')}>
            ${all.current.map(f => html`<li class=${f.kind}><time>${
                f.at.toISOString().slice(11, 23)}</time> ${f.text}</li>`)}
        </ol>`;
}

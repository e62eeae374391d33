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
import {Act, Field, useTitle} from '../ui.js';
import {Tally, again, allowed, burst, drain} from '../parts/trial.js';

const MOST = 300;
const HIDE = /("(?:token|credential|refresh_token)":\s*)"[^"]*"/g;

const shown = (frame, pretty) => JSON.stringify(frame, null, pretty ? 2 : 0)
    .replace(HIDE, '$1"…"');


/* what passed by: the last of it, drawn no more often than the screen is */
function useFrames() {
    const [, draw] = useReducer(n => n + 1, 0);
    const all = useRef([]);
    const still = useRef(false);
    const due = useRef(0);

    function later() {
        due.current ||= requestAnimationFrame(() => { due.current = 0;
                                                      draw(); });
    }

    function note(kind, what) {
        if (still.current) return;
        all.current.push({kind, what, at: new Date(), n: ++useFrames.n});
        if (all.current.length > MOST) all.current.shift();
        later();
    }

    useEffect(() => {
        if (!line) return;

        const offs = [
            line.on('sent', f => note('out', f)),
            line.on('heard', f => note('in', f)),
            line.on('closed', code => note('note', say('wire.closed',
                                                       {code}))),
            line.on('state', s => note('note', say(`line.${s}`)))];

        return () => {
            offs.forEach(off => off());
            cancelAnimationFrame(due.current);
        };
    }, [line]);

    return {all: all.current, still, later, clear: () => {
        all.current = [];
        later();
    }};
}

useFrames.n = 0;


export default function Wire() {
    const frames = useFrames();
    const [may, allow] = useState(false);
    const [tally, count] = useState(null);

    use();
    useTitle(say('nav.wire'));
    useEffect(() => { allowed().then(allow); }, []);
    useEffect(() => {
        if (!line) return;

        const t = new Tally(frames.later);

        count(t);
        return () => t.close();
    }, [line]);

    return html`<h1>${say('nav.wire')}</h1>
        <p class="lead">${say('wire.lead')}</p>
        ${tally && (may ? html`<${Trials} tally=${tally} />`
                        : html`<p>${say('wire.demo')}</p>`)}
        ${tally && html`<${Sums} of=${tally.sums} />`}
        <${Frames} of=${frames} />`;
}

function Sums({of}) {
    return html`<dl class="tiles sums">
        ${['sent', 'stored', 'shown', 'lost', 'twice'].map(k => html`
            <div key=${k} class="tile ${of[k] && /lost|twice/.test(k)
                ? 'bad' : ''}"><dt>${say(`wire.${k}`)}</dt>
            <dd data-sum=${k}>${of[k]}</dd></div>`)}
    </dl>`;
}


function Trials({tally}) {
    const [said, set] = useState('');

    async function all() {
        set(say('wire.busy'));

        const came = await burst().catch(e => { set(''); throw e; });

        set(came ? say('wire.came', {...came, ...tally.sums, sent: came.sent,
                                     stored: came.stored,
                                     s: (came.ms / 1000).toFixed(1)})
                 : say('wire.nothing'));
    }

    async function twice() {
        const came = await again(tally);

        set(came ? say('wire.dup', {type: came.type, seq: came.reply.seq ?? ''})
                 : say('wire.unsent'));
    }

    return html`<div class="row">
            <${Act} does=${all}>${say('wire.burst')}</${Act}>
            <${Act} class="secondary" does=${async () => line.cut()}>${
                say('wire.drop')}</${Act}>
            <${Act} class="secondary" does=${drain}>${
                say('wire.drain')}</${Act}>
            <${Act} class="secondary" does=${twice}>${
                say('wire.again')}</${Act}>
        </div>
        <p role="status" class="trial">${said}</p>`;
}


function Frames({of}) {
    const [find, look] = useState('');
    const [pretty, format] = useState(false);
    const [quiet, hush] = useState(true);
    const [still, stop] = useState(false);
    const box = useRef(null);
    const end = useRef(true);

    of.still.current = still;

    /* what is new is seen, unless one looks at what was */
    useEffect(() => {
        if (end.current) box.current.scrollTop = box.current.scrollHeight;
    });

    const word = find.trim().toLowerCase();
    const rows = of.all.map(f => ({...f, text: f.kind == 'note' ? f.what
        : shown(f.what, pretty)})).filter(f =>
        !(quiet && /^p[io]ng$/.test(f.what.type))
        && f.text.toLowerCase().includes(word));

    const check = (label, on, set) => html`<label class="check"><input
        type="checkbox" checked=${on} onChange=${e => set(e.target.checked)}
        />${say(label)}</label>`;

    return html`<section><h2>${say('wire.frames')}</h2>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('wire.find')} type="search" value=${find}
                onInput=${e => look(e.target.value)} />
            ${check('wire.pause', still, stop)}
            ${check('wire.pretty', pretty, format)}
            ${check('wire.quiet', quiet, hush)}
            <p><button type="button" class="secondary small"
                onClick=${of.clear}>${say('wire.clear')}</button></p>
        </form>
        <ol class="frames" tabindex="0" aria-label=${say('wire.frames')}
            ref=${box} onScroll=${e => {
                const b = e.currentTarget;
                end.current = b.scrollHeight - b.scrollTop
                              - b.clientHeight < 40;
            }}>
            ${rows.length == 0 && html`<li>${say('wire.none')}</li>`}
            ${rows.map(f => html`<li key=${f.n} class=${f.kind}><time>${
                f.at.toISOString().slice(11, 23)}</time> ${
                {in: '←', out: '→', note: '·'}[f.kind]} ${f.text}</li>`)}
        </ol>
    </section>`;
}

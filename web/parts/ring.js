/*
 * Copyright (C) The Astro authors
 *
 * Somebody wants to talk: on every window of the advisor, until one answers or
 * the time is over.  The focus is at the question, not at an answer: a key
 * that was meant for the page beneath accepts nothing.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {line, nameOf, now, rings, use} from '../live.js';
import {money} from '../format.js';
import {Act, Dialog} from '../ui.js';
import {go} from '../app.js';


const QUIET = 'astro.quiet';
const BLINK_MS = 1200;
const RING_S = 45;                  /* then it is missed */

/* whether this browser's rings are to be heard: of all its windows */
export function useSound() {
    const [on, set] = useState(() => !localStorage.getItem(QUIET));

    return [on, loud => {
        if (loud) localStorage.removeItem(QUIET);
        else localStorage.setItem(QUIET, '1');
        set(loud);
    }];
}

export function Sound({on, set}) {
    return html`<label class="check"><input type="checkbox" checked=${on}
        onChange=${e => set(e.target.checked)} />${say('ring.sound')}</label>`;
}

/* two soft notes, made here: no file, and none before somebody has clicked */
function useNotes(on) {
    useEffect(() => {
        if (!on || !navigator.userActivation?.hasBeenActive) return;

        const audio = new AudioContext(), begin = audio.currentTime;
        const note = (hz, at) => {
            const tone = audio.createOscillator(), loud = audio.createGain();

            tone.frequency.value = hz;
            loud.gain.setValueAtTime(0.12, begin + at);
            loud.gain.exponentialRampToValueAtTime(0.001, begin + at + 0.5);
            tone.connect(loud).connect(audio.destination);
            tone.start(begin + at);
            tone.stop(begin + at + 0.5);
        };
        /* all at once: a window that is not seen has a timer a minute */
        for (let at = 0; at < RING_S; at += 2.5) {
            note(660, at);
            note(880, at + 0.25);
        }
        return () => { audio.close(); };
    }, [on]);
}

/* The tab says it by turns with its page's own title; that is put back. */
function useBlink(title) {
    useEffect(() => {
        if (!title) return;

        const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
        let own = document.title;

        const turn = () => {
            if (document.title != title) {
                own = document.title;
                document.title = title;
            } else if (!still) document.title = own;
        };
        const timer = setInterval(turn, BLINK_MS);

        turn();
        return () => {
            clearInterval(timer);
            if (document.title == title) document.title = own;
        };
    }, [title]);
}

export function Ring() {
    use();

    const s = rings()[0];
    const name = s ? nameOf(s) : '';
    const [loud, setLoud] = useSound();

    useNotes(!!s && loud);
    useBlink(s && `☎ ${say('ring.title', {name})}`);
    if (!s) return null;

    const ask = type => line.ask(type, {session: s.session});

    return html`<${Dialog} alert=${true} title=${say('ring.title', {name})}
            onClose=${() => ask('session_reject').catch(() => {})}>
        <p tabindex="-1" autofocus>${say('ring.how', {
            service: say(`service.${s.service}`), money: money(s.rate)})}</p>
        <${Sound} on=${loud} set=${setLoud} />
        <footer class="row">
            <${Act} class="secondary" does=${() => ask('session_reject')}>
                ${say('ring.reject')}</${Act}>
            <${Act} does=${async () => {
                await ask('session_accept');
                go(`session/${s.session}`);
            }}>${say('ring.accept')}</${Act}>
        </footer>
    </${Dialog}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * Somebody wants to talk: on every window of the advisor, until one answers or
 * the time is over.
 */

import {html, useEffect} from '../vendor/preact.js';
import {say} from '../words.js';
import {line, nameOf, now, rings, use} from '../live.js';
import {money} from '../format.js';
import {Act, Dialog} from '../ui.js';
import {go} from '../app.js';


/* two soft notes, made here: no file, and none before somebody has clicked */
function useNotes(on) {
    useEffect(() => {
        if (!on || !navigator.userActivation?.hasBeenActive) return;

        const audio = new AudioContext();
        const note = (hz, at) => {
            const tone = audio.createOscillator(), loud = audio.createGain();

            tone.frequency.value = hz;
            loud.gain.setValueAtTime(0.12, audio.currentTime + at);
            loud.gain.exponentialRampToValueAtTime(
                0.001, audio.currentTime + at + 0.5);
            tone.connect(loud).connect(audio.destination);
            tone.start(audio.currentTime + at);
            tone.stop(audio.currentTime + at + 0.5);
        };
        const ring = () => { note(660, 0); note(880, 0.25); };
        const timer = setInterval(ring, 2500);

        ring();
        return () => { clearInterval(timer); audio.close(); };
    }, [on]);
}

export function Ring() {
    use();

    const s = rings()[0];

    useNotes(!!s);
    if (!s) return null;

    const ask = type => line.ask(type, {session: s.session});
    const name = nameOf(s);

    return html`<${Dialog} alert=${true} title=${say('ring.title', {name})}
            onClose=${() => ask('session_reject').catch(() => {})}>
        <p>${say('ring.how', {service: say(`service.${s.service}`),
                              money: money(s.rate)})}</p>
        <footer class="row">
            <${Act} class="secondary" does=${() => ask('session_reject')}>
                ${say('ring.reject')}</${Act}>
            <${Act} autofocus does=${async () => {
                await ask('session_accept');
                go(`session/${s.session}`);
            }}>${say('ring.accept')}</${Act}>
        </footer>
    </${Dialog}>`;
}

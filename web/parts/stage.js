/*
 * Copyright (C) The Astro authors
 *
 * Pictures and sound of a call, and the switches for one's own.
 */

import {html, useEffect, useRef, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {initial} from '../format.js';
import {Act, Dialog, Field, tellError} from '../ui.js';

function Video({stream, label, mine, shown}) {
    const video = useRef(null);

    useEffect(() => {
        const v = video.current;

        if (v.srcObject != stream) v.srcObject = stream;
        v.play().catch(() => {});       /* no click yet: it begins with one */
    });

    return html`<video ref=${video} autoplay playsinline muted=${mine}
        hidden=${!shown} aria-label=${label}></video>`;
}

const has = (stream, kind) => stream.getTracks().some(
    t => t.kind == kind && t.readyState == 'live');

export function Stage({call, session, name}) {
    const media = use().media.get(session.session);
    const [choosing, choose] = useState(false);
    const {mic, cam} = call.wants;
    const screen = !!call.screen;
    /* what they say they send: a track alone may be silent for good */
    const theirs = has(call.remote, 'video')
                   && (!media || media.cam || media.screen);
    const own = has(call.local, 'video');
    const video = session.service == 'video';
    const away = ['disconnected', 'failed'].includes(call.path);

    const flip = (on, off, is, does) => html`<${Act} class="secondary"
        aria-pressed=${is} does=${does}>${say(is ? off : on)}</${Act}>`;

    return html`<section class="stage">
        <div class="pictures">
            <${Video} stream=${call.remote} shown=${theirs}
                label=${say('session.theirs', {name})} />
            ${!theirs && html`<p class="face large"><span
                aria-hidden="true">${initial(name)}</span><small>${
                video ? say('session.theirs.off', {name}) : name}</small></p>`}
            ${media && !media.mic && html`<p class="muted">${
                say('session.theirs.muted', {name})}</p>`}
            <div class="own ${screen ? 'screen' : ''}">
                <${Video} stream=${call.local} mine=${true} shown=${own}
                label=${say('session.mine')} /></div>
            <${Quality} call=${call} />
            <p class="path" role="status">${
                away && say('session.path')}</p>
        </div>
        <div class="row controls">
            ${flip('session.mic.on', 'session.mic.off', mic,
                   () => call.media({mic: !mic}))}
            ${video && flip('session.cam.on', 'session.cam.off', cam,
                            () => call.media({cam: !cam}))}
            ${video && navigator.mediaDevices?.getDisplayMedia && flip(
                'session.screen.on', 'session.screen.off', screen,
                () => call.share(!screen))}
            <button class="secondary" onClick=${() => choose(true)}>${
                say('session.devices')}</button>
        </div>
        ${choosing && html`<${Devices} call=${call} video=${video}
            onClose=${() => choose(false)} />`}
    </section>`;
}

function Quality({call}) {
    const q = call.quality;

    if (!q) return null;

    const poor = q.loss > 0.05 || q.rtt > 400 || q.jitter > 60;

    return html`<p class="quality ${poor ? 'poor' : 'good'}"
        title="${q.rtt} ms, ${(q.loss * 100).toFixed(1)} %">${
        say(poor ? 'session.quality.poor' : 'session.quality.good')}</p>`;
}

function Devices({call, video, onClose}) {
    const [all, set] = useState([]);

    useEffect(() => {
        const look = () => navigator.mediaDevices.enumerateDevices()
            .then(set, tellError);

        look();
        navigator.mediaDevices.addEventListener('devicechange', look);
        return () => navigator.mediaDevices.removeEventListener(
            'devicechange', look);
    }, []);

    const pick = (what, kind, label) => {
        const used = call.capture.chosen[what] ?? call.local.getTracks().find(
            t => t.kind == kind.slice(0, 5))?.getSettings().deviceId;

        return html`<${Field} label=${label}>
            <select value=${used} onChange=${e =>
                call.choose(what, e.target.value).catch(tellError)}>
            ${all.filter(d => d.kind == kind).map((d, n) => html`
                <option value=${d.deviceId}>${d.label
                    || `${label} ${n + 1}`}</option>`)}
            </select></${Field}>`;
    };

    return html`<${Dialog} title=${say('session.devices')} onClose=${onClose}>
        ${pick('mic', 'audioinput', say('session.mic'))}
        ${video && pick('cam', 'videoinput', say('session.cam'))}
    </${Dialog}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * One consultation, from ringing to its review.
 */

import {html, useEffect, useReducer, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {change, line, nameOf, now, use} from '../live.js';
import {get} from '../api.js';
import {money} from '../format.js';
import {Act, Dialog, tellError, useClock, useTitle} from '../ui.js';
import {Call} from '../call.js';
import {Messages} from '../parts/messages.js';
import {Meter} from '../parts/meter.js';
import {Stage} from '../parts/stage.js';
import {Over} from '../parts/over.js';
import {TopUp} from '../parts/topup.js';

const JOINED = ['accepted', 'connecting', 'active', 'reconnecting', 'paused'];


/* the snapshot that the line told, or what REST says of one that is over */
function useSession(id) {
    const {sessions, ended, line: state} = use();
    const [old, set] = useState(null);
    const live = sessions.get(id);

    useEffect(() => {
        if (live || (state != 'ready' && !ended.has(id))) return;

        get(`/sessions/${id}`).then(s => {
            if (s.state != 'ended') change({sessions: new Map(now.sessions)
                .set(id, {...s, at: Date.now()})});
            else set(s);
        }, error => set({error}));
    }, [id, !live, state, ended.has(id)]);

    /* the end is told when all is paid; REST may have answered before that */
    return live ?? (old && {...old, ...ended.get(id)?.totals
                                    && {totals: ended.get(id).totals}});
}

/* takes part for as long as this page is there and the session lives */
function useCall(s) {
    const [, draw] = useReducer(n => n + 1, 0);
    const [call, set] = useState(null);
    const on = !!s && JOINED.includes(s.state);

    useEffect(() => {
        if (!on) return;

        const relayed = new URLSearchParams(location.search).has('relay');
        const c = new Call(line, s.session, {relayed, onChange: draw,
                                             onError: tellError});

        c.join().catch(tellError);
        set(c);
        return () => { c.close(); set(null); };
    }, [on, s?.session]);

    /* what the service needs; more or less than that is one's own choice */
    useEffect(() => {
        if (!call || !s?.service) return;
        call.media({mic: s.service != 'chat', cam: s.service == 'video'})
            .catch(tellError);
    }, [call, s?.service]);

    return call;
}


export default function Session({id}) {
    const {user} = use();
    const s = useSession(id);
    const call = useCall(s);
    const [topUp, setTopUp] = useState(false);
    const name = s && !s.error ? nameOf(s) : '';

    useTitle(name && say('session.title',
                         {service: say(`service.${s.service}`), name}));

    if (!s) return null;
    if (s.error) return html`<p role="alert">${say('session.gone')}</p>`;

    if (s.state == 'ringing')
        return html`<${Ringing} session=${s} name=${name}
                                client=${s.client == user.id} />`;

    if (s.state == 'ended')
        return html`<${Over} session=${s} name=${name}
                             client=${s.client == user.id} />`;

    return html`<div class="session ${s.service}">
        <header>
            <h1>${say('session.title', {service: say(`service.${s.service}`),
                                        name})}</h1>
            <${State} session=${s} />
            <${Meter} session=${s} onTopUp=${() => setTopUp(true)} />
            <${Controls} session=${s} client=${s.client == user.id} />
        </header>
        ${call && s.service != 'chat' && html`<${Stage} call=${call}
            session=${s} name=${name} />`}
        <${Messages} conv=${s.conv} me=${user.id} name=${name} open=${true} />
        ${topUp && html`<${TopUp} onClose=${() => setTopUp(false)} />`}
    </div>`;
}


function Ringing({session: s, name, client}) {
    const at = useClock(1000);
    const left = Math.max(0, Math.ceil((s.at + 45000 - at) / 1000));
    const ask = type => line.ask(type, {session: s.session});

    return html`<div class="narrow center">
        <p class="face large ring" aria-hidden="true">${name[0]}</p>
        <h1>${say('session.title', {service: say(`service.${s.service}`),
                                    name})}</h1>
        <p role="status">${say('session.ringing', {name})}</p>
        <p aria-hidden="true">${left} s</p>
        ${client && html`<${Act} class="secondary"
            does=${() => ask('session_cancel')}>${
            say('session.cancel')}</${Act}>`}
    </div>`;
}

function State({session: s}) {
    const {line: state} = use();
    const key = state != 'ready' ? 'session.reconnecting.me'
        : s.state == 'paused' && s.reason == 'unpaid' ? 'session.unpaid'
        : `session.${s.state}`;

    return html`<p class="state ${state == 'ready' ? s.state : 'away'}"
                   role="status">${say(key)}</p>`;
}

function Controls({session: s, client}) {
    const [rates, setRates] = useState({});
    const [wants, want] = useState(null);
    const this_ = {session: s.session};

    useEffect(() => {
        if (client) get(`/advisors/${s.advisor}`).then(a => setRates(a.rates),
                                                       () => {});
    }, [s.advisor]);

    return html`<p class="row">
        ${Object.entries(rates).filter(([service, rate]) => rate
                                       && service != s.service)
            .map(([service]) => html`<button class="secondary small"
                onClick=${() => want(service)}>${say('session.switch', {
                service: say(`service.${service}`)})}</button>`)}
        ${s.state == 'active' && html`<${Act} class="secondary small"
            does=${() => line.ask('session_pause', this_)}>${
            say('session.pause')}</${Act}>`}
        ${s.state == 'paused' && s.reason != 'unpaid' && html`<${Act}
            class="small" does=${() => line.ask('session_resume', this_)}>${
            say('session.resume')}</${Act}>`}
        <${Act} class="end small" does=${() => line.ask('session_end', this_)}
            >${say('session.end')}</${Act}>
        ${wants && html`<${Dialog} title=${say('session.switch', {
                service: say(`service.${wants}`)})} onClose=${() => want(null)}>
            <p>${say('session.switch.ask', {
                service: say(`service.${wants}`),
                money: money(rates[wants])})}</p>
            <footer class="row"><button class="secondary"
                onClick=${() => want(null)}>${say('app.cancel')}</button>
            <${Act} does=${async () => {
                await line.ask('session_mode', {...this_, service: wants,
                    confirm_rate: rates[wants].amount});
                want(null);
            }}>${say('session.switch.yes', {
                money: money(rates[wants])})}</${Act}></footer>
        </${Dialog}>`}
    </p>`;
}

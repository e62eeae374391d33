/*
 * Copyright (C) The Astro authors
 *
 * One consultation, from ringing to its review.
 */

import {html, useEffect, useReducer, useRef, useState}
    from '../vendor/preact.js';
import {say, sayError} from '../words.js';
import {change, line, nameOf, now, use, useLine} from '../live.js';
import {get} from '../api.js';
import {money} from '../format.js';
import {Act, tell, tellError, useTitle} from '../ui.js';
import {Call} from '../call.js';
import {Controls} from '../parts/controls.js';
import {Messages} from '../parts/messages.js';
import {Meter} from '../parts/meter.js';
import {Over} from '../parts/over.js';
import {Ringing} from '../parts/ringing.js';
import {Stage} from '../parts/stage.js';
import {TopUp} from '../parts/topup.js';

const JOINED = ['accepted', 'connecting', 'active', 'reconnecting', 'paused'];


/*
 * The snapshot that the line told, or what REST says of one that is over;
 * between the two what was known last.
 */
function useSession(id) {
    const {sessions, ended, line: state} = use();
    const [old, set] = useState(null);
    const [round, again] = useReducer(n => n + 1, 0);
    const last = useRef(null);
    const live = sessions.get(id);

    if (live) last.current = live;

    useEffect(() => {
        if (live || (state != 'ready' && !ended.has(id))) return;

        let here = true;

        get(`/sessions/${id}`).then(s => {
            if (!here) return;
            if (s.state == 'ended') return set(s);

            /* the line may have said more meanwhile */
            if (!now.sessions.has(id) && !now.ended.has(id))
                change({sessions: new Map(now.sessions)
                    .set(id, {...s, at: Date.now()})});
        }, error => here && set({error, again}));

        return () => { here = false; };
    }, [id, !live, state, ended.has(id), round]);

    /* the end is told when all is paid; REST may have answered before that */
    const end = ended.get(id);

    return live ?? (old && {...old, ...end?.totals && {totals: end.totals}})
           ?? (last.current && end ? {...last.current, ...end} : null);
}

/*
 * Of all windows that one person has in this browser the last one has the
 * call: two of them would answer, and take it from each other without end.
 * lost() is told by the one that no longer has it.
 */
function hold(what, lost) {
    let free = () => {};

    navigator.locks?.request(what, {steal: true}, () => new Promise(
        ok => { free = ok; })).catch(lost);
    return () => free();
}

/* takes part for as long as this page is there and the session lives */
function useCall(s, me, client) {
    const [, draw] = useReducer(n => n + 1, 0);
    const [call, set] = useState(null);
    const [away, setAway] = useState(false);    /* in another window */
    const [asked, ask] = useState(null);        /* what they switched to */
    const voice = useRef(null);
    const on = !!s && JOINED.includes(s.state) && !away;

    useEffect(() => {
        if (!on) return;

        const relayed = new URLSearchParams(location.search).has('relay');
        const c = new Call(line, s.session, {relayed, onChange: draw,
                                             onError: tellError});
        let here = true;

        const free = hold(`astro.call.${me}.${s.session}`, () => {
            here = false;
            if (!c.closed) setAway(true);
        });

        c.join().catch(tellError);
        set(c);
        voice.current = null;
        ask(null);
        return () => {
            /* gone to another page: what they saw last is no picture of us */
            if (here && now.sessions.has(s.session)) c.leave();
            c.close();
            free();
            set(null);
        };
    }, [on, s?.session]);

    /*
     * What the service needs; more or less than that is one's own choice: who
     * was silent stays so when a picture is added.  It is the client who
     * switches: that opens no microphone and no camera of the advisor, who is
     * asked.
     */
    useEffect(() => {
        if (!call || call.closed || !s?.service) return;

        const had = voice.current ?? false, has = s.service != 'chat';
        const cam = s.service == 'video';
        const own = client || voice.current === null;

        voice.current = has;
        if (!cam && call.screen) call.share(false).catch(tellError);

        const wants = {mic: has == had ? call.wants.mic : has && own,
                       cam: cam && (own || call.wants.cam)};

        ask(!own && (cam && !wants.cam || has && !had) ? s.service : null);
        call.media(wants).catch(tellError);
    }, [call, s?.service]);

    const answer = async yes => {
        ask(null);
        if (yes) await call.media({...asked == 'audio' && {mic: true},
            ...asked == 'video' && {mic: true, cam: true}});
    };

    return {call, away, take: () => setAway(false),
            asked: asked == s?.service ? asked : null, answer};
}

/* the client has switched to more than is sent to them */
function Asked({service, name, answer}) {
    return html`<p class="banner" role="alert">
        ${say(`session.asked.${service}`, {name})}
        <${Act} class="small" does=${() => answer(true)}>${
            say(`session.asked.${service}.yes`)}</${Act}>
        <${Act} class="secondary small" does=${() => answer(false)}>${
            say('session.asked.no')}</${Act}></p>`;
}


export default function Session({id}) {
    const {user} = use();
    const s = useSession(id);
    const [short, setShort] = useState(null);   /* why to top up, or '' */
    const name = s && !s.error ? nameOf(s) : '';
    const client = s?.client == user.id;
    const {call, away, take, asked, answer} = useCall(s, user.id, client);

    /* the advisor hears of a gift; who gave it knows */
    useLine('gift', ({conv, payload: p}) => conv == s?.conv
        && p.from != user.id && tell(say('gift.came', {
            name, money: money(p.amount), note: p.note ?? ''})),
        [s?.conv, name]);

    useTitle(name && say('session.title',
                         {service: say(`service.${s.service}`), name}));

    if (!s) return null;
    if (s.error) return html`<p role="alert">${s.error.status == 404
        ? say('session.gone') : html`${sayError(s.error)} <${Act}
            class="secondary small" does=${async () => s.again()}>${
            say('app.again')}</${Act}>`}</p>`;

    if (s.state == 'ringing')
        return html`<${Ringing} session=${s} name=${name} client=${client} />`;

    if (s.state == 'ended')
        return html`<${Over} session=${s} name=${name} client=${client} />`;

    return html`<div class="session ${s.service}">
        <header>
            <h1>${say('session.title', {service: say(`service.${s.service}`),
                                        name})}</h1>
            <${State} session=${s} />
            <${Meter} session=${s} onTopUp=${() => setShort('')} />
            <${Controls} session=${s} name=${name} client=${client}
                onShort=${(why = '') => setShort(why)} />
        </header>
        ${away && html`<p class="banner" role="alert">${
            say('session.away')} <button class="small" onClick=${take}>${
            say('line.use')}</button></p>`}
        ${call && asked && html`<${Asked} service=${asked} name=${name}
            answer=${answer} />`}
        ${call && s.service != 'chat' && html`<${Stage} call=${call}
            session=${s} name=${name} />`}
        <${Messages} conv=${s.conv} me=${user.id} name=${name} open=${true} />
        ${short !== null && html`<${TopUp} lead=${short}
            onClose=${() => setShort(null)} onDone=${() => setShort(null)} />`}
    </div>`;
}

function State({session: s}) {
    const {line: state, user} = use();
    const key = state != 'ready' ? 'session.reconnecting.me'
        : s.state == 'paused' && s.reason == 'unpaid' ? 'session.unpaid'
        : s.state == 'paused' && s.reason == (user.id == s.client
            ? 'advisor_paused' : 'client_paused') ? 'session.paused.other'
        : `session.${s.state}`;

    return html`<p class="state ${state == 'ready' ? s.state : 'away'}"
                   role="status">${say(key)}</p>`;
}

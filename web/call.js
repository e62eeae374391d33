/*
 * Copyright (C) The Astro authors
 *
 * One call: microphone, camera and screen of this window to those of the other
 * party.  "Perfect negotiation" (WebRTC 1.0, section 10.7): both may offer at
 * any time; who is polite, as the server says, gives in.
 *
 *     const call = new Call(line, session, {onChange, onError, relayed});
 *
 *     await call.join();                takes part; from here on it is billed
 *     await call.media({mic, cam});     what is sent; devices are asked for
 *     call.remote                       a MediaStream
 *
 * Nothing is negotiated before one of the two has something to send, so that a
 * chat is a call, too, and a switch to voice or video only adds to it.
 *
 *     call.close();
 *
 * It lives as long as the session, not as long as the connection.  What can go
 * wrong, and who mends it:
 *
 * - the line went away: after every hello it joins again, asks again what was
 *   not answered, and takes another path if this one does not carry;
 * - an offer or its answer was lost: whoever has made the offer repeats it;
 * - the path is gone: both restart ICE, with credentials that are good today;
 * - credentials end: new ones are taken before;
 * - the other one's page was loaded again: its offers come from another
 *   connection than the one that ours is with, so ours begins anew, too.
 */

import {Capture} from './capture.js';

const BEAT_MS = 2000;
const TELL_EVERY = 3;               /* beats: quality, to the server */
const REPEAT_EVERY = 2;             /* beats: an offer that has no answer */
const QUIET_MS = 2000;              /* of the line, before it is asked */
const NEVER_CAME = 6;               /* beats: a path that is not found */
const PATIENCE_MS = 2500;           /* most paths come back by themselves */
const HEAL_MS = 4000;
const RENEW_MIN_MS = 5000;

const AWAY = ['disconnected', 'failed'];

const wait = ms => new Promise(ok => setTimeout(ok, ms));

/* which connection a description is of (RFC 9429, section 5.2.1) */
const origin = description => /^o=\S+ (\S+)/m.exec(description?.sdp)?.[1];


export class Call {

    constructor(line, session, {onChange, onError, relayed = false}) {
        Object.assign(this, {line, session, onChange, onError, relayed});

        this.pc = this.servers = null;
        this.senders = new Map();           /* audio, video: RTCRtpSender */
        this.polite = false;
        this.offering = this.healing = this.closed = false;
        this.handling = Promise.resolve();
        this.remote = new MediaStream();
        this.quality = this.told = null;
        this.beats = this.unanswered = 0;

        this.capture = new Capture({
            onTrack: kind => this.send(kind), onError,
            onChange: () => { this.say(); this.changed(); }});

        this.offs = ['signal_offer', 'signal_answer', 'signal_ice_candidate']
            .map(type => line.on(type, m => this.signal(m)));
        this.offs.push(line.on('hello', () => this.again()));
        this.listen();
    }

    /*
     * While somebody pays it matters at once that the line is gone, though no
     * packet says so: a silence is asked into, and one that goes on is its end.
     */
    listen() {
        let heard = Date.now(), asked = false;

        this.offs.push(this.line.on('heard', () => {
            heard = Date.now();
            asked = false;
        }));
        this.pulse = setInterval(() => {
            if (asked || Date.now() - heard < QUIET_MS
                || this.line.state != 'ready') return;
            asked = true;
            this.line.poke(QUIET_MS);
        }, QUIET_MS / 4);
    }

    async join() {
        const {polite, ice_servers} = await this.line.ask(
            'session_join', {session: this.session});

        if (this.closed) return;
        this.polite = polite;
        this.servers = ice_servers;
        this.pc?.setConfiguration(this.config());
        this.renew();
        this.attach();
        this.say();
        this.changed();
    }

    /* the line is ready once more */
    async again() {
        this.told = null;

        try {
            await this.join();
        } catch (e) {
            return;         /* gone again, or over: the line says which */
        }

        if (this.pc?.signalingState == 'have-local-offer') this.describe();
        else if (AWAY.includes(this.path)) this.pc.restartIce();
    }

    config() {
        return {iceServers: this.servers, bundlePolicy: 'max-bundle',
                iceTransportPolicy: this.relayed ? 'relay' : 'all'};
    }

    /*
     * A user name at the relay begins with the second that it ends in.  Paths
     * that are there stay; the other side's next restart finds ours good.
     */
    renew() {
        const ends = this.servers.map(s => parseInt(s.username, 10))
                                 .filter(s => s > 0);

        clearTimeout(this.renewal);
        if (ends.length == 0) return;

        /* by the server's clock, which said what it was when we came */
        const {me, since} = this.line;
        const left = Math.min(...ends) * 1000 - Date.now()
                     - ((me?.now ?? since) - since);

        this.renewal = setTimeout(
            () => this.join().catch(() => {}),      /* the next hello's */
            Math.min(Math.max(left * 0.75, RENEW_MIN_MS), 2 ** 31 - 1));
    }

    /* when one of the two has something to show: a chat needs none */
    open() {
        if (this.pc || this.closed) return;

        const pc = this.pc = new RTCPeerConnection(this.config());

        pc.onnegotiationneeded = () => this.offer(pc);
        pc.onicecandidate = ({candidate}) => this.line.say(
            'signal_ice_candidate', {session: this.session, candidate});
        pc.oniceconnectionstatechange = () => { this.heal(); this.changed(); };
        pc.ontrack = ({track}) => {
            this.forget(track.kind);
            this.remote.addTrack(track);
            this.changed();
        };

        this.timer ??= setInterval(() => this.beat(), BEAT_MS);
    }

    /* another one in its place, with nothing negotiated */
    reopen() {
        const old = this.pc;

        old.onnegotiationneeded = old.onicecandidate = old.ontrack
            = old.oniceconnectionstatechange = null;
        old.close();
        this.pc = this.quality = this.counted = null;
        this.senders.clear();
        this.forget('audio');
        this.forget('video');
        this.open();
        this.attach();
        this.told = null;           /* whoever is new has not heard it */
        this.say();
    }

    forget(kind) {
        for (const old of this.remote.getTracks())
            if (old.kind == kind) this.remote.removeTrack(old);
    }

    changed() {
        if (!this.closed) this.onChange(this);
    }

    /* nothing is connected yet, connected, or looking for a path */
    get path() {
        return this.pc?.iceConnectionState ?? 'new';
    }

    get away() {
        return !this.closed && AWAY.includes(this.path);
    }


    /* -- what is sent -- */

    get local() { return this.capture.stream; }
    get wants() { return this.capture.wants; }
    get screen() { return this.capture.screen; }

    media(wants) { return this.capture.want(wants); }
    choose(what, id) { return this.capture.choose(what, id); }
    share(on) { return this.capture.share(on); }

    /*
     * A sender stays when its track is let go of, and the next track takes its
     * place without an offer.  Before there are servers nothing is opened.
     */
    send(kind) {
        const track = this.capture.of(kind), sender = this.senders.get(kind);

        if (this.closed) return;
        if (sender) return void sender.replaceTrack(track).catch(this.onError);
        if (!track || !this.servers) return;

        this.open();
        this.senders.set(kind, this.pc.addTrack(track, this.local));
    }

    attach() {
        for (const {kind} of this.local.getTracks())
            if (!this.senders.has(kind)) this.send(kind);
    }

    /* what is on, for the other one to see; once for each change */
    say() {
        const {mic, cam} = this.wants, screen = !!this.screen;
        const told = `${mic} ${cam} ${screen}`;

        if (this.closed || !this.servers || told == this.told) return;

        this.told = told;
        this.line.ask('session_media', {session: this.session, mic, cam,
                                        screen})
            .catch(() => { this.told = null; });
    }


    /* -- negotiation -- */

    async offer(pc) {
        try {
            this.offering = true;
            await pc.setLocalDescription();
            if (pc == this.pc) this.describe();
        } catch (e) {
            if (pc == this.pc && !this.closed) this.onError(e);
        } finally {
            this.offering = false;
        }
    }

    /* what does not arrive is said again by beat() or again() */
    describe() {
        const {type, sdp} = this.pc.localDescription;

        this.unanswered = 0;
        this.line.ask(`signal_${type}`, {session: this.session, sdp})
            .catch(() => {});
    }

    /* one after the other */
    signal(m) {
        if (m.payload.session != this.session) return;

        this.handling = this.handling
            .then(() => this.negotiate(m))
            .catch(e => this.closed || e.code == 'offline' || this.onError(e));
    }

    async negotiate({type, payload: {sdp, candidate}}) {
        if (!this.servers) await this.join();
        this.open();
        if (this.closed) return;

        if (type == 'signal_ice_candidate') {
            /* of an offer that was ignored, or lost: one way less to try */
            return this.pc.addIceCandidate(candidate ?? undefined)
                .catch(() => {});
        }

        const kind = type.slice('signal_'.length);
        const state = this.pc.signalingState;

        if (kind == 'answer') {
            if (state != 'have-local-offer') return;    /* the second one */

            /* to an offer of this one, from one that knows nothing of it */
            if (this.other({sdp})) return this.reopen();
            return this.pc.setRemoteDescription({type: kind, sdp});
        }

        if ((this.offering || state != 'stable') && !this.polite) return;

        if (this.other({sdp})) this.reopen();

        await this.pc.setRemoteDescription({type: kind, sdp});
        await this.pc.setLocalDescription();
        this.describe();
    }

    /* than the one that ours is with */
    other(description) {
        const before = origin(this.pc.currentRemoteDescription);

        return before && before != origin(description);
    }

    /* the path is gone: another, with credentials that are good today */
    async heal() {
        if (this.away) this.quality = null;
        if (this.healing || !this.away) return;
        this.healing = true;

        if (this.path == 'disconnected') await wait(PATIENCE_MS);

        while (this.away) {
            try {
                await this.join();
                if (this.away) this.pc.restartIce();
            } catch (e) {
                /* not connected now: after the next hello */
            }
            await wait(HEAL_MS);
        }

        this.healing = false;
    }


    /* -- how it is -- */

    beat() {
        if (this.pc.signalingState != 'have-local-offer') this.unanswered = 0;
        else if (++this.unanswered >= REPEAT_EVERY) this.describe();

        /* a relay that was not to be had in time is asked once more */
        const waits = this.pc.remoteDescription
                      && ['new', 'checking'].includes(this.path);

        this.waited = waits ? (this.waited ?? 0) + 1 : 0;
        if (this.waited % NEVER_CAME == NEVER_CAME - 1)
            this.join().then(() => this.pc.restartIce()).catch(() => {});

        this.measure().catch(() => {});
    }

    async measure() {
        const {pc} = this;
        const by = await pc.getStats(), all = [...by.values()];
        const pair = by.get(all.find(s => s.type == 'transport')
                            ?.selectedCandidatePairId);
        const ins = all.filter(s => s.type == 'inbound-rtp');
        const sum = name => ins.reduce((n, s) => n + (s[name] ?? 0), 0);
        const got = sum('packetsReceived'), lost = sum('packetsLost');

        if (pc != this.pc) return;

        const before = this.counted ?? {got: 0, lost: 0};
        const fell = Math.max(0, lost - before.lost);
        const came = Math.max(0, got - before.got);

        this.counted = {got, lost};
        if (!pair || this.away || came + fell == 0) return;

        this.quality = {
            rtt: Math.round((pair.currentRoundTripTime ?? 0) * 1000),
            loss: +(fell / (came + fell)).toFixed(3),
            jitter: Math.round(Math.max(0, ...ins.map(s => s.jitter ?? 0))
                               * 1000)};

        if (this.beats++ % TELL_EVERY == 0)
            this.line.say('session_quality', {session: this.session,
                                              ...this.quality});
        this.changed();
    }

    /* it goes on without this window, which sends nothing any more */
    leave() {
        this.line.say('session_media', {session: this.session, mic: false,
                                        cam: false, screen: false});
    }

    close() {
        if (this.closed) return;
        this.closed = true;
        clearInterval(this.timer);
        clearTimeout(this.renewal);
        this.offs.forEach(off => off());
        clearInterval(this.pulse);
        this.capture.close();
        this.pc?.close();
    }
}

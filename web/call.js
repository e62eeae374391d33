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
 * It lives as long as the session, not as long as the connection: after every
 * hello it joins again, and takes new ICE servers, whose credentials end.
 *
 * The other party's page may be reloaded in mid-call: what it then sends is of
 * another RTCPeerConnection, with keys of its own, and its "o=" says so (JSEP,
 * RFC 9429, section 5.2.1: one id for the life of a connection).  Ours is made
 * anew, too, whoever is polite: the one it talked to is gone.
 */

const STATS_MS = 2000;
const TELL_EVERY = 3;               /* quality, to the server */
const HEAL_MS = 3000;


export class Call {

    constructor(line, session, {onChange, onError, relayed = false}) {
        Object.assign(this, {line, session, onChange, onError, relayed});

        this.pc = this.servers = null;
        this.senders = new Map();           /* audio, video: RTCRtpSender */
        this.peer = null;                   /* which connection of theirs */
        this.polite = false;
        this.offering = false;
        this.handling = Promise.resolve();
        this.local = new MediaStream();
        this.remote = new MediaStream();
        this.screen = null;
        this.wants = {mic: false, cam: false};
        this.quality = null;
        this.closed = false;
        this.beats = 0;

        this.offs = ['signal_offer', 'signal_answer', 'signal_ice_candidate']
            .map(type => line.on(type, m => this.signal(m)));
        this.offs.push(line.on('hello', () => this.join()
            .catch(onError)));
    }

    async join() {
        const {polite, ice_servers} = await this.line.ask(
            'session_join', {session: this.session});

        if (this.closed) return;
        this.polite = polite;
        this.servers = ice_servers;
        this.pc?.setConfiguration(this.config());
        this.changed();
    }

    /* devices may answer before the server has said which servers there are */
    async known() {
        if (!this.servers) await this.join();
    }

    config() {
        return {iceServers: this.servers, bundlePolicy: 'max-bundle',
                iceTransportPolicy: this.relayed ? 'relay' : 'all'};
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
            for (const old of this.remote.getTracks())
                if (old.kind == track.kind) this.remote.removeTrack(old);

            this.remote.addTrack(track);
            this.changed();
        };

        this.timer ??= setInterval(() => this.measure().catch(() => {}),
                                   STATS_MS);
    }

    /* another connection in the place of this one; nothing is sent yet */
    renew() {
        this.pc.close();
        this.pc = this.peer = this.counted = null;
        this.offering = false;
        this.senders.clear();
        this.remote.getTracks().forEach(t => this.remote.removeTrack(t));
        this.open();
    }

    /* what this window has, over it */
    async resend() {
        for (const track of this.local.getTracks()) await this.add(track);
    }

    changed() {
        if (!this.closed) this.onChange(this);
    }

    /* nothing is connected yet, connected, or looking for a path */
    get path() {
        return this.pc?.iceConnectionState ?? 'new';
    }


    /* -- what is sent -- */

    /*
     * Whatever is switched off is let go of, so that its light goes out; the
     * sender stays, and the next track takes its place without an offer.
     */
    async media(wants) {
        if (this.closed) return;

        const {mic, cam} = Object.assign(this.wants, wants);

        await this.have('audio', mic);
        if (!this.screen) await this.have('video', cam);
        this.say();
    }

    async have(kind, on) {
        const old = this.local.getTracks().find(t => t.kind == kind);

        if (on == !!old) return;

        if (old) {
            old.stop();
            this.local.removeTrack(old);
            await this.senders.get(kind)?.replaceTrack(null);
            return this.changed();
        }

        const stream = await navigator.mediaDevices.getUserMedia(
            kind == 'audio' ? {audio: this.device('mic')}
                            : {video: {...this.device('cam'),
                                       width: {ideal: 640},
                                       height: {ideal: 480}}});

        for (const track of stream.getTracks()) await this.give(track);
    }

    device(what) {
        const id = this.devices?.[what];

        return id ? {deviceId: {exact: id}} : what == 'mic' ? true : {};
    }

    async give(track) {
        const old = this.local.getTracks().find(t => t.kind == track.kind);

        if (old) {
            old.stop();
            this.local.removeTrack(old);
        }

        this.local.addTrack(track);
        await this.add(track);
        this.changed();
    }

    async add(track) {
        const sender = this.senders.get(track.kind);

        if (sender) return sender.replaceTrack(track);
        await this.known();
        if (this.closed) return track.stop();
        this.open();
        this.senders.set(track.kind, this.pc.addTrack(track, this.local));
    }

    /* another microphone or camera, while it goes on */
    async choose(what, id) {
        this.devices = {...this.devices, [what]: id};

        const kind = what == 'mic' ? 'audio' : 'video';

        if (!this.local.getTracks().some(t => t.kind == kind)) return;
        if (kind == 'video' && this.screen) return;

        const stream = await navigator.mediaDevices.getUserMedia(
            {[kind]: this.device(what)});

        await this.give(stream.getTracks()[0]);
        this.say();
    }

    async share(on) {
        if (!on) {
            this.screen?.stop();
            this.screen = null;
            await this.have('video', false);
            return this.media({});
        }

        const stream = await navigator.mediaDevices.getDisplayMedia(
            {video: true});

        [this.screen] = stream.getVideoTracks();
        this.screen.onended = () => this.share(false).catch(this.onError);
        await this.give(this.screen);
        this.say();
    }

    say() {
        this.line.ask('session_media', {
            session: this.session, mic: this.wants.mic, cam: this.wants.cam,
            screen: !!this.screen}).catch(() => {});
    }


    /* -- negotiation -- */

    async offer(pc) {
        if (pc != this.pc) return;

        try {
            this.offering = true;
            await pc.setLocalDescription();
            if (pc == this.pc) this.describe();
        } catch (e) {
            if (!this.closed && pc == this.pc) this.onError(e);
        } finally {
            if (pc == this.pc) this.offering = false;
        }
    }

    /* an offer that nobody answers may not have arrived: it is sent again */
    describe() {
        const {type, sdp} = this.pc.localDescription;

        clearTimeout(this.unanswered);
        if (type == 'offer')
            this.unanswered = setTimeout(() => {
                if (this.pc?.signalingState == 'have-local-offer')
                    this.describe();
            }, HEAL_MS);

        this.line.ask(`signal_${type}`, {session: this.session, sdp})
            .catch(() => {});
    }

    /* one after the other */
    signal(m) {
        if (m.payload.session != this.session) return;

        this.handling = this.handling
            .then(() => this.negotiate(m))
            .catch(e => this.closed || this.onError(e));
    }

    async negotiate({type, payload: {sdp, candidate}}) {
        await this.known();
        if (this.closed) return;
        this.open();

        /* of a connection that is no more, or of an offer that was ignored */
        if (type == 'signal_ice_candidate')
            return this.pc.addIceCandidate(candidate ?? undefined)
                .catch(() => {});

        const kind = type.slice('signal_'.length);
        const peer = /^o=\S+ (\S+)/m.exec(sdp)?.[1];
        const other = this.peer !== null && this.peer != peer;

        if (other) this.renew();

        const pc = this.pc;

        if (kind == 'answer') {
            if (other) return this.resend();
            if (pc.signalingState != 'have-local-offer') return;

        } else {
            const glare = this.offering || pc.signalingState != 'stable';

            if (glare && !this.polite) return;
        }

        await pc.setRemoteDescription({type: kind, sdp});
        this.peer = peer;
        if (kind == 'answer') return;
        if (other) await this.resend();
        await pc.setLocalDescription();
        this.describe();
    }

    /* the path is gone: another, with credentials that are good today */
    async heal() {
        const away = () => !this.closed && ['disconnected', 'failed']
                           .includes(this.pc.iceConnectionState);

        if (this.healing || !away()) return;
        this.healing = true;

        while (away()) {
            try {
                await this.join();
                this.pc.restartIce();
            } catch (e) {
                /* not connected now: after the next hello */
            }
            await new Promise(ok => setTimeout(ok, HEAL_MS));
        }

        this.healing = false;
    }


    /* -- how it is -- */

    async measure() {
        const all = [...(await this.pc.getStats()).values()];
        const pair = all.find(s => s.type == 'candidate-pair' && s.nominated
                                   && s.state == 'succeeded');
        const ins = all.filter(s => s.type == 'inbound-rtp');
        const sum = name => ins.reduce((n, s) => n + (s[name] ?? 0), 0);
        const got = sum('packetsReceived'), lost = sum('packetsLost');
        const before = this.counted ?? {got: 0, lost: 0};
        const fell = Math.max(0, lost - before.lost);
        const came = Math.max(0, got - before.got);

        this.counted = {got, lost};
        this.frames = sum('framesDecoded');
        if (!pair || came + fell == 0) return;

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

    close() {
        if (this.closed) return;
        this.closed = true;
        clearInterval(this.timer);
        clearTimeout(this.unanswered);
        this.offs.forEach(off => off());
        this.local.getTracks().forEach(t => t.stop());
        this.screen?.stop();
        this.pc?.close();
    }
}

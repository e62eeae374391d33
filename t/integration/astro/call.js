/*
 * Copyright (C) The Astro authors
 *
 * One party of a call, in a browser: consult.v1 for signalling, "perfect
 * negotiation" (WebRTC 1.0, section 10.7) for whatever is negotiated.  Tests
 * evaluate this in a page of nginx's own and drive the one object it leaves.
 */

class Call {
    constructor(token, relayed) {
        this.token = token;
        this.relayed = relayed;
        this.pc = this.session = null;
        this.asked = 0;
        this.replies = new Map();
        this.held = null;               // signals not looked at yet
        this.handling = Promise.resolve();
        this.seen = {offers: 0, ignored: 0, yielded: 0, restarts: 0,
                     incoming: null, end: null, media: null, states: [], errors: []};
        this.videos = [];
    }

    /* -- the way to the server -- */

    connect() {
        const bearer = btoa(this.token).replace(/\+/g, '-')
                       .replace(/\//g, '_').replace(/=/g, '');

        this.ws = new WebSocket(`wss://${location.host}/ws`,
                                ['consult.v1', `bearer.${bearer}`]);
        this.ws.onmessage = e => this.heard(JSON.parse(e.data));

        return new Promise((ok, bad) => {
            this.ws.onerror = () => bad(new Error('no WebSocket'));
            this.ws.onopen = () => ok(this.ask('hello', {app: 'test/1'}));
        });
    }

    send(type, payload, id) {
        this.ws.send(JSON.stringify({type, id, payload}));
    }

    ask(type, payload) {
        const id = ++this.asked;

        this.send(type, payload, id);
        return new Promise((ok, bad) => this.replies.set(id, {ok, bad}));
    }

    async rest(path, body) {
        const answer = await fetch(`/api/${path}`, {
            method: 'POST', body: JSON.stringify(body ?? {}),
            headers: {'Content-Type': 'application/json',
                      'Authorization': `Bearer ${this.token}`}});

        return {status: answer.status, ...await answer.json()};
    }

    heard(m) {
        if (m.type == 'reply') {
            const {ok, bad} = this.replies.get(m.id);

            this.replies.delete(m.id);
            return m.error ? bad(new Error(JSON.stringify(m.error)))
                           : ok(m.payload);
        }

        switch (m.type) {
        case 'ping':
            return this.send('pong');

        case 'session_incoming':
            return this.seen.incoming = m.payload;

        case 'session_update':
            return this.seen.states.push(m.payload.state);

        case 'session_media':
            return this.seen.media = m.payload;

        case 'session_end':
            this.seen.end = m.payload;
            return this.pc?.close();
        }

        if (m.type.startsWith('signal_'))
            this.held ? this.held.push(m) : this.signal(m);
    }

    /* -- the call -- */

    async start(advisor) {
        const made = await this.rest('sessions', {
            advisor, service: 'video', cid: crypto.randomUUID()});

        this.session = made.session;
        return made;
    }

    async accept(session) {
        this.session = session;
        return this.rest(`sessions/${session}/accept`);
    }

    async join() {
        const {polite, ice_servers} = await this.ask('session_join',
                                                {session: this.session});

        this.polite = polite;
        this.pc = new RTCPeerConnection(this.config(ice_servers));

        const pc = this.pc;

        pc.onnegotiationneeded = () => this.offer();
        pc.onicecandidate = e => this.send('signal_ice_candidate', {
            session: this.session, candidate: e.candidate});
        pc.oniceconnectionstatechange = () => this.heal();

        this.stream = await navigator.mediaDevices.getUserMedia({
            audio: true, video: {width: 160, height: 120, frameRate: 10}});

        for (const track of this.stream.getTracks())
            pc.addTrack(track, this.stream);

        return polite;
    }

    config(iceServers) {
        return {iceServers, iceTransportPolicy: this.relayed ? 'relay'
                                                             : 'all'};
    }

    /* one more video, as when a screen is shared */
    share() {
        this.pc.addTrack(this.stream.getVideoTracks()[0].clone());
    }

    /* another camera, in the place of the one that is shown */
    async change(device) {
        const [old] = this.stream.getVideoTracks();
        const stream = await navigator.mediaDevices.getUserMedia({
            video: {width: 320, height: 240, frameRate: 10}});
        const [track] = stream.getVideoTracks();
        const sender = this.pc.getSenders().find(s => s.track == old);

        await sender.replaceTrack(track);
        old.stop();

        return this.ask('session_media', {session: this.session, device,
                        mic: true, cam: true, screen: false});
    }

    async offer() {
        try {
            this.offering = true;
            await this.pc.setLocalDescription();
            this.describe();
            this.seen.offers++;
        } finally {
            this.offering = false;
        }
    }

    describe() {
        const {type, sdp} = this.pc.localDescription;

        this.send(`signal_${type}`, {session: this.session, sdp});
    }

    hold() {
        this.held = [];
    }

    release() {
        const held = this.held;

        this.held = null;
        held.forEach(m => this.signal(m));
    }

    /* one after the other */
    signal(m) {
        this.handling = this.handling.then(() => this.negotiate(m))
            .catch(e => this.seen.errors.push(String(e)));
    }

    async negotiate(m) {
        const pc = this.pc, {sdp, candidate} = m.payload;

        if (m.type == 'signal_ice_candidate') {
            try {
                await pc.addIceCandidate(candidate ?? undefined);
            } catch (e) {
                if (!this.ignoring) throw e;
            }
            return;
        }

        const type = m.type.slice('signal_'.length);
        const glare = type == 'offer'
                      && (this.offering || pc.signalingState != 'stable');

        this.ignoring = glare && !this.polite;
        if (this.ignoring) return this.seen.ignored++;
        if (glare) this.seen.yielded++;

        await pc.setRemoteDescription({type, sdp});

        if (type == 'offer') {
            await pc.setLocalDescription();
            this.describe();
        }
    }

    /* the path is gone: another, with credentials that are good today */
    async heal() {
        const away = () => ['disconnected', 'failed']
                           .includes(this.pc.iceConnectionState);

        if (this.healing || !away()) return;
        this.healing = true;

        while (away()) {
            const {ice_servers} = await this.ask('session_join',
                                                 {session: this.session});

            this.pc.setConfiguration(this.config(ice_servers));
            this.pc.restartIce();
            this.seen.restarts++;
            await new Promise(ok => setTimeout(ok, 2000));
        }

        this.healing = false;
    }

    /* -- what tests ask -- */

    async stats() {
        const all = [...(await this.pc.getStats()).values()];
        const by = new Map(all.map(s => [s.id, s]));
        const pair = by.get(all.find(s => s.type == 'transport')
                            ?.selectedCandidatePairId);

        return {
            frames: all.filter(s => s.type == 'inbound-rtp'
                                    && s.kind == 'video')
                       .map(s => s.framesDecoded ?? 0),
            width: all.filter(s => s.type == 'inbound-rtp'
                                   && s.kind == 'video')
                      .map(s => s.frameWidth),
            heard: all.filter(s => s.type == 'inbound-rtp'
                                   && s.kind == 'audio')
                      .map(s => s.packetsReceived)[0] ?? 0,
            path: pair && [by.get(pair.localCandidateId)?.candidateType,
                           by.get(pair.remoteCandidateId)?.candidateType],
            state: this.pc.iceConnectionState,
            signaling: this.pc.signalingState,
            ufrag: /a=ice-ufrag:(.*)/.exec(
                this.pc.localDescription?.sdp)?.[1].trim()};
    }

    /* what these servers give somebody who asks them for a relay */
    static async gather(iceServers) {
        const pc = new RTCPeerConnection({iceServers,
                                          iceTransportPolicy: 'relay'});
        const found = {relays: 0, errors: []};

        pc.createDataChannel('x');
        pc.onicecandidateerror = e => found.errors.push(e.errorCode);

        await new Promise(done => {
            pc.onicecandidate = e => e.candidate ? found.relays++ : done();
            pc.setLocalDescription();
        });

        pc.close();
        return found;
    }
}

globalThis.Call = Call;

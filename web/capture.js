/*
 * Copyright (C) The Astro authors
 *
 * What this window takes of its microphone, camera and screen, at most one of
 * each kind: sound, and one picture.
 *
 *     const c = new Capture({onTrack, onChange, onError});
 *
 *     await c.want({mic: true, cam: false});   asks for what is not there yet
 *     await c.choose('cam', deviceId);
 *     await c.share(true);                     the screen in the camera's place
 *
 * Off is at once, whatever is still being asked for: a device that comes when
 * it is no longer wanted is let go of, and its light goes out.  onTrack(kind)
 * is told when the track of a kind is another one, or none.
 */

const KINDS = {mic: 'audio', cam: 'video'};
const PICTURE = {width: {ideal: 640}, height: {ideal: 480}};

/* a device that was there and is not any more */
const unplugged = () => Object.assign(new Error(), {code: 'unplugged'});


export class Capture {

    constructor({onTrack, onChange, onError}) {
        Object.assign(this, {onTrack, onChange, onError});

        this.stream = new MediaStream();
        this.wants = {mic: false, cam: false};
        this.chosen = {};               /* mic, cam: a device's id */
        this.asked = new Set();
        this.screen = null;
        this.closed = false;
    }

    of(kind) {
        return this.stream.getTracks().find(t => t.kind == kind) ?? null;
    }

    async want(wants) {
        if (this.closed) return;
        Object.assign(this.wants, wants);

        for (const what of ['mic', 'cam'])
            if (!this.wants[what] && !this.shown(what)) this.drop(KINDS[what]);

        const missing = ['mic', 'cam'].filter(what => this.wants[what]
            && !this.of(KINDS[what]) && !this.asked.has(what));

        this.onChange();
        if (missing.length == 0) return;

        missing.forEach(what => this.asked.add(what));
        try {
            await this.ask(missing);
        } finally {
            missing.forEach(what => this.asked.delete(what));
            this.onChange();
        }
    }

    /* is the screen in its place? */
    shown(what) {
        return what == 'cam' && this.screen;
    }

    /* One question for both; if one of them is not to be had, the other is. */
    async ask(missing) {
        try {
            const stream = await navigator.mediaDevices.getUserMedia(
                Object.fromEntries(missing.map(what => [
                    KINDS[what], this.constraints(what)])));

            for (const track of stream.getTracks()) this.take(track);

        } catch (e) {
            const chosen = missing.filter(what => this.chosen[what]);

            /* what was chosen before is not there today: any other */
            if (e.name == 'OverconstrainedError' && chosen.length) {
                chosen.forEach(what => delete this.chosen[what]);
                return this.ask(missing);
            }

            if (missing.length > 1 && e.name != 'NotAllowedError') {
                const each = await Promise.allSettled(
                    missing.map(what => this.ask([what])));
                const bad = each.find(({status}) => status == 'rejected');

                if (bad) throw bad.reason;
                return;
            }

            missing.forEach(what => { this.wants[what] = false; });
            throw e;
        }
    }

    constraints(what) {
        const id = this.chosen[what];

        return {...what == 'cam' && PICTURE, ...id && {deviceId: {exact: id}}};
    }

    take(track) {
        const what = track.kind == 'audio' ? 'mic' : 'cam';

        if (this.closed || !this.wants[what] || this.shown(what))
            return track.stop();

        this.give(track);
        track.onended = () => {
            if (this.of(track.kind) != track) return;
            this.wants[what] = false;
            this.drop(track.kind);
            this.onChange();
            this.onError(unplugged());
        };
    }

    give(track) {
        const old = this.of(track.kind);

        if (old) this.stream.removeTrack(old);
        this.stream.addTrack(track);
        this.onTrack(track.kind);
        old?.stop();
        this.onChange();
    }

    drop(kind) {
        const old = this.of(kind);

        if (!old) return;
        old.stop();
        this.stream.removeTrack(old);
        this.onTrack(kind);
    }

    /* another microphone or camera, while it goes on */
    async choose(what, id) {
        const before = this.chosen[what];

        this.chosen[what] = id;
        if (!this.of(KINDS[what]) || this.shown(what)) return;

        try {
            const stream = await navigator.mediaDevices.getUserMedia(
                {[KINDS[what]]: this.constraints(what)});

            this.take(stream.getTracks()[0]);
        } catch (e) {
            this.chosen[what] = before;
            throw e;
        }
    }

    async share(on) {
        if (!on) {
            this.screen = null;
            this.drop('video');
            return this.want({});
        }

        let stream;

        try {
            stream = await navigator.mediaDevices.getDisplayMedia(
                {video: true});
        } catch (e) {
            if (e.name == 'NotAllowedError') return;    /* thought better */
            throw e;
        }

        const [track] = stream.getVideoTracks();

        if (this.closed) return track.stop();
        this.screen = track;
        this.give(track);
        track.onended = () => this.screen == track
            && this.share(false).catch(this.onError);
    }

    close() {
        this.closed = true;
        this.stream.getTracks().forEach(t => t.stop());
    }
}

/*
 * Copyright (C) The Astro authors
 *
 * Whatever the network does, what was kept is stored once, in the order that
 * it was written, and what happens is told once, in order.  Two windows share
 * one box; they are reloaded, put to sleep, sent away; tokens end, replies are
 * lost.  These are always the same; WORLDS=5000 SEED=70000 plays others.  One
 * that fails says its seed, and ONE=seed plays it alone.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import {Consult} from '../../web/consult.js';
import {Server, Time, chance, socketOf} from './world.mjs';

const CONVS = ['c_1', 'c_2'];
const WILD_MS = 60000, CALM_MS = 180000;

const one = process.env.ONE;
const first = +(one ?? process.env.SEED ?? 1);
const worlds = one ? 1 : +(process.env.WORLDS ?? 120);


class Window {

    constructor(world, name) {
        Object.assign(this, {world, name, wrote: 0, late: new Set()});
        this.open();
    }

    open() {
        const {world} = this, {server, time, random} = world;
        const links = this.links = new Set();
        const timers = this.timers = new Set();
        const last = this.last = new Map();

        const line = this.line = new Consult({
            url: '', device: this.name + world.n++, box: world.box,
            socket: socketOf(server, links), random,
            token: asked => world.token(asked),
            clock: {now: () => time.now(), clear: t => time.clear(t),
                    set: (f, ms) => {
                        const t = time.set(() => this.line == line && f(), ms);

                        timers.add(t);
                        return t;
                    }}});

        /* as a page that shows one conversation from REST, and not the other */
        last.set('c_1', server.convs.get('c_1').length);
        line.know('c_1', last.get('c_1'));

        line.on('gap', ({conv, head}) => {
            assert.ok(head <= server.convs.get(conv).length, 'gap of nothing');
            if (last.has(conv) && head <= last.get(conv)) return;
            last.set(conv, head);
        });
        line.on('chat_message', ({conv, seq, payload}) => {
            if (last.has(conv))
                assert.equal(seq, last.get(conv) + 1, `${conv} out of order`);
            assert.deepEqual(payload, server.convs.get(conv)[seq - 1].payload);
            last.set(conv, seq);
        });
        line.start();
    }

    reload() {
        const old = this.line;

        for (const link of [...this.links]) link.close();
        this.open();
        old.drop();
    }

    write() {
        const {world} = this;
        const conv = CONVS[+(world.random() < 0.3)];
        const bad = world.random() < 0.05;
        const text = bad ? 'bad' : `${this.name} ${++this.wrote}`;
        const {line} = this;

        if (!bad) world.wrote.push([conv, this.name, text]);
        line.keep('chat_message', {conv, text}).then(
            ({seq}) => {
                assert.ok(!bad);
                assert.equal(world.server.convs.get(conv)[seq - 1]
                             ?.payload.text, text, 'another seq');
            },
            e => assert.ok(bad && e.code == 'bad_request', `${text} refused`))
            .catch(e => world.failed.push(e));
    }

    /* all that it heard and sent is lost, and its timers are late */
    sleep(ms) {
        for (const link of [...this.links]) link.cut();
        this.world.time.sleep(ms, this.timers);
    }
}


class World {

    constructor(seed) {
        this.random = chance(seed);
        this.time = new Time();
        this.server = new Server(this.time, this.random);
        this.box = new Box();
        this.wrote = [];
        this.failed = [];
        this.n = 0;
        for (const conv of CONVS)
            this.server.convs.set(conv, []);
        while (this.random() < 0.7) this.peer();
        this.windows = [new Window(this, 'a')];
        if (this.random() < 0.4) this.windows.push(new Window(this, 'b'));
    }

    peer() {
        this.server.store(CONVS[+(this.random() < 0.4)], 'u_2', {text: '.'});
    }

    token({fresh}) {
        const {server, time, random} = this;

        if (server.may(0.03)) return new Promise(() => {});
        return new Promise((ok, bad) => time.set(() => server.may(0.1)
            ? bad(Object.assign(Error('away'), {retry: true}))
            : ok(fresh ? this.had = server.token : this.had ?? 1),
        random() * 200));
    }

    act() {
        const {server, random} = this;
        const w = this.windows[Math.floor(random() * this.windows.length)];
        const dice = random();

        if (dice < 0.45) return w.write();
        if (dice < 0.75) return this.peer();
        if (dice < 0.77) return [...Array(20)].forEach(() => this.peer());
        if (dice < 0.79) return w.reload();
        if (dice < 0.81) return w.sleep(5000 + random() * 60000);
        if (dice < 0.83) return w.line.poke();
        if (dice < 0.85) return w.line.cut();
        if (dice < 0.87) {
            /* one that was made this moment does not end in it */
            if (!this.windows.some(({line}) => line.renewed || line.refused))
                server.token++;
            return undefined;
        }

        for (const wire of [...server.wires])
            if (dice < 0.93) wire.cut();
            else if (wire.user && dice < 0.95)
                wire.bye(4503, 'resume', random() * 900);
            else if (wire.user && dice < 0.96)
                wire.bye(4429, 'stop', 0);
            else if (wire.user && dice < 0.98)
                wire.down({type: 'auth_expiring', payload: {}});
            else if (wire.user)
                wire.down({type: 'ping', heads: server.heads()});
        return undefined;
    }

    async play() {
        const {time, random, server} = this;
        const end = time.now() + WILD_MS;

        while (time.now() < end) {
            await time.run(time.now() + random() * 2000);
            if (random() < 0.6) this.act();
        }

        server.wild = false;
        await time.run(time.now() + CALM_MS);

        for (const {line, last, name} of this.windows) {
            assert.equal(line.state, 'ready',
                         `${name} is not back: ${line.why?.code}`);
            for (const conv of CONVS)
                assert.equal(last.get(conv) ?? 0,
                             server.convs.get(conv).length,
                             `${name} was not told all of ${conv}`);
            assert.equal(line.kept.length, 0, 'still on its way');
            for (const map of [line.asked, line.order.ahead, line.order.busy,
                               line.order.wants, line.outbox.under])
                assert.equal(map.size, 0, 'something is left behind');
        }

        for (const conv of CONVS) for (const name of ['a', 'b'])
            assert.deepEqual(server.convs.get(conv).map(m => m.payload.text)
                .filter(text => text.startsWith(`${name} `)),
            this.wrote.filter(([c, n]) => c == conv && n == name)
                .map(([, , text]) => text), 'what was written is stored');

        assert.deepEqual(JSON.parse(this.box.getItem('consult.kept')
                                    ?? '[]'), [], 'the box is not empty');
        if (this.failed.length) throw this.failed[0];
        this.windows.forEach(w => w.line.stop());
    }
}

class Box extends Map {
    getItem(k) { return this.get(k) ?? null; }
    setItem(k, v) { this.set(k, v); }
}


test(`${worlds} worlds from seed ${first}`, async () => {
    for (let seed = first; seed < first + worlds; seed++) {
        const crash = e => {
            throw Error(`ONE=${seed}: ${e.stack}`, {cause: e});
        };
        const world = new World(seed);

        globalThis.reportError = e => world.failed.push(e);
        await world.play().catch(crash);
        if (world.failed.length) crash(world.failed[0]);
    }
});

/*
 * Copyright (C) The Astro authors
 *
 * One conversation, as this window has it: messages by seq, what happened to
 * them since, what is on its way, who writes, who has read what.
 *
 * History comes through REST, from the newest back; what happens meanwhile
 * comes over the line, by the same seq, so that neither is shown twice.
 */

import {get} from './api.js';

const PAGE = 40;
const TYPING_MS = 3000;

const visible = () => document.visibilityState == 'visible';
const ABOUT = ['chat_edit', 'chat_delete', 'chat_react'];


export class Chat {

    /* seen(): whether somebody looks at it */
    constructor(line, conv, me, onChange, seen = visible) {
        Object.assign(this, {line, conv, me, onChange, seen});

        this.messages = new Map();      /* seq: message */
        this.mine = [];                 /* on their way: {cid, text, ..} */
        this.first = null;              /* the oldest seq looked at */
        this.peer = {delivered: 0, read: 0};
        this.typing = false;
        this.acked = {delivered: 0, read: 0};
        this.head = 0;
        this.loading = 0;
        this.late = [];                 /* of messages that are being read */
        this.offs = [
            ...['chat_message', ...ABOUT, 'session_end'].map(
                type => line.on(type, m => this.event(m))),
            line.on('stored', k => this.stored(k)),
            line.on('lost', k => this.failed(k.payload.cid, k.error)),
            line.on('chat_receipt', m => this.receipt(m)),
            line.on('chat_typing', m => this.types(m)),
            line.on('gap', ({conv: c, head}) => c == conv && this.gap(head)),
            line.on('hello', () => this.first === null ? this.again()
                                                       : this.ack())];

        for (const {type, payload} of line.kept)
            if (type == 'chat_message' && payload.conv == conv)
                this.mine.push({...payload, state: 'sending'});
    }

    close() {
        this.offs.forEach(off => off());
        clearTimeout(this.silent);
    }

    get list() {
        return [...this.messages.values()].sort((a, b) => a.seq - b.seq);
    }


    /* -- what was -- */

    async load() {
        const c = await get(`/conversations/${this.conv}`);

        this.peer = {delivered: Math.max(this.peer.delivered, c.peer_delivered),
                     read: Math.max(this.peer.read, c.peer_read)};
        this.acked = {delivered: c.delivered, read: c.read};
        this.head = Math.max(this.head, c.head);
        await this.page(Math.max(0, c.head - PAGE));
        this.line.know(this.conv, c.head);
        this.ack();
        return c;
    }

    again() {
        this.load().catch(() => {});        /* the next hello's */
    }

    /* what we have may be far behind, and altered: it is read anew */
    gap(head) {
        if (this.first !== null && head <= this.head) return;
        this.messages.clear();
        this.first = null;
        this.again();
    }

    async older() {
        await this.page(Math.max(0, this.first - 1 - PAGE), this.first - 1);
    }

    async page(after, upto = Infinity) {
        this.loading++;

        try {
            const {data} = await get(`/conversations/${this.conv}/messages`
                + `?limit=${PAGE}&cursor=${after}`);

            for (const m of data)
                if (m.seq <= upto && m.type == 'chat_message') this.put(m);

            for (const m of this.late) this.alter(m);
            this.first = after + 1;
        } finally {
            if (--this.loading == 0) this.late = [];
        }

        this.onChange();
    }

    /* it is there: what is on its way is that, by its cid */
    put(m) {
        if (!this.messages.has(m.seq))
            this.messages.set(m.seq, this.message(m));
        this.mine = this.mine.filter(x => x.cid != m.payload.cid);
    }

    /* of REST: as it is by now; of the line: as it was sent */
    message(m) {
        const p = m.payload;

        return {seq: m.seq, ts: new Date(m.ts), from: p.from ?? m.from,
                cid: p.cid, kind: p.kind, text: p.text, quote: p.quote,
                edited: !!m.edited_at,
                deleted: !!(m.deleted_at || m.deleted || p.deleted),
                reactions: m.reactions ?? [],
                my: m.my_reaction ?? null};
    }


    /* -- what happens -- */

    event(m) {
        if (m.conv != this.conv) return;
        this.head = Math.max(this.head, m.seq);

        if (m.type == 'chat_message') {
            this.put(m);
            if (m.payload.from != this.me) this.typing = false;

        } else if (ABOUT.includes(m.type)) {
            this.alter(m);
            if (this.loading) this.late.push(m);
        }

        this.ack();
        this.onChange();
    }

    /* says what is, not what changed: twice is as good as once */
    alter({type, payload: p}) {
        const old = this.messages.get(p.msg);

        if (old) this.messages.set(p.msg, {...old, ...
            type == 'chat_edit' ? {text: p.text, edited: true}
            : type == 'chat_delete' ? {text: '', deleted: true}
            : {reactions: p.reactions,
               my: p.from != this.me ? old.my : p.on ? p.emoji : null}});
    }

    receipt({conv, payload: p}) {
        if (conv != this.conv || p.from == this.me) return;
        this.peer = {delivered: Math.max(this.peer.delivered, p.delivered),
                     read: Math.max(this.peer.read, p.read)};
        this.onChange();
    }

    types({conv, payload: p}) {
        if (conv != this.conv || p.from == this.me) return;
        clearTimeout(this.silent);
        this.typing = p.on;
        this.silent = setTimeout(() => {
            this.typing = false;
            this.onChange();
        }, 6000);
        this.onChange();
    }

    /* delivered when it is here, read when it is looked at; one at a time,
     * for each says all that was said before it */
    async ack() {
        const read = this.seen() ? this.head : this.acked.read;

        if (this.acking || !this.line.open
            || (this.head <= this.acked.delivered && read <= this.acked.read))
            return;

        this.acking = true;

        try {
            const says = {delivered: this.head, read};

            await this.line.ask('chat_ack', {conv: this.conv, ...says});
            this.acked = says;
        } catch (e) {
            return;                         /* the next event's, or hello's */
        } finally {
            this.acking = false;
        }

        this.ack();
    }


    /* -- what one does -- */

    send(text, {reply, kind = 'text'} = {}) {
        const m = {conv: this.conv, cid: crypto.randomUUID(), kind, text,
                   ...reply && {reply_to: reply}};

        this.mine.push({...m, state: 'sending'});
        this.write('');
        this.onChange();

        return this.line.keep('chat_message', m).catch(error => {
            this.failed(m.cid, error);
            throw error;
        });
    }

    failed(cid, error) {
        this.mine = this.mine.map(x => x.cid != cid ? x
                                  : {...x, state: 'failed', error});
        this.onChange();
    }

    /* its event was before a gap, or comes yet; it is shown by its seq */
    stored({type, payload: p, reply: {seq, ts}}) {
        if (type != 'chat_message' || p.conv != this.conv || !seq) return;

        if (this.first !== null && seq >= this.first && !p.reply_to)
            this.put({seq, ts, payload: {...p, from: this.me}});
        else this.mine = this.mine.filter(x => x.cid != p.cid);
        this.onChange();
    }

    forget(cid) {
        this.mine = this.mine.filter(x => x.cid != cid);
        this.onChange();
    }

    edit(msg, text) {
        return this.line.keep('chat_edit', {conv: this.conv, msg, text});
    }

    remove(msg) {
        return this.line.keep('chat_delete', {conv: this.conv, msg});
    }

    react(msg, emoji) {
        const on = this.messages.get(msg)?.my != emoji;

        return this.line.keep('chat_react', {conv: this.conv, msg, emoji, on});
    }

    /* at most once in a while, and at once when it is over */
    write(text) {
        const on = text != '';

        if (on ? Date.now() - (this.wrote ?? 0) < TYPING_MS : !this.wrote)
            return;
        this.wrote = on ? Date.now() : 0;
        this.line.say('chat_typing', {conv: this.conv, on});
    }

    /* sending, failed, sent, delivered, read */
    mark(m) {
        return m.state ?? (m.seq <= this.peer.read ? 'read'
            : m.seq <= this.peer.delivered ? 'delivered' : 'sent');
    }
}

/*
 * Copyright (C) The Astro authors
 *
 * The messages of one conversation: what was said, and what one says.
 */

import {html, useEffect, useLayoutEffect, useReducer, useRef, useState}
    from '../vendor/preact.js';
import {say, sayError} from '../words.js';
import {line, now, use} from '../live.js';
import {Chat} from '../chat.js';
import {moment, time} from '../format.js';
import {Act, still, tellError} from '../ui.js';
import {EmojiButton} from './emoji_button.js';

/* a message of nothing else */
const EMOJI = new RegExp('^[\\p{Extended_Pictographic}\\p{Emoji_Modifier}'
                         + '\\u200d\\ufe0f]{1,20}$', 'u');

const QUICK = ['👍', '❤️', '🙏', '😊', '😢'];


function useChat(conv, me) {
    const [, draw] = useReducer(n => n + 1, 0);
    const [chat, set] = useState(null);

    useEffect(() => {
        if (!conv || !line) return;

        const c = new Chat(line, conv, me, draw);
        const seen = () => c.ack();

        c.load().catch(tellError);
        document.addEventListener('visibilitychange', seen);
        set(c);
        return () => {
            document.removeEventListener('visibilitychange', seen);
            c.close();
        };
    }, [conv, line]);
    return chat;
}

export function Messages({conv, me, name, open}) {
    const chat = useChat(conv, me);
    const [about, setAbout] = useState(null);   /* {reply} or {edit}: one */
    const box = useRef(null);
    const stick = useRef(true);

    const {line: state} = use();
    const list = chat?.list ?? [], mine = chat?.mine ?? [];

    /*
     * What is new is shown, unless one reads further up: in the frame that it
     * is painted in, so that the page is laid out once for all that came.
     */
    useLayoutEffect(() => {
        if (!stick.current) return;

        const frame = requestAnimationFrame(() => {
            if (box.current) box.current.scrollTop = box.current.scrollHeight;
        });

        return () => cancelAnimationFrame(frame);
    }, [list.length, mine.length, chat?.typing]);

    if (!chat) return null;

    return html`<section class="chat" aria-label=${say('chat.title')}>
        <div class="said" role="log" aria-relevant="additions" tabindex="0"
             ref=${box}
             aria-label=${say('chat.title')} onScroll=${e => {
                const b = e.currentTarget;
                stick.current = b.scrollHeight - b.scrollTop
                                - b.clientHeight < 60;
             }}>
            ${chat.first > 1 && html`<${Act} class="plain small"
                does=${() => { stick.current = false; return chat.older(); }}
                >${say('chat.older')}</${Act}>`}
            ${list.map(m => html`<${Message} key=${m.seq} m=${m} chat=${chat}
                mark=${m.from == me ? chat.mark(m) : null}
                name=${name} about=${open && setAbout} />`)}
            ${mine.map(m => html`<${Message} key=${m.cid} m=${m} chat=${chat}
                mark=${m.state == 'sending' && state != 'ready' ? 'kept'
                                                                : m.state}
                name=${name} />`)}
            ${chat.typing && html`<p class="typing" aria-hidden="true">${
                say('chat.typing', {name})}</p>`}
        </div>
        ${open ? html`<${Write} chat=${chat} about=${about}
                                setAbout=${setAbout} list=${list} />`
               : html`<p class="closed"><small>${
                     say('chat.closed')}</small></p>`}
    </section>`;
}


const MINUTES = 60000;

/* mark: how far one's own has come; null: the other party's */
const Message = still(({m, chat, mark, name, about}) => {
    const [open, set] = useState(false);
    const own = mark !== null;
    const who = own ? say('session.mine') : name;

    return html`<article class="message ${own ? 'own' : ''}"
            data-seq=${m.seq} data-cid=${m.cid}>
        <span class="unseen">${who}</span>
        ${m.quote && html`<blockquote>${m.quote.deleted
            ? say('chat.deleted') : m.quote.excerpt}</blockquote>`}
        <p class=${m.kind == 'emoji' ? 'big' : ''}>${m.deleted
            ? html`<em>${say('chat.deleted')}</em>` : m.text}</p>
        <footer>
            <time title=${m.ts ? moment(m.ts) : ''}>${m.ts
                ? time(m.ts) : ''}</time>
            ${m.edited && !m.deleted && html` ${say('chat.edited')}`}
            ${mark && html` <span class="mark ${mark}">${
                mark == 'failed' ? sayError(m.error)
                                 : say(`chat.${mark}`)}</span>`}
            ${mark == 'failed' && html` <button class="plain small"
                onClick=${() => chat.forget(m.cid)}>${
                say('app.close')}</button>`}
            ${m.seq && !m.deleted && about && html`<button class="plain acts"
                aria-expanded=${open} aria-label=${say('chat.acts')}
                onClick=${() => set(!open)}>⋯</button>`}
        </footer>
        ${m.reactions?.length > 0 && html`<p class="reactions">${
            m.reactions.map(r => html`<button class="plain"
                aria-pressed=${m.my == r.emoji} onClick=${() =>
                chat.react(m.seq, r.emoji).catch(tellError)}>${r.emoji} ${
                r.count}</button>`)}</p>`}
        ${open && html`<p class="menu">
            ${QUICK.map(e => html`<button class="plain"
                aria-label="${say('chat.react')} ${e}" onClick=${() => {
                    set(false);
                    chat.react(m.seq, e).catch(tellError);
                }}>${e}</button>`)}
            <button class="plain small" onClick=${() => {
                set(false);
                about({reply: m});
            }}>${say('chat.reply')}</button>
            ${own && Date.now() + now.skew - m.ts < 10 * MINUTES
              && html`<button class="plain small" onClick=${() => {
                    set(false);
                    about({edit: m});
                }}>${say('chat.edit')}</button>`}
            ${own && html`<${Act} class="plain small" does=${async () => {
                set(false);
                await chat.remove(m.seq);
            }}>${say('chat.delete')}</${Act}>`}
        </p>`}
    </article>`;
});


function Write({chat, about, setAbout}) {
    const draft = `astro.draft.${chat.me}.${chat.conv}`;
    const [text, set] = useState(() => sessionStorage.getItem(draft) ?? '');
    const field = useRef(null);

    /* it is there again when one comes back */
    useEffect(() => {
        if (text && !about?.edit) sessionStorage.setItem(draft, text);
        else sessionStorage.removeItem(draft);
    }, [text]);

    useEffect(() => {
        if (about?.edit) set(about.edit.text);
        if (about) field.current.focus();
    }, [about]);

    /* whoever thinks better of a reply has not thought better of the words */
    function cancel() {
        if (about.edit) set('');
        setAbout(null);
        field.current.focus();
    }

    function send(e) {
        e?.preventDefault();

        const said = text.trim();

        if (!said) return;

        const done = about?.edit ? chat.edit(about.edit.seq, said)
            : chat.send(said, {reply: about?.reply?.seq,
                               kind: EMOJI.test(said) ? 'emoji' : 'text'});

        done.catch(error => about?.edit && tellError(error));
        set('');
        setAbout(null);
        field.current.focus();
    }

    return html`<form class="write" onSubmit=${send}>
        ${about && html`<p class="about"><span>${about.edit
            ? say('chat.editing')
            : say('chat.replying', {text: about.reply.text})}</span>
            <button type="button" class="plain" aria-label=${say('app.cancel')}
                onClick=${cancel}>×</button></p>`}
        <textarea ref=${field} rows="1" value=${text} maxlength="4000"
            aria-label=${say('chat.write')} placeholder=${say('chat.write')}
            onInput=${e => { set(e.target.value); chat.write(e.target.value); }}
            onBlur=${() => chat.write('')}
            onKeyDown=${e => {
                if (e.key == 'Enter' && !e.shiftKey && !e.isComposing) send(e);
                if (e.key == 'Escape' && about) cancel();
            }}></textarea>
        <${EmojiButton} field=${field} />
        <button type="submit">${say('chat.send')}</button>
    </form>`;
}

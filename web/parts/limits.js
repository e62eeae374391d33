/*
 * Copyright (C) The Astro authors
 *
 * Limits that one sets oneself: lower is at once, higher a day later; and a
 * time in which one cannot begin anything, which nobody can make shorter.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {get, put} from '../api.js';
import {digits, minor, moment, money} from '../format.js';
import {Act, Dialog, Field, Wait, tell, useData} from '../ui.js';

const DAYS = [1, 7, 30, 180];

export function Limits() {
    const {wallet} = use();
    const of = useData(() => get('/me/limits'), [wallet?.balance]);

    return html`<section class="narrow" id="limits">
        <h2>${say('limits.title')}</h2>
        <p>${say('limits.lead')}</p>
        <${Wait} of=${of}>${of.data && html`
            ${['day', 'week'].map(k => html`<${Limit} key=${k} kind=${k}
                of=${of.data} again=${of.again} />`)}
            <${Away} until=${of.data.excluded_until} again=${of.again} />`}
        </${Wait}></section>`;
}

function Limit({kind, of, again}) {
    const currency = of[`spent_${kind}`].currency;
    const now = of[kind], next = of[`${kind}_next`];
    const shown = m => m ? (m.amount / 10 ** digits(currency))
                            .toFixed(digits(currency)) : '';
    const [text, set] = useState(shown(now));
    const empty = !text.trim(), amount = minor(text, currency);

    useEffect(() => set(shown(now)), [now?.amount]);

    return html`<form onSubmit=${e => e.preventDefault()} class="limit">
        <${Field} label=${say(`limits.${kind}`, {currency})}
            name="limit-${kind}" inputmode="decimal" value=${text}
            error=${!empty && !(amount >= 0) && say('desk.wrong')}
            help=${say('limits.spent', {money: money(of[`spent_${kind}`])})}
            onInput=${e => set(e.currentTarget.value)} />
        <${Act} class="secondary" disabled=${!empty && !(amount >= 0)}
            does=${async () => {
                await put('/me/limits', {[kind]: empty ? null : amount});
                tell(say('app.saved'));
                again();
            }}>${say('app.save')}</${Act}>
        ${next && html`<p role="status">${next.limit
            ? say('limits.next', {money: money(next.limit),
                                  when: moment(next.at)})
            : say('limits.none', {when: moment(next.at)})}</p>`}
    </form>`;
}

function Away({until, again}) {
    const [days, set] = useState('7');
    const [sure, ask] = useState(false);
    const end = () => new Date(Date.now() + days * 86400000);

    return html`<form onSubmit=${e => e.preventDefault()}>
        ${until && html`<p role="status" class="banner">${
            say('limits.away', {when: moment(until)})}</p>`}
        <${Field} label=${say('limits.exclude')}>
            <select value=${days} onInput=${e => set(e.currentTarget.value)}>
                ${DAYS.map(n => html`<option value=${n}>${
                    say(n == 1 ? 'limits.day1' : 'limits.days', {n})
                }</option>`)}</select></${Field}>
        <button type="button" class="secondary" onClick=${() => ask(true)}>${
            say('limits.out')}</button>
        ${sure && html`<${Dialog} title=${say('limits.out')}
                onClose=${() => ask(false)}>
            <p>${say('limits.sure', {when: moment(end())})}</p>
            <footer class="row">
                <button type="button" class="secondary"
                    onClick=${() => ask(false)}>${say('app.cancel')}</button>
                <${Act} class="end" does=${async () => {
                    await put('/me/limits', {
                        excluded_until: end().toISOString()});
                    ask(false);
                    again();
                }}>${say('limits.out')}</${Act}>
            </footer></${Dialog}>`}
    </form>`;
}

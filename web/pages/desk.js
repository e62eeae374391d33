/*
 * Copyright (C) The Astro authors
 *
 * An advisor's desk: whether one is to be found, what one asks for, when one
 * can be booked, and who has.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {line, use} from '../live.js';
import {get, post, put} from '../api.js';
import {minor, moment, money, digits} from '../format.js';
import {Act, Field, List, Wait, tell, useData, useList, useTitle}
    from '../ui.js';

const SERVICES = ['chat', 'audio', 'video'];

export default function Desk() {
    useTitle(say('nav.desk'));

    const of = useData(() => get('/advisors/me'));
    const figures = useData(() => get('/advisors/me/dashboard'));

    return html`<h1>${say('nav.desk')}</h1>
        <${Wait} of=${of}>${of.data && html`
            <${Status} me=${of.data} onChange=${of.again} />
            <${Wait} of=${figures}>${figures.data && html`
                <${Figures} of=${figures.data} />`}</${Wait}>
            <${Bookings} />
            <${Rates} me=${of.data} onChange=${of.again} />
            <${Hours} />`}
        </${Wait}>`;
}

function Status({me, onChange}) {
    return html`<section class="row">
        <p class="here ${me.away ? 'offline' : 'online'}" role="status">
            <i aria-hidden="true"></i>${say(me.away ? 'desk.hidden'
                                                    : 'desk.shown')}</p>
        <${Act} class=${me.away ? '' : 'secondary'} does=${async () => {
            await put('/advisors/me/status',
                      {status: me.away ? 'online' : 'offline'});
            onChange();
        }}>${say(me.away ? 'desk.show' : 'desk.hide')}</${Act}>
        ${!me.approved && html`<p class="banner">${
            say('desk.unapproved')}</p>`}
    </section>`;
}

function Figures({of}) {
    const tiles = [['desk.sessions', of.sessions], ['desk.clients', of.clients],
                   ['desk.earned', money(of.earned)],
                   ['desk.balance', money(of.balance)]];

    return html`<dl class="tiles">${tiles.map(([k, v]) => html`
        <div class="tile"><dt>${say(k)}</dt><dd>${v}</dd></div>`)}</dl>`;
}


/* -- what others have booked -- */

function Bookings() {
    const {notices} = use();
    const list = useList('/bookings?limit=20');
    const newest = notices.find(n => n.kind.startsWith('booking'))?.id;

    useEffect(() => { if (newest) list.again(); }, [newest]);

    const act = (b, what) => html`<${Act} class="small ${
        what == 'confirm' ? '' : 'secondary'}" does=${async () => {
            await post(`/bookings/${b.id}/${what}`);
            list.again();
        }}>${say(`desk.${what}`)}</${Act}>`;

    const open = list.rows.filter(b => ['requested', 'confirmed', 'open']
                                       .includes(b.state));

    if (open.length == 0) return null;

    return html`<section><h2>${say('desk.bookings')}</h2>
        <ul class="plain">${open.map(b => html`<li key=${b.id} class="row">
            <span>${moment(b.start)}, ${b.client.name}, ${
                say(`service.${b.service}`)}, ${say(`booking.${b.state}`)}
            </span>
            ${b.note && html`<small class="prose">${b.note}</small>`}
            ${b.state == 'requested' && [act(b, 'confirm'),
                                         act(b, 'decline')]}
        </li>`)}</ul>
    </section>`;
}


/* -- what one asks for -- */

function Rates({me, onChange}) {
    const currency = use().user.currency ?? 'INR';
    const [form, set] = useState(() => ({
        headline: me.headline, bio: me.bio, ...Object.fromEntries(
            SERVICES.map(s => [s, me.rates[s] === null ? ''
                : (me.rates[s].amount / 10 ** digits(currency)).toFixed(
                    digits(currency))]))}));
    const wrong = SERVICES.filter(s => form[s] != ''
                                       && !(minor(form[s], currency) > 0));

    async function save() {
        if (wrong.length) return;
        await put('/advisors/me', {
            headline: form.headline, bio: form.bio,
            rates: Object.fromEntries(SERVICES.map(s => [
                s, form[s] == '' ? null : minor(form[s], currency)]))});
        tell(say('app.saved'));
        onChange();
    }

    const field = name => ({value: form[name], onInput: e => set(
        {...form, [name]: e.target.value})});

    return html`<section><h2>${say('desk.offer')}</h2>
        <form onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('desk.headline')} maxlength="120"
                      ...${field('headline')} />
            <${Field} label=${say('desk.bio')}><textarea rows="4"
                ...${field('bio')}></textarea></${Field}>
            <div class="filters">${SERVICES.map(s => html`<${Field}
                label=${say('desk.rate', {service: say(`service.${s}`),
                                          currency})}
                inputmode="decimal" help=${say('desk.none')}
                error=${wrong.includes(s) && say('desk.wrong')}
                ...${field(s)} />`)}</div>
            <${Act} does=${save}>${say('app.save')}</${Act}>
        </form>
    </section>`;
}


/* -- when one can be booked: one span for each day of the week -- */

function Hours() {
    const of = useData(() => get('/advisors/me/schedule'));
    const [week, set] = useState(null);
    const s = of.data;

    useEffect(() => { if (s) set(s.week); }, [s]);

    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const spans = day => (week ?? []).filter(w => w.day == day);
    const name = day => new Date(Date.UTC(2024, 0, day)).toLocaleDateString(
        undefined, {weekday: 'long', timeZone: 'UTC'});

    function change(day, what) {
        const old = spans(day)[0] ?? {day, from: '09:00', to: '17:00'};
        const rest = week.filter(w => w.day != day);

        set(what ? [...rest, {...old, ...what}] : rest);
    }

    async function save() {
        await put('/advisors/me/schedule', {
            time_zone: s.time_zone ?? zone, slot_minutes: s.slot_minutes,
            lead_minutes: s.lead_minutes, ahead_days: s.ahead_days,
            days: s.days, week});
        tell(say('app.saved'));
        of.again();
    }

    return html`<section><h2>${say('desk.hours')}</h2>
        <${Wait} of=${of}>${week && html`
            <p><small>${say('desk.zone',
                            {zone: s.time_zone ?? zone})}</small></p>
            <div class="wide"><table><tbody>
            ${[1, 2, 3, 4, 5, 6, 7].map(day => {
                const span = spans(day)[0];

                return html`<tr key=${day}>
                    <th scope="row"><label><input type="checkbox"
                        checked=${!!span} onChange=${e => change(day,
                        e.target.checked ? {} : null)} />${name(day)}</label>
                    </th>
                    ${['from', 'to'].map(end => html`<td>${span && html`<input
                        type="time" aria-label="${name(day)}, ${
                        say(`desk.${end}`)}" value=${span[end]}
                        onChange=${e => change(day, {[end]: e.target.value})}
                        />`}</td>`)}
                </tr>`;
            })}</tbody></table></div>
            <${Act} does=${save}>${say('app.save')}</${Act}>`}
        </${Wait}>
    </section>`;
}

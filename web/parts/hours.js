/*
 * Copyright (C) The Astro authors
 *
 * When an advisor can be booked: spans of each day of the week, by the clock
 * of the advisor's zone; days on which it is otherwise; how slots are cut.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, put} from '../api.js';
import {day as date} from '../format.js';
import {Act, Field, Wait, tell, useData} from '../ui.js';

const DAYS = [1, 2, 3, 4, 5, 6, 7];

const name = day => new Date(Date.UTC(2024, 0, day)).toLocaleDateString(
    undefined, {weekday: 'long', timeZone: 'UTC'});

/* the end of a day is 24:00 to the server, and 00:00 to an input */
const shown = to => to == '24:00' ? '00:00' : to;
const meant = to => to == '00:00' ? '24:00' : to;

const sorted = spans => [...spans].sort((a, b) => a.day - b.day
                                        || a.from.localeCompare(b.from));

/* spans that end before they begin, or run into the next one */
export const faults = week => sorted(week).filter((s, i, all) =>
    !s.from || !s.to || s.from >= s.to
    || (all[i + 1]?.day == s.day && all[i + 1].from < s.to));


export function Hours() {
    const of = useData(() => get('/advisors/me/schedule'));
    const [form, set] = useState(null);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

    useEffect(() => {
        if (of.data) set({...of.data, time_zone: of.data.time_zone ?? zone});
    }, [of.data]);

    const wrong = form ? faults(form.week) : [];
    const change = what => set({...form, ...what});

    async function save() {
        if (wrong.length) return;
        await put('/advisors/me/schedule', {
            time_zone: form.time_zone, slot_minutes: +form.slot_minutes,
            lead_minutes: +form.lead_minutes, ahead_days: +form.ahead_days,
            days: form.days, week: sorted(form.week)});
        tell(say('app.saved'));
        of.again();
    }

    return html`<section><h2>${say('desk.hours')}</h2>
        <${Wait} of=${of}>${form && html`<form class="hours"
                onSubmit=${e => e.preventDefault()}>
            <p>${say('desk.zone', {zone: form.time_zone})}
                ${form.time_zone != zone && html` <button type="button"
                    class="plain link" onClick=${() => change(
                    {time_zone: zone})}>${say('desk.zone.here', {zone})}
                    </button>`}</p>
            ${DAYS.map(day => html`<${Day} key=${day} day=${day}
                week=${form.week} wrong=${wrong}
                onChange=${week => change({week})} />`)}
            ${wrong.length > 0 && html`<p class="wrong" role="alert">${
                say('desk.span.wrong', {days: [...new Set(wrong.map(
                    w => name(w.day)))].join(', ')})}</p>`}
            <${Off} days=${form.days} onChange=${days => change({days})} />
            <div class="filters">
                ${[['slot_minutes', 10, 480], ['lead_minutes', 0, 20160],
                   ['ahead_days', 1, 90]].map(([k, min, max]) => html`
                    <${Field} label=${say(`desk.${k}`)} type="number"
                        min=${min} max=${max} value=${form[k]}
                        onInput=${e => change({[k]: e.target.value})} />`)}
            </div>
            <${Act} does=${save}>${say('app.save')}</${Act}></form>`}
        </${Wait}>
    </section>`;
}

function Day({day, week, wrong, onChange}) {
    const spans = week.filter(w => w.day == day);
    const is = name(day);
    const last = spans.at(-1);

    const alter = (old, what) => onChange(week.map(w => w == old
        ? {...w, ...what} : w));

    /* behind the last one, as far as there is a day left */
    const add = () => onChange([...week, !last
        ? {day, from: '09:00', to: '17:00'}
        : {day, from: last.to < '23:00' ? last.to : '00:00', to: '24:00'}]);

    return html`<fieldset class="day"><legend>${is}</legend>
        ${spans.length == 0 && html`<span class="free">${
            say('desk.free')}</span>`}
        ${spans.map((s, i) => html`<span class="span" key=${i}>
            ${['from', 'to'].map((end, n) => html`${n == 1 && html`<span
                aria-hidden="true">–</span>`}<input type="time"
                aria-label="${is}, ${say(`desk.${end}`)}" value=${shown(s[end])}
                aria-invalid=${wrong.includes(s) ? 'true' : null}
                onChange=${e => alter(s, {[end]: end == 'to'
                    ? meant(e.target.value) : e.target.value})} />`)}
            <button type="button" class="plain" aria-label=${
                say('desk.span.less', {day: is, from: s.from})}
                onClick=${() => onChange(week.filter(w => w != s))}>×</button>
        </span>`)}
        <button type="button" class="secondary small" aria-label=${
            say('desk.span.more', {day: is})} onClick=${add}>+</button>
    </fieldset>`;
}

function Off({days, onChange}) {
    const [when, set] = useState('');
    const today = new Date().toLocaleDateString('sv');  /* 2026-11-21 */
    const had = days.some(d => d.date == when);

    return html`<fieldset class="off"><legend>${say('desk.off')}</legend>
        ${days.filter(d => d.date >= today).map(d => html`<span class="span"
            key=${d.date}>${date(`${d.date}T12:00`)}${d.hours.length > 0
                && ` ${d.hours.map(h => `${h.from}–${h.to}`).join(', ')}`}
            <button type="button" class="plain" aria-label=${
                say('desk.off.less', {date: date(`${d.date}T12:00`)})}
                onClick=${() => onChange(days.filter(x => x != d))}>×</button>
        </span>`)}
        <span class="span"><input type="date" min=${today} value=${when}
            aria-label=${say('desk.off.which')}
            onInput=${e => set(e.target.value)} />
        <button type="button" class="secondary small"
            disabled=${!when || had} onClick=${() => {
                onChange([...days, {date: when, hours: []}].sort(
                    (a, b) => a.date.localeCompare(b.date)));
                set('');
            }}>${say('desk.off.more')}</button></span>
    </fieldset>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * What one has booked: what is to come, and what was.
 */

import {html, useEffect} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {List, useList, useTitle} from '../ui.js';
import {Booking, OPEN} from '../parts/booking.js';

export default function Bookings() {
    const {notices} = use();
    const list = useList('/bookings?limit=50');
    const last = notices.find(n => n.kind.startsWith('booking_'))?.id;
    const ahead = list.rows.filter(b => OPEN.includes(b.state))
        .sort((a, b) => Date.parse(a.start) - Date.parse(b.start));
    const past = list.rows.filter(b => !OPEN.includes(b.state));

    useTitle(say('nav.bookings'));
    useEffect(() => { if (list.path) list.again(); }, [last]);

    return html`<h1>${say('nav.bookings')}</h1>
        <${List} of=${list} empty=${say('booking.none')}>
        ${[['booking.ahead', ahead], ['booking.past', past]].map(
            ([title, rows]) => rows.length > 0 && html`
            <section><h2>${say(title)}</h2>
            <ul class="plain">${rows.map(b => html`<${Booking} key=${b.id}
                booking=${b} onChange=${list.again} />`)}</ul></section>`)}
        </${List}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * What an advisor offers, and asks for it.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {put} from '../api.js';
import {digits, minor} from '../format.js';
import {Act, Field, tell} from '../ui.js';

const SERVICES = ['chat', 'audio', 'video'];

const words = text => text.split(',').map(t => t.trim()).filter(Boolean);

export function Offer({me, onChange}) {
    const currency = use().user.currency ?? 'INR';
    const shown = rate => rate === null ? ''
        : (rate.amount / 10 ** digits(currency)).toFixed(digits(currency));
    const [form, set] = useState(() => ({
        headline: me.headline, bio: me.bio, languages: me.languages.join(', '),
        ...Object.fromEntries(SERVICES.map(s => [s, shown(me.rates[s])]))}));
    const wrong = SERVICES.filter(s => form[s].trim() != ''
                                       && !(minor(form[s], currency) > 0));

    async function save() {
        if (wrong.length)
            return document.getElementById(`rate-${wrong[0]}`).focus();

        await put('/advisors/me', {
            headline: form.headline, bio: form.bio,
            languages: words(form.languages),
            rates: Object.fromEntries(SERVICES.map(s => [
                s, form[s].trim() == '' ? null : minor(form[s], currency)]))});
        tell(say('app.saved'));
        return onChange();
    }

    const field = name => ({value: form[name], onInput: e => set(
        {...form, [name]: e.target.value})});

    return html`<section><h2>${say('desk.offer')}</h2>
        <form onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('desk.headline')} maxlength="200"
                      ...${field('headline')} />
            <${Field} label=${say('desk.bio')}><textarea rows="4"
                maxlength="5000" ...${field('bio')}></textarea></${Field}>
            <${Field} label=${say('desk.languages')}
                help=${say('desk.languages.how')} ...${field('languages')} />
            <div class="filters rates">${SERVICES.map(s => html`<${Field}
                label=${say('desk.rate', {service: say(`service.${s}`),
                                          currency})}
                id="rate-${s}" inputmode="decimal" help=${say('desk.none')}
                error=${wrong.includes(s) && say('desk.wrong')}
                ...${field(s)} />`)}</div>
            <p><small>${say('desk.rates.when')}</small></p>
            <${Act} does=${save}>${say('app.save')}</${Act}>
        </form>
    </section>`;
}

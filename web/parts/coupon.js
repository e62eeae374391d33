/*
 * Copyright (C) The Astro authors
 *
 * A code: money from us, or free minutes with an advisor.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {post} from '../api.js';
import {money} from '../format.js';
import {Act, Field} from '../ui.js';
import {useOnce} from './once.js';
import {lookIntoPurse} from './purse.js';

const WRONG = {not_found: 'coupon.unknown', conflict: 'coupon.used',
               rate_limited: 'coupon.slow', bad_request: 'coupon.where'};

/* advisor: {id, name} on whose page it is; onDone: there is something new */
export function Coupon({advisor, onDone}) {
    const [code, set] = useState('');
    const [said, tell] = useState(null);
    const once = useOnce([code]);

    async function redeem() {
        tell(null);

        try {
            const c = await once(key => post('/wallet/coupons', {
                code: code.trim(), ...advisor && {advisor: advisor.id}},
                key));

            set('');
            tell({text: c.amount ? say('coupon.money', {money: money(c.amount)})
                : say('coupon.minutes', {n: c.free_minutes,
                                         name: advisor?.name ?? ''})});
            lookIntoPurse().catch(() => {});
            onDone?.();
        } catch (e) {
            if (!WRONG[e.code]) throw e;
            tell({wrong: say(WRONG[e.code])});
        }
    }

    return html`<form class="coupon" onSubmit=${e => e.preventDefault()}>
        <${Field} label=${say('coupon.code')} value=${code} maxlength="64"
            autocomplete="off" autocapitalize="characters" spellcheck="false"
            error=${said?.wrong} onInput=${e => set(e.currentTarget.value)} />
        <${Act} class="secondary" disabled=${!code.trim()} does=${redeem}>${
            say('coupon.use')}</${Act}>
        <p role="status">${said?.text}</p>
    </form>`;
}

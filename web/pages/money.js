/*
 * Copyright (C) The Astro authors
 *
 * Money that came and went, for operators: whether the books are right, what
 * looks odd, payments with their refunds, payouts, coupons.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {useTitle} from '../ui.js';
import {Books} from '../parts/books.js';
import {Flagged} from '../parts/flagged.js';
import {Payments} from '../parts/payments.js';
import {Payouts} from '../parts/payouts.js';
import {Coupons} from '../parts/coupons.js';

export default function Money() {
    useTitle(say('nav.money'));

    return html`<h1>${say('nav.money')}</h1>
        <${Books} /><${Flagged} /><${Payments} /><${Payouts} /><${Coupons} />`;
}

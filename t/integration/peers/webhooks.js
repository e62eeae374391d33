// Stripe's and Razorpay's own packages judge signatures of webhooks.
// argv[2]: JSON {stripe, razorpay: secrets, now, cases: [[vendor, body,
// header]]}; prints JSON: what each vendor's package says to each case, and
// headers that Stripe's makes itself.
'use strict';

const Stripe = require('stripe');
const Razorpay = require('razorpay');

const want = JSON.parse(process.argv[2]);
const stripe = new Stripe('sk_none');

function judge([vendor, body, header]) {
    try {
        if (vendor === 'razorpay') {
            return Razorpay.validateWebhookSignature(body, header,
                                                     want.razorpay);
        }

        stripe.webhooks.signature.verifyHeader(body, header, want.stripe, 300,
                                               undefined, want.now * 1000);
        return true;
    } catch (e) {
        return false;
    }
}

console.log(JSON.stringify({
    verdicts: want.cases.map(judge),
    made: want.made.map((payload) => stripe.webhooks.generateTestHeaderString({
        payload, secret: want.stripe, timestamp: want.now })),
}));

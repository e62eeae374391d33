// Stripe's and Razorpay's own clients judge the vendors on loopback, and what
// their pages give back.  argv[2]: JSON {stripe: {port, key, intent}, razorpay:
// {url, id, secret, order, payment}, cases: [[order, payment, signature]]};
// prints JSON.
'use strict';

const Stripe = require('stripe');
const Razorpay = require('razorpay');
const { validatePaymentVerification } =
    require('razorpay/dist/utils/razorpay-utils');

const want = JSON.parse(process.argv[2]);
const stripe = new Stripe(want.stripe.key, {
    host: '127.0.0.1', port: want.stripe.port, protocol: 'http',
});
const razorpay = new Razorpay({ key_id: want.razorpay.id,
                                key_secret: want.razorpay.secret });

razorpay.api.rq.defaults.baseURL = want.razorpay.url;

function judge([order, payment, signature]) {
    try {
        return validatePaymentVerification(
            { order_id: order, payment_id: payment }, signature,
            want.razorpay.secret);
    } catch (e) {
        return false;
    }
}

async function refused(promise) {
    try {
        await promise;
        return null;
    } catch (e) {
        return [e.statusCode, e.error.code, e.error.field || null];
    }
}

async function main() {
    const said = {};
    const intent = await stripe.paymentIntents.retrieve(want.stripe.intent);

    said.intent = [intent.status, intent.amount, intent.currency,
                   intent.metadata];

    const made = await stripe.paymentIntents.create(
        { amount: 700, currency: 'inr',
          automatic_payment_methods: { enabled: true } },
        { idempotencyKey: 'by the client' });
    said.secret = made.client_secret.startsWith(`${made.id}_secret_`);

    const order = await razorpay.orders.fetch(want.razorpay.order);
    const paid = await razorpay.orders.fetchPayments(want.razorpay.order);
    const payment = await razorpay.payments.fetch(want.razorpay.payment);

    said.order = [order.status, order.amount, order.receipt, order.notes];
    said.paid = [paid.count, paid.items[0].id === payment.id];
    said.payment = [payment.status, payment.captured, payment.amount];

    const other = await razorpay.orders.create(
        { amount: 900, currency: 'INR', receipt: 'r', notes: { a: 'b' } });
    said.other = [other.entity, other.amount, other.receipt, other.notes];
    said.cheap = await refused(razorpay.orders.create(
        { amount: 1, currency: 'INR' }));
    said.verdicts = want.cases.map(judge);

    process.stdout.write(JSON.stringify(said), () => process.exit(0));
}

main();

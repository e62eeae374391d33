// Judges t/vendors/stripe_api.py: Stripe's own client talks to it.
// argv[2]: JSON {port, key}; prints JSON: what it was given.
'use strict';

const Stripe = require('stripe');

const { port, key } = JSON.parse(process.argv[2]);
const stripe = new Stripe(key, {
    host: '127.0.0.1', port, protocol: 'http', maxNetworkRetries: 2,
});

async function refused(promise) {
    try {
        await promise;
        return null;
    } catch (e) {
        return { name: e.type, status: e.statusCode, code: e.code || null,
                 param: e.param || null, type: e.rawType };
    }
}

async function main() {
    const said = {};
    const wanted = { amount: 700, currency: 'inr', destination: 'acct_1',
                     transfer_group: 'g', metadata: { payout: '5' } };
    const first = await stripe.transfers.create(wanted,
                                                { idempotencyKey: 'k1' });
    const again = await stripe.transfers.create(wanted,
                                                { idempotencyKey: 'k1' });
    said.transfer = first;
    said.replayed = [again.id === first.id,
                     again.lastResponse.headers['idempotent-replayed']];
    said.other = await refused(stripe.transfers.create(
        { ...wanted, amount: 701 }, { idempotencyKey: 'k1' }));
    said.nobody = await refused(stripe.transfers.create(
        { ...wanted, destination: 'acct_gone' }));
    said.declined = await refused(stripe.paymentIntents.create(
        { amount: 5, currency: 'inr', confirm: true,
          payment_method: 'pm_card_chargeDeclined' }));
    said.key = await refused(new Stripe('sk_wrong', {
        host: '127.0.0.1', port, protocol: 'http' }).transfers.list());

    const intent = await stripe.paymentIntents.create(
        { amount: 1000, currency: 'inr', confirm: true,
          payment_method: 'pm_card_visa', metadata: { account: '9' } });
    said.intent = [intent.status, intent.amount_received, intent.metadata];
    const refund = await stripe.refunds.create(
        { payment_intent: intent.id, amount: 400 });
    said.refund = [refund.status, refund.amount, refund.payment_intent];
    said.toomuch = await refused(stripe.refunds.create(
        { payment_intent: intent.id, amount: 601 }));

    // an account of somebody who is to be paid, and where he says more of it
    const account = await stripe.accounts.create(
        { type: 'express', country: 'IN', metadata: { account: '5' },
          capabilities: { transfers: { requested: true } } },
        { idempotencyKey: 'a1' });
    const link = await stripe.accountLinks.create(
        { account: account.id, type: 'account_onboarding',
          refresh_url: 'https://a.test/again',
          return_url: 'https://a.test/done' });
    const looked = await stripe.accounts.update(
        account.id, { metadata: { account: '5' } });
    said.account = [account.object, account.charges_enabled,
                    account.payouts_enabled, account.metadata,
                    account.capabilities];
    said.link = [link.object, link.url, link.expires_at > link.created];
    said.same = looked.id === account.id
                && (await stripe.accounts.retrieve(account.id)).country;
    said.nolink = await refused(stripe.accountLinks.create(
        { account: 'acct_nobody', type: 'account_onboarding',
          refresh_url: 'https://a.test/', return_url: 'https://a.test/' }));

    // the client's own paging, of three at a time
    said.events = [];
    for await (const event of stripe.events.list({ limit: 3 })) {
        said.events.push(event.type);
    }

    const some = await stripe.events.list(
        { types: ['refund.created', 'transfer.created'] });
    said.some = some.data.map((event) => event.type);
    said.group = (await stripe.transfers.list(
        { transfer_group: 'g' })).data.length;

    // two at a time with one key: the client tries the one that got 409 again
    const both = await Promise.all([1, 2].map(() => stripe.transfers.create(
        wanted, { idempotencyKey: 'k2' })));
    said.both = both[0].id === both[1].id;

    // it keeps its connections for a minute
    process.stdout.write(JSON.stringify(said), () => process.exit(0));
}

main();

'use strict';

// Express and pg: GET /api/wallet behind a JWT, and Stripe's webhooks, which
// Stripe's own package verifies; one query each.
//
//     PORT=.. SECRET_FILE=.. WEBHOOKS_FILE=.. [WORKERS=2] and PG* variables
//         node api.js

const cluster = require('node:cluster');
const fs = require('node:fs');

const workers = Number(process.env.WORKERS || 2);

if (cluster.isPrimary) {
    for (let i = 0; i < workers; i++) {
        cluster.fork();
    }

    process.on('SIGTERM', () => process.exit(0));
} else {
    worker();
}


function worker() {
    const express = require('express');
    const jwt = require('jsonwebtoken');
    const { Pool } = require('pg');
    const Stripe = require('stripe');

    const key = fs.readFileSync(process.env.SECRET_FILE);
    const pool = new Pool({ max: 10 });
    const app = express();

    app.disable('x-powered-by');
    app.set('etag', false);

    app.get('/api/wallet', async (request, response) => {
        let claims;

        try {
            const header = request.headers.authorization || '';

            claims = jwt.verify(header.slice('Bearer '.length), key, {
                algorithms: ['HS256'],
                issuer: 'astro',
                audience: 'astro',
            });
        } catch (e) {
            response.status(401).json({ code: 'unauthorized' });
            return;
        }

        const found = await pool.query({
            name: 'wallet',
            text: 'SELECT balance FROM wallet WHERE id = $1',
            values: [claims.sub.slice('u_'.length)],
        });

        if (found.rows.length === 0) {
            response.status(404).json({ code: 'not_found' });
            return;
        }

        response.json({ balance: found.rows[0].balance });
    });

    const stripe = new Stripe('sk_none');
    const secret = /^stripe (\S+)$/m.exec(
        fs.readFileSync(process.env.WEBHOOKS_FILE, 'utf8'))[1];

    app.post('/api/webhooks/stripe', express.raw({ type: '*/*' }),
             async (request, response) => {
        let event;

        try {
            event = stripe.webhooks.constructEvent(request.body,
                request.headers['stripe-signature'], secret);
        } catch (e) {
            response.status(400).json({ code: 'bad_signature' });
            return;
        }

        await pool.query({
            name: 'webhook',
            text: 'INSERT INTO webhook (event_id, type, body) '
                  + 'VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
            values: [event.id, event.type, request.body.toString()],
        });

        response.json({ received: true });
    });

    app.listen(Number(process.env.PORT), '127.0.0.1');
}

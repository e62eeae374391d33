'use strict';

// Express and pg: GET /api/wallet behind a JWT, one query each.
//
//     PORT=.. SECRET_FILE=.. [WORKERS=2] and PG* variables   node api.js

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

    app.listen(Number(process.env.PORT), '127.0.0.1');
}

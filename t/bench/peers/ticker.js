'use strict';

// A transaction for each session: how per-minute billing is usually written.
//
//     PG* variables   node ticker.js CONNECTIONS SECONDS SESSIONS
//
// Prints how many ticks were committed, and in how many seconds.

const { Pool } = require('pg');

const [connections, seconds, sessions] = process.argv.slice(2).map(Number);
const pool = new Pool({ max: connections });

let last = 0;


async function tick(id) {
    const client = await pool.connect();

    try {
        await client.query('BEGIN');

        const session = (await client.query({
            name: 'session',
            text: 'SELECT * FROM session WHERE id = $1 FOR UPDATE',
            values: [id],
        })).rows[0];

        const amount = Math.floor(session.rate * 5 / 60);
        const fee = Math.floor(amount * session.bps / 10000);

        const paid = await client.query({
            name: 'pay',
            text: 'UPDATE wallet SET balance = balance - $2'
                + ' WHERE id = $1 AND balance >= $2 RETURNING balance',
            values: [session.client, amount],
        });

        await client.query({
            name: 'earn',
            text: 'UPDATE wallet SET balance = balance + $2 WHERE id = $1',
            values: [session.advisor, amount - fee],
        });

        await client.query({
            name: 'tick',
            text: 'INSERT INTO tick VALUES ($1, $2, $3, $4, $5)',
            values: [id, session.tick + 1, amount, fee, paid.rows[0].balance],
        });

        await client.query({
            name: 'next',
            text: 'UPDATE session SET tick = tick + 1,'
                + ' billed_ms = billed_ms + 5000, charged = charged + $2'
                + ' WHERE id = $1',
            values: [id, amount],
        });

        await client.query('COMMIT');
    } catch (e) {
        await client.query('ROLLBACK');
        throw e;
    } finally {
        client.release();
    }
}


async function main() {
    const start = process.hrtime.bigint();
    const passed = () => Number(process.hrtime.bigint() - start) / 1e9;
    let done = 0;

    // Each line takes the next session, so no two wait for the same row.
    await Promise.all(Array.from({ length: connections }, async () => {
        while (passed() < seconds) {
            last = last % sessions + 1;
            await tick(last);
            done++;
        }
    }));

    console.log(`ticks=${done} seconds=${passed().toFixed(3)}`);
    await pool.end();
}


main();

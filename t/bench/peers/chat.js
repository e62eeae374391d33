'use strict';

// Socket.IO on Node's cluster module: what many platforms relay and chat with.
//
//     PORT=.. [WORKERS=2] [PERSIST=1 and PG* variables] node chat.js
//
// "join" enters a room, "msg" goes to all others in it.  With PERSIST each
// message is stored in PostgreSQL first.

const cluster = require('node:cluster');
const http = require('node:http');

const workers = Number(process.env.WORKERS || 2);
const port = Number(process.env.PORT);

if (cluster.isPrimary) {
    primary();
} else {
    worker();
}


function primary() {
    const { setupPrimary } = require('@socket.io/cluster-adapter');

    setupPrimary();
    cluster.setupPrimary({ serialization: 'advanced' });

    for (let i = 0; i < workers; i++) {
        cluster.fork();
    }

    process.on('SIGTERM', () => process.exit(0));
}


function worker() {
    const { Server } = require('socket.io');
    const { createAdapter } = require('@socket.io/cluster-adapter');

    const server = http.createServer();
    const io = new Server(server, {
        transports: ['websocket'],
        perMessageDeflate: false,
    });
    const store = process.env.PERSIST === '1' ? openStore() : null;

    io.adapter(createAdapter());

    io.on('connection', (socket) => {

        socket.on('join', (room, joined) => {
            socket.join(room);
            joined();
        });

        socket.on('msg', async (message) => {
            if (store) {
                await store(message.room, socket.id, message.data);
            }

            socket.to(message.room).emit('msg', message);
        });
    });

    server.listen(port, '127.0.0.1');
}


function openStore() {
    const { Pool } = require('pg');
    const pool = new Pool({ max: 10 });

    return (room, sender, body) => pool.query({
        name: 'store',
        text: 'INSERT INTO chat_message (room, sender, body)'
            + ' VALUES ($1, $2, $3)',
        values: [room, sender, body],
    });
}

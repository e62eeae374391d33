/* Shows /api/openapi.json: REST by Swagger UI, and below it "x-websocket". */
'use strict';

const add = (to, name, text) => {
    const node = to.appendChild(document.createElement(name));
    node.textContent = text || '';
    return node;
};

/* name: what it is; click: its schemas */
const entry = (to, name, said, parts) => {
    const details = add(to, 'details');
    const summary = add(details, 'summary');

    add(summary, 'code', name);
    add(summary, 'span', ` ${said}`);

    for (const [title, schema] of parts) {
        add(details, 'h5', title);
        add(details, 'pre', JSON.stringify(schema, null, 2));
    }
};

const frames = (to, said) => {
    add(to, 'h2', `WebSocket: ${said.path}, ${said.subprotocol}`);
    add(to, 'p', said.description);

    add(to, 'h3', 'Requests');

    for (const [name, one] of Object.entries(said.requests)) {
        entry(to, name, one.summary, [['payload', one.payload]].concat(
            one.reply ? [['payload of the reply', one.reply]] : []));
    }

    add(to, 'h3', 'Events');

    for (const [name, one] of Object.entries(said.events)) {
        entry(to, name, `${one.summary} (${one.kind})`,
              [['frame', one.frame]]);
    }

    add(to, 'h3', 'Schemas');

    for (const [name, one] of Object.entries(said.schemas)) {
        entry(to, name, '', [['schema', one]]);
    }
};

fetch('/api/openapi.json').then((answer) => answer.json()).then((spec) => {
    SwaggerUIBundle({
        spec,
        dom_id: '#rest',
        deepLinking: true,
        docExpansion: 'none',
        defaultModelsExpandDepth: 0,
        validatorUrl: null
    });

    frames(document.getElementById('websocket'), spec['x-websocket']);
});

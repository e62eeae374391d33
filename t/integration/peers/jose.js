// Copyright (C) The Astro authors
//
// npm jose as another side.  One JSON object on standard input:
//
//   {"do":"sign","tokens":[{"alg","jwk","kid","claims","header"}]}
//                        -> [token, ...]; alg "none" is not signed
//   {"do":"verify","token","jwk","iss","aud"}
//                        -> {"header","claims"}; exits with 1 if it is no good
//   {"do":"keys"}        -> one private JWK of each algorithm

'use strict';

const jose = require('jose');

async function sign(one) {
    const header = { alg: one.alg, typ: 'JWT', ...one.header };
    if (one.kid) {
        header.kid = one.kid;
    }
    if (one.alg === 'none') {
        const part = (o) => jose.base64url.encode(JSON.stringify(o));
        return `${part(header)}.${part(one.claims)}.`;
    }
    // as a general JWS, which lets a header say what no JWT should
    const jws = new jose.CompactSign(
        new TextEncoder().encode(JSON.stringify(one.claims)));
    const key = await jose.importJWK(one.jwk, one.alg);
    return jws.setProtectedHeader(header).sign(key, { crit: one.crit });
}

async function keys() {
    const found = [];
    for (const alg of ['ES256', 'RS256']) {
        const pair = await jose.generateKeyPair(alg, { extractable: true });
        found.push({ ...await jose.exportJWK(pair.privateKey), alg });
    }
    const secret = await jose.generateSecret('HS256', { extractable: true });
    found.push({ ...await jose.exportJWK(secret), alg: 'HS256' });
    return found;
}

async function main() {
    const chunks = [];
    for await (const chunk of process.stdin) {
        chunks.push(chunk);
    }
    const asked = JSON.parse(Buffer.concat(chunks).toString());

    switch (asked.do) {
    case 'sign':
        return Promise.all(asked.tokens.map(sign));
    case 'keys':
        return keys();
    default: {
        const { d, p, q, dp, dq, qi, ...jwk } = asked.jwk;
        const key = await jose.importJWK(jwk, asked.jwk.alg);
        const found = await jose.jwtVerify(asked.token, key, {
            issuer: asked.iss, audience: asked.aud,
            algorithms: [asked.jwk.alg] });
        return { header: found.protectedHeader, claims: found.payload };
    }
    }
}

main().then((answer) => console.log(JSON.stringify(answer)), (error) => {
    console.error(error.message);
    process.exitCode = 1;
});

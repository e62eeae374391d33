#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
# What has been, for pages that are not empty: a few real consultations of some
# seconds, and what the clients say of them.
#
#     scripts/past.py --url https://127.0.0.1:8443 --ca cert.pem
#
# Does nothing where there are reviews already.

import argparse
import asyncio
import json
import ssl
import sys
import urllib.error
import urllib.request
import uuid

from demo import PASSWORD, Party, wait_healthy

CLIENT, ADVISOR = ('client{}@demo.test', 'advisor{}@demo.test')

# Rounds of consultations side by side: client, advisor, what both say, stars,
# and the review.  Nobody is in two of a round.
ROUNDS = [
    [('', '2', 'Two offers, one week to decide. Which one?',
      'The Tower first: what would you regret?', 5,
      'Clear and kind. I knew what to do an hour later.'),
     ('2', '', 'When is a good month to move?',
      'After the 14th, and not on a Tuesday.', 5,
      'Precise, and no fear-mongering.'),
     ('3', '3', 'We have three names left for her.',
      'Say them aloud to me, one by one.', 4, 'We have a name now!'),
     ('4', '4', 'What is this Saturn return that all talk of?',
      'It is you, being asked what you want to keep.', 5, '')],
    [('2', '4', 'Is it him or is it me?',
      'Let us look at both charts.', 4, 'Honest, even where I did not like it.'),
     ('3', '', 'A shop or a job?', 'A shop, with a partner who counts.', 5,
      'Took her time. Worth it.'),
     ('4', '2', 'Sell the house this year?', 'Draw three more with me.', 3,
      'Nice, but a little short.')],
]


class Rest:
    def __init__(self, url, tls):
        self.url, self.tls = url, tls

    def ask(self, method, path, body=None, token=None):
        request = urllib.request.Request(
            self.url + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json',
                     'Idempotency-Key': str(uuid.uuid4())})
        if token:
            request.add_header('Authorization', f'Bearer {token}')
        with urllib.request.urlopen(request, context=self.tls,
                                    timeout=30) as answer:
            return json.load(answer)

    def login(self, email):
        return self.ask('POST', '/api/auth/login',
                        {'email': email, 'password': PASSWORD})['token']


async def consultation(rest, tokens, row):
    who, whom, asks, answers, stars, review = row
    mine, theirs = tokens[CLIENT.format(who)], tokens[ADVISOR.format(whom)]
    quiet = lambda *_: None
    client = await Party('client', quiet).connect(rest.url, rest.tls, mine)
    advisor = await Party('advisor', quiet).connect(rest.url, rest.tls, theirs)

    made = await client.call('session_start', {
        'advisor': advisor.me['user'], 'service': 'chat',
        'cid': str(uuid.uuid4())})
    this = {'session': made['session']}
    await advisor.until('session_incoming',
                        lambda m: m['payload']['session'] == this['session'])
    await advisor.call('session_accept', this)
    await asyncio.gather(client.call('session_join', this),
                         advisor.call('session_join', this))
    await client.until('session_update',
                       lambda m: m['payload']['state'] == 'active')
    for party, text in ((client, asks), (advisor, answers)):
        await asyncio.sleep(0.7)
        await party.call('chat_message', {
            'conv': made['conv'], 'cid': str(uuid.uuid4()), 'kind': 'text',
            'text': text})
    await asyncio.sleep(0.7)
    await client.call('session_end', this)
    await client.until('session_end',
                       lambda m: m['payload']['session'] == this['session'])
    await asyncio.get_running_loop().run_in_executor(
        None, rest.ask, 'POST', f'/api/sessions/{this["session"]}/review',
        {'rating': stars, 'text': review}, mine)
    await client.close()
    await advisor.close()


def hours(rest, token):
    """When one can be booked."""
    rest.ask('PUT', '/api/advisors/me/schedule', {
        'time_zone': 'Asia/Kolkata', 'slot_minutes': 30, 'lead_minutes': 60,
        'ahead_days': 14, 'days': [],
        'week': [{'day': day, 'from': '09:00', 'to': '19:00'}
                 for day in range(1, 7)]}, token)


async def past(rest, tokens):
    for rows in ROUNDS:
        await asyncio.gather(*(consultation(rest, tokens, row)
                               for row in rows))
    for whom in ('', '4'):
        hours(rest, tokens[ADVISOR.format(whom)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--url', required=True)
    parser.add_argument('--ca', required=True)
    args = parser.parse_args()
    rest = Rest(args.url, ssl.create_default_context(cafile=args.ca))

    wait_healthy(args.url, rest.tls)
    last = rest.login(ADVISOR.format(4))
    if rest.ask('GET', '/api/advisors/me', token=last)['rating']['count']:
        return
    tokens = {name.format(n): rest.login(name.format(n))
              for name in (CLIENT, ADVISOR) for n in ('', '2', '3', '4')}
    asyncio.run(past(rest, tokens))


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, OSError, asyncio.TimeoutError) as e:
        sys.exit(f'past: {type(e).__name__}: {e}')

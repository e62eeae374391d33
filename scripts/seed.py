#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
# Demo accounts: scripts/seed.py CONNINFO PASSWORD_PROGRAM
#                 scripts/seed.py people      those of the login page, as JSON
#
# Run as the database's owner; running it again changes nothing but that a
# client who has spent it all is given money again.

import json
import subprocess
import sys
import uuid

import psycopg

PASSWORD = 'astro-demo'

# minor units that a client starts with, and is filled up to when below the
# second figure
MONEY = 50000
LOW = 10000

CLIENTS = [
    ('client@demo.test', 'Asha Verma'),
    ('client2@demo.test', 'Ben Okafor'),
    ('client3@demo.test', 'Chitra Rao'),
    ('client4@demo.test', 'Daniel Kim'),
]

# email, name, headline, about, specialties, languages, years, minor units a
# minute for chat, audio and video (None: not offered), the platform's part in
# 1/10000
ADVISORS = [
    ('advisor@demo.test', 'Meera Joshi', 'Vedic charts, plainly explained',
     'I read charts the old way and explain them the new way: no fear, no '
     'remedies to buy. Bring the time and the place of your birth.',
     ['vedic', 'career'], ['hi', 'en', 'mr'], 14, (2500, 4000, 6000), 3000),
    ('advisor2@demo.test', 'Tomas Vidal', 'Tarot for hard decisions',
     'Ten cards, one question, and an honest answer.',
     ['tarot'], ['es', 'en'], 6, (1500, 2500, None), 3000),
    ('advisor3@demo.test', 'Leela Nair', 'Numerology and names',
     'Names for children, for companies, and for new beginnings.',
     ['numerology', 'family'], ['ml', 'en', 'ta'], 21, (2000, None, None),
     2500),
    ('advisor4@demo.test', 'Ingrid Dahl', 'Western charts and transits',
     'Where you are on your way, and what the next months ask of you.',
     ['western', 'love'], ['no', 'en', 'de'], 9, (3300, 4700, 7100), 3000),
    # of the scripted consultation that `make run` shows
    ('demo.advisor@demo.test', 'Demo Advisor', 'Talks to the demo client',
     'A script.', ['demo'], ['en'], 1, (6000, 9000, 12000), 3000),
]

ADMINS = [
    ('admin@demo.test', 'Administrator'),
    ('admin2@demo.test', 'Second administrator'),
]


def main():
    if sys.argv[1:] == ['people']:
        return print(json.dumps(people()))
    if len(sys.argv) != 3:
        sys.exit(__doc__ or 'usage: seed.py CONNINFO PASSWORD_PROGRAM')

    with psycopg.connect(sys.argv[1]) as db:
        for email, name in CLIENTS + [('demo.client@demo.test',
                                       'Demo Client')]:
            account(db, email, name, 'client')
        for email, name, headline, bio, specialties, languages, years, \
                rates, bps in ADVISORS:
            number = account(db, email, name, 'advisor')
            db.execute(
                'INSERT INTO identity.advisor (account_id, headline, bio,'
                ' specialties, languages, experience, rate_chat_minor,'
                ' rate_audio_minor, rate_video_minor, commission_bps)'
                ' VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)'
                ' ON CONFLICT (account_id) DO NOTHING',
                (number, headline, bio, specialties, languages, years,
                 *rates, bps))
            for word in specialties:
                db.execute('INSERT INTO identity.specialty (slug, name)'
                           ' VALUES (%s, %s) ON CONFLICT DO NOTHING',
                           (word, word.capitalize()))
        for email, name in ADMINS:
            account(db, email, name, 'admin')

        for email, _ in CLIENTS:
            top_up(db, email, LOW, MONEY)


def people():
    """The first of each role is whose window the big buttons open."""
    return [{'name': row[1], 'role': role, 'email': row[0],
             'password': PASSWORD}
            for role, rows in (('client', CLIENTS), ('advisor', ADVISORS),
                               ('admin', ADMINS))
            for row in rows if not row[0].startswith('demo.')]


def account(db, email, name, role):
    """The account's number; made, with its wallet, if it is not there."""
    row = db.execute('SELECT id FROM identity.account WHERE email = %s',
                     (email,)).fetchone()
    if row:
        return row[0]

    number, = db.execute(
        'INSERT INTO identity.account (email, name, role, password_hash)'
        ' VALUES (%s, %s, %s, %s) RETURNING id',
        (email, name, role, password_hash())).fetchone()
    if role != 'admin':
        db.execute('INSERT INTO ledger.wallet (owner_id, kind)'
                   ' VALUES (%s, %s)', (number, role))
    return number


def password_hash():
    done = subprocess.run([sys.argv[2]], input=PASSWORD, text=True,
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.strip()


def top_up(db, email, low, money):
    """Fills the wallet up to money if less than low is available."""
    number, available = db.execute(
        'SELECT a.id, w.balance - w.held FROM identity.account a'
        '  JOIN ledger.wallet w ON w.owner_id = a.id WHERE a.email = %s',
        (email,)).fetchone()
    if available < low:
        db.execute('SELECT billing.topup(%s, %s, %s)',
                   (number, money - available, f'demo-{uuid.uuid4()}'))


if __name__ == '__main__':
    main()

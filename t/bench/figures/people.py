"""Accounts, money and sessions, made straight in the database.

Whoever is loaded here signs in with a token of its own; registering, logging
in and setting up a session by messages is not what is measured.
"""

import itertools

RUNS = itertools.count(1)

ACCOUNTS = '''
    INSERT INTO identity.account (email, name, role, password_hash)
    SELECT 'bench-' || %(run)s || '-' || %(role)s || n || '@bench.test',
           'Bench ' || n, %(role)s, '!'
      FROM generate_series(1, %(n)s) n
    RETURNING id
'''

ADVISORS = '''
    INSERT INTO identity.advisor (account_id, rate_chat_minor)
    SELECT unnest(%s::bigint[]), 6000
'''

WALLETS = '''
    INSERT INTO ledger.wallet (owner_id, kind, balance)
    SELECT owner, %(role)s, %(money)s
      FROM unnest(%(ids)s::bigint[]) owner
    RETURNING id
'''

# Money has to come from somewhere: the auditor wants the transfers.
TOPUPS = '''
    INSERT INTO ledger.transfer (debit_account, credit_account, amount, kind,
                                 reference)
    SELECT c.id, w, %(money)s, 'topup', 'bench-' || w
      FROM unnest(%(wallets)s::bigint[]) w,
           (SELECT id FROM ledger.wallet WHERE kind = 'clearing') c
'''

CONVERSATIONS = '''
    INSERT INTO consult.conversation (client_id, advisor_id)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[])
    RETURNING id
'''

SESSIONS = '''
    INSERT INTO consult.session (conversation_id, client_id, advisor_id,
        client_wallet, advisor_wallet, cid, service, rate_minor,
        commission_bps, state, state_ms)
    SELECT conv, client, advisor, client_wallet, advisor_wallet,
           gen_random_uuid(), 'chat', %(rate)s, 3000, 'accepted',
           floor(extract(epoch FROM clock_timestamp()) * 1000)
      FROM unnest(%(convs)s::bigint[], %(clients)s::bigint[],
                  %(advisors)s::bigint[], %(cwallets)s::bigint[],
                  %(awallets)s::bigint[])
           AS t(conv, client, advisor, client_wallet, advisor_wallet)
    RETURNING id
'''

# As the worker left it: the client's money is held for "ahead" ms from
# the instant "start" on.
BEGUN = '''
    WITH s AS (
        UPDATE consult.session
           SET state = 'active', ver = ver + 1, state_ms = %(start)s,
               active_ms = %(start)s, paid_until_ms = %(start)s + %(ahead)s,
               held = rate_minor * %(ahead)s / 60000
         WHERE id = ANY(%(sessions)s)
        RETURNING client_wallet, held)
    UPDATE ledger.wallet w SET held = s.held FROM s WHERE w.id = client_wallet
'''


class Pair:
    """A client and an advisor with a session that both have yet to join."""

    def __init__(self, client, advisor, conv, session):
        self.client = client
        self.advisor = advisor
        self.conv = conv
        self.session = session


def accounts(db, role, n, money=0, listed=True):
    """Ids of n new accounts and of their wallets.  listed: advisors can be
    found by who looks for one, which takes most of the time of making them."""
    ids = [row[0] for row in db.execute(
        ACCOUNTS, {'run': next(RUNS), 'role': role, 'n': n})]

    if role == 'advisor' and listed:
        db.execute(ADVISORS, (ids,))

    wallets = [row[0] for row in db.execute(
        WALLETS, {'role': role, 'money': money, 'ids': ids})]

    if money:
        db.execute(TOPUPS, {'money': money, 'wallets': wallets})

    return ids, wallets


def pairs(db, n, rate=1, money=10 ** 9, listed=True):
    """n pairs; the session costs "rate" minor units a minute."""
    with db.transaction():
        clients, cwallets = accounts(db, 'client', n, money)
        advisors, awallets = accounts(db, 'advisor', n, listed=listed)
        convs = [row[0] for row in
                 db.execute(CONVERSATIONS, (clients, advisors))]
        sessions = [row[0] for row in db.execute(
            SESSIONS, {'rate': rate, 'convs': convs, 'clients': clients,
                       'advisors': advisors, 'cwallets': cwallets,
                       'awallets': awallets})]

    return [Pair(*row) for row in zip(clients, advisors, convs, sessions)]


def begin(db, pairs, start, ahead):
    """Makes their sessions active, as a worker that was there before."""
    db.execute(BEGUN, {'sessions': [p.session for p in pairs],
                       'start': start, 'ahead': ahead})

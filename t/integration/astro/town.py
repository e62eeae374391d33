"""People who have talked to one another, so that each page of the client has
something to show: long names, large sums, other scripts, none of a thing."""

import datetime
import json
import uuid

from .consult import Consultation
from .stack import eventually

LONG = 'Maximiliana Konstantinopoulou-Featherstonehaugh'
# name, headline, city, languages, years, subjects, minor units a minute
ADVISORS = [
    ('Meera Joshi', 'Vedic charts, plainly explained', 'Pune',
     ['English', 'Hindi', 'Marathi'], 14, ['vedic', 'career'],
     (2500, 4000, 6000)),
    ('Tomas Vidal', 'Tarot for hard decisions', 'Sevilla',
     ['Spanish', 'English'], 6, ['tarot'], (1500, 2500, None)),
    (LONG, 'Western charts, transits and everything that can be said of them '
     'in one line, which is more than most would think 🔭', 'Thessaloniki',
     ['Greek', 'English'], 40, ['western', 'love'],
     (3300, 4700, 123456789)),
    ('ليلى الحسيني', 'الأبراج والأسماء', 'بيروت', ['Arabic'], 9,
     ['numerology'], (2000, None, None)),
]
# in the place of the third, for pictures
PLAIN = ('Ingrid Dahl', 'Western charts and transits', 'Bergen',
         ['Norwegian', 'English'], 11, ['western', 'love'],
         (3300, 4700, 7100))
BIO = """I have read charts for fourteen years, first in Pune, now wherever \
you are.

Bring the hour of your birth if you know it. If not, we will look for it \
together 🙏"""

SAID = [('c', 'Good evening! I was offered a position in another city.'),
        ('a', 'Good evening, Asha. Since when do you know of it?'),
        ('c', 'Since Monday. I have to answer by Friday 😬'),
        ('a', 'Then let us look at the tenth house, and at what Saturn does '
              'there until spring. It is not as bad as they say.'),
        ('c', '🙏')]


class Talk(Consultation):
    """Between two who are there already."""

    def __init__(self, stack, client, advisor, service='chat'):
        self.stack, self.client, self.advisor = stack, client, advisor
        self.service, self.cid = service, str(uuid.uuid4())
        self.id = self.conv = None

    def speak(self, said=tuple(SAID)):
        for who, text in said:
            getattr(self, who).say(self.conv, text)
        return self


class Town:
    def __init__(self, stack, plain=False):
        """plain: nothing too long or too large, and no demo."""
        self.stack = stack
        self.asha = self.person('Asha Verma', 'client',
                                250000 if plain else 123456789)
        self.ben = self.person('Ben Okafor', 'client', 20000)
        self.boss = self.person('Administrator', 'admin')
        with stack.db() as db:
            for word in ('vedic', 'career', 'tarot', 'western', 'love',
                         'numerology'):
                db.execute('INSERT INTO identity.specialty (slug, name)'
                           ' VALUES (%s, %s) ON CONFLICT DO NOTHING',
                           (word, word.capitalize()))
        self.meera, self.tomas, self.long, self.leila = [
            self.advisor(*(PLAIN if plain and a[0] == LONG else a))
            for a in ADVISORS]
        if not plain:
            self.demo()

    def demo(self):
        """What the client asks of a demonstration."""
        with open(f'{self.stack.var}/www/web/demo.json', 'w',
                  encoding='utf-8') as f:
            json.dump({'pay': '/pay', 'people': [
                {'name': 'Asha Verma', 'role': 'client', 'email': 'a@b.test',
                 'password': 'none'},
                {'name': 'Meera Joshi', 'role': 'advisor',
                 'email': 'a@b.test', 'password': 'none'},
                {'name': 'Administrator', 'role': 'admin',
                 'email': 'a@b.test', 'password': 'none'}]}, f)

    def person(self, name, role, balance=0, **more):
        who = self.stack.person(role, balance, **more)
        with self.stack.db() as db:
            db.execute('UPDATE identity.account SET name = %s WHERE id = %s',
                       (name, who.number))
        who.name = name
        who.token = self.stack.jwt(who.number, role, 6 * 3600)
        return who

    def advisor(self, name, headline, city, languages, years, subjects,
                rates):
        who = self.person(name, 'advisor', rates=rates)
        with self.stack.db() as db:
            db.execute(
                'UPDATE identity.advisor SET headline = %s, city = %s,'
                ' languages = %s, experience = %s, specialties = %s, bio = %s'
                ' WHERE account_id = %s', (headline, city, languages, years,
                                           subjects, BIO, who.number))
        return who

    def ask(self, method, path, body, who, status=200):
        answer = self.stack.rest.call(method, f'/api{path}', body, who.token)
        assert answer.status == status, answer
        return answer.json if answer.body else None

    def talk(self, client, advisor, service='chat', said=tuple(SAID)):
        """A consultation that is over; they were there for two minutes."""
        talk = Talk(self.stack, client, advisor, service).active()
        talk.speak(said)
        talk.a.expect('billing_tick', timeout=20)
        talk.end()
        for line in (talk.c, talk.a):
            line.close()
        return talk

    def past(self):
        """Consultations, what was said of them, what one has against them."""
        self.first = self.talk(self.asha, self.meera)
        self.ask('POST', f'/sessions/{self.first.id}/review', {
            'rating': 5, 'text': 'She told me what I did not want to hear, '
                                 'and was right 🙏'}, self.asha, 201)
        self.ask('PUT', f'/sessions/{self.first.id}/review/reply',
                 {'reply': 'Come back in spring.'}, self.meera)
        self.ask('PUT', f'/advisors/me/clients/{self.asha.id}/note',
                 {'text': 'Saturn, tenth house.'}, self.meera)
        self.second = self.talk(self.ben, self.meera)
        self.ask('POST', f'/sessions/{self.second.id}/dispute', {
            'reason': 'billing', 'text': 'I was charged for a minute in which '
                                         'I heard nothing.'}, self.ben, 201)
        self.third = self.talk(self.asha, self.long, said=())
        self.ask('PUT', f'/favorites/{self.meera.id}', {}, self.asha)
        self.ask('PUT', '/advisors/me/schedule', {
            'time_zone': 'UTC', 'slot_minutes': 30, 'lead_minutes': 0,
            'week': [{'day': d, 'from': '09:00', 'to': '21:00'}
                     for d in range(1, 8)], 'days': []}, self.meera)
        now = datetime.datetime.now(datetime.timezone.utc)
        span = [(now + datetime.timedelta(days=n)).strftime('%Y-%m-%dT%XZ')
                for n in (1, 3)]
        slots = self.ask('GET', f'/advisors/{self.meera.id}/slots?from='
                         f'{span[0]}&to={span[1]}', None, self.ben)['data']
        self.ask('POST', '/bookings', {
            'advisor': self.meera.id, 'start': slots[5]['start'],
            'service': 'chat', 'note': 'About the move.'}, self.ben, 201)
        out = self.person('Blocked One', 'client')
        self.ask('PUT', f'/admin/users/{out.id}/blocked',
                 {'blocked': True, 'reason': 'Spam.'}, self.boss)
        return self

    def open(self, who, *more):
        """They are online, without a window."""
        for one in (who, *more):
            one.connect()
        eventually(lambda: all(self.ask(
            'GET', f'/advisors/{one.id}', None, self.asha)['online']
            for one in (who, *more) if one.role == 'advisor'))
        return self

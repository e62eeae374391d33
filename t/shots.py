#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
# make shots: the pictures of the README, into docs/ (or the folder given).
#
#     t/shots.py [FOLDER]
#
# A system of its own, two browsers with a person before each camera, and
# others who talk meanwhile, so that the operator's screen lives.

"""Pictures of the client for the README."""

import contextlib
import math
import os
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'integration'))

from astro import browser as chromium                   # noqa: E402
from astro import look                                  # noqa: E402
from astro.png import shrunk                            # noqa: E402
from astro.stack import Stack                           # noqa: E402
from astro.town import Talk, Town                       # noqa: E402

PICTURES = ('find', 'session', 'live')
MOST = 150_000                  # bytes of a picture
WIDE, HIGH = 640, 480
LOAD_S = 45                     # so long it is busy before it is looked at

SAID = [('c', 'Good evening! I was offered a position in another city.'),
        ('a', 'Good evening, Asha. Since when do you know of it?'),
        ('c', 'Since Monday. I have to answer by Friday 😬'),
        ('a', 'Then let us look at the tenth house, and at what Saturn does '
              'there until spring.'),
        ('a', 'It is not as bad as they say.'),
        ('c', 'That is a relief. Can you see my chart?'),
        ('a', 'I can. Give me a minute with it.')]


def camera(path, wall, coat, skin, hair):
    """A film of somebody who sits there and sways: Y4M."""
    dark = (38, 26, 30)

    def ellipse(x, y, rx, ry):
        """Below 0 within, in heights of the picture."""
        return (math.hypot(x / rx, y / ry) - 1) * min(rx, ry)

    def colour(x, y):
        side = abs(x)
        now = wall
        for tone, distance in (
                (hair, ellipse(x, y + .04, .2, .29)),
                (skin, max(side - .062, -y, y - .36)),
                (coat, ellipse(x, y - .62, .43, .34)),
                (skin, ellipse(x, y - .29, .06, .05)),
                (skin, ellipse(x, y + .03, .142, .19)),
                (hair, ellipse(x, y + .22, .15, .085)),
                (hair, ellipse(side - .15, y + .06, .035, .16)),
                (dark, ellipse(side - .056, y + .03, .011, .014)),
                (hair, ellipse(side - .056, y + .07, .027, .005)),
                (dark, max(abs(math.hypot(x, y - .045) - .05) - .004,
                           .062 - y))):
            part = max(0, min(1, .5 - distance * HIGH))
            if part:
                now = [p + (q - p) * part for p, q in zip(now, tone)]
        return now

    rows = []
    for j in range(HIGH):
        row = [colour((i - WIDE / 2) / HIGH, (j - HIGH / 2) / HIGH)
               for i in range(WIDE)]
        rows.append((
            bytes(int(16 + .257 * r + .504 * g + .098 * b)
                  for r, g, b in row),
            bytes(int(128 - .148 * r - .291 * g + .439 * b)
                  for r, g, b in row[::2]),
            bytes(int(128 + .439 * r - .368 * g - .071 * b)
                  for r, g, b in row[::2])))

    def moved(line, by):
        if by > 0:
            return line[:1] * by + line[:-by]
        return line[-by:] + line[-1:] * -by if by else line

    with open(path, 'wb') as f:
        f.write(f'YUV4MPEG2 W{WIDE} H{HIGH} F8:1 Ip A1:1 C420jpeg\n'.encode())
        for n in range(32):
            by = round(5 * math.sin(n / 32 * 2 * math.pi))
            f.write(b'FRAME\n')
            for row in rows:
                f.write(moved(row[0], 2 * by))
            for plane in (1, 2):
                for row in rows[::2]:
                    f.write(moved(row[plane], by))


def eyes(film):
    """A browser whose camera shows that film."""
    flag = f'--use-file-for-fake-video-capture={film}'
    chromium.FLAGS.append(flag)
    try:
        return look.Eyes()
    finally:
        chromium.FLAGS.remove(flag)


def busy(town, until):
    """Some who talk, more or less of them, until then."""
    talks = []

    def one(n):
        client = town.person(f'Client {n}', 'client', 500000)
        advisor = town.person(f'Advisor {n}', 'advisor')
        talk = Talk(town.stack, client, advisor,
                    ('chat', 'audio', 'video')[n % 3]).active()
        talks.append(talk)

    for n in range(14):
        one(n)
    n = 0
    while not until.is_set():
        n += 1
        # a tide of messages
        for talk in talks[:int(8 + 6 * math.sin(n / 9))]:
            for who in ('c', 'a'):
                getattr(talk, who).say(talk.conv, f'{n}')
        until.wait(.15)


def small(folder):
    for name in PICTURES:
        path = f'{folder}/{name}.png'
        with open(path, 'rb') as f:
            png = shrunk(f.read())
        with open(path, 'wb') as f:
            f.write(png)
        print(f'{path}: {len(png)} bytes')
        assert len(png) < MOST, f'{path} is larger than {MOST} bytes'


def session(town, films):
    mine, theirs = (eyes(film) for film in films)
    try:
        asha = look.Window(mine, town.stack, town.asha)
        meera = look.Window(theirs, town.stack, town.meera)
        for window in (asha, meera):
            window.media()
            window.open('wire')
        find(asha)
        talk = Talk(town.stack, town.asha, town.meera, 'video')
        town.asha.connect()
        talk.ring()
        talk.accept()
        for window in (asha, meera):
            window.go(f'session/{talk.id}')
        for window in (asha, meera):
            window.until("document.querySelector('.pictures >"
                         " video:not([hidden])')?.videoWidth > 0")
        talk.speak(SAID)
        asha.size(1200, 760)
        asha.shows('a minute with it')
        asha.until("/[1-9]/.test(document.querySelector('.meter dd')"
                   '.textContent)')
        time.sleep(12)                  # some seconds to pay for
        with contextlib.suppress(AssertionError):
            asha.until("document.querySelector('.quality.good')", 60)
        asha.shot('session')
        talk.end()
    finally:
        mine.close()
        theirs.close()


def find(window):
    window.size(1200, 640)
    window.go('find').shows('Meera Joshi')
    window.settled()
    window.shot('find')


def live(town):
    town.stack.audit()
    until = threading.Event()
    crowd = threading.Thread(target=busy, args=(town, until))
    crowd.start()
    sight = look.Eyes()
    try:
        boss = look.Window(sight, town.stack, town.boss)
        boss.media()
        boss.open('live')
        boss.size(1200, 960)
        time.sleep(LOAD_S)
        boss.shot('live')
    finally:
        until.set()
        crowd.join()
        sight.close()


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else f'{HERE}/../docs'
    look.SHOTS = folder
    stack = Stack(worker_settings={'low_seconds': '60'})
    try:
        stack.up()
        town = Town(stack, plain=True).past()
        town.open(town.meera, town.tomas, town.leila)
        with tempfile.TemporaryDirectory() as films:
            for name, *colours in (
                    ('asha', (196, 214, 226), (52, 84, 140), (201, 150, 118),
                     (40, 30, 28)),
                    ('meera', (226, 206, 184), (138, 52, 70), (176, 122, 88),
                     (28, 22, 24))):
                camera(f'{films}/{name}.y4m', *colours)
            session(town, [f'{films}/{n}.y4m' for n in ('asha', 'meera')])
        live(town)
    finally:
        stack.down()
    small(folder)


if __name__ == '__main__':
    main()

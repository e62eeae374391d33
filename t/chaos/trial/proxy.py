"""Between a billing worker and PostgreSQL, on a Unix socket."""

import contextlib
import re
import select
import shutil
import socket
import tempfile
import threading


class Lane:
    """One connection.  deaf: what the worker says is lost; mute: what it is
    answered is lost."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.deaf = self.mute = False
        self.asked = b""            # the end of what went by


class Proxy(threading.Thread):
    def __init__(self, home):
        super().__init__(daemon=True)
        self.home = tempfile.mkdtemp(prefix="astro-cut-", dir="/tmp")
        self.to = f"{home}/.s.PGSQL.5432"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{self.home}/.s.PGSQL.5432")
        self.listener.listen(16)
        self.lanes = {}             # socket -> its lane
        self.lock = threading.Lock()
        self.pattern = None
        self.caught = threading.Event()
        self.stopped = False
        self.start()

    # -- what the trial says -------------------------------------------------

    def lose_answer(self, pattern):
        """The next lane that asks this, is answered no more.  The question
        itself arrives."""
        with self.lock:
            self.caught.clear()
            self.pattern = re.compile(pattern)

    def lose(self, deaf=False, mute=False):
        """All lanes that are open now, and stay so."""
        with self.lock:
            for lane in set(self.lanes.values()):
                lane.deaf, lane.mute = deaf, mute

    def cut(self, only_lossy=False):
        """Hangs up."""
        with self.lock:
            self.pattern = None
            for lane in set(self.lanes.values()):
                if lane.deaf or lane.mute or not only_lossy:
                    self.hang_up(lane)

    def close(self):
        self.stopped = True
        self.join(5)
        self.cut()
        self.listener.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # -- what it does ------------------------------------------------------

    def hang_up(self, lane):
        for one in (lane.client, lane.server):
            self.lanes.pop(one, None)
            with contextlib.suppress(OSError):
                one.close()

    def run(self):
        while not self.stopped:
            with self.lock:
                watched = [self.listener, *self.lanes]
            try:
                ready, _, _ = select.select(watched, [], [], 0.02)
            except (OSError, ValueError):       # hung up meanwhile
                continue
            for one in ready:
                with self.lock:
                    self.serve(one)

    def serve(self, one):
        if one is self.listener:
            client, _ = one.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.to)
            except OSError:
                client.close()
                server.close()
                return
            lane = Lane(client, server)
            self.lanes.update({client: lane, server: lane})
            return

        lane = self.lanes.get(one)
        if lane is None:
            return

        try:
            data = one.recv(65536)
        except OSError:
            data = b""

        if not data:
            self.hang_up(lane)
            return

        try:
            if one is lane.server:
                if not lane.mute:
                    lane.client.sendall(data)
                return

            if self.pattern is not None:
                lane.asked = lane.asked[-64:] + data
                if self.pattern.search(lane.asked):
                    # what was answered before this question came by already
                    lane.mute = True
                    self.pattern = None
                    self.caught.set()

            if not lane.deaf:
                lane.server.sendall(data)
        except OSError:
            self.hang_up(lane)

"""A vendor's own books: what it really did, whoever heard of it.

In memory, and with a folder also on disk, a line of JSON for each change; a
vendor that was killed goes on from there.
"""

import json
import os
import pathlib


class Books:
    def __init__(self, folder=None):
        self.objects = {}           # kind -> {id: object}, in order of making
        self.keys = {}              # idempotency key -> {asked, status, body}
        self.count = 0
        self.file = None

        if folder is not None:
            path = pathlib.Path(folder, "books.jsonl")
            self._read(path)
            # one write for each change, at the end of the file
            self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT,
                                0o600)

    def _read(self, path):
        if not path.exists():
            return

        for line in path.read_bytes().splitlines():
            try:
                changes = json.loads(line)
            except ValueError:
                break               # killed while it wrote

            for change in changes:
                self._take(change)

    def _take(self, change):
        what, kind, ident, value = change

        if what == "object":
            known = self.objects.setdefault(kind, {})
            self.count += ident not in known
            known[ident] = value
        else:
            self.keys[ident] = value

    def commit(self, changes):
        """All of them or none: [what, kind, id, value] each."""
        if self.file is not None:
            os.write(self.file, json.dumps(changes).encode() + b"\n")

        for change in changes:
            self._take(change)

    def all(self, kind):
        return list(self.objects.get(kind, {}).values())

    def get(self, kind, ident):
        return self.objects.get(kind, {}).get(ident)

"""A coturn on loopback that shares a secret with nginx."""

import os
import shutil
import signal
import subprocess
import tempfile

from .stack import eventually, free_ports

SECRET = 'a secret of both, long enough'


class Coturn:
    def __init__(self):
        (self.port,), self.home = free_ports(1), tempfile.mkdtemp(
            prefix='astro-turn-')
        self.secret = os.path.join(self.home, 'secret')
        with open(self.secret, 'w', encoding='ascii') as f:
            f.write(SECRET + '\n')
        os.chmod(self.secret, 0o600)
        self.start()

    def setting(self, ttl):
        """astro_turn for it."""
        return (f'stun:127.0.0.1:{self.port} turn:127.0.0.1:{self.port}'
                f' secret={self.secret} ttl={ttl}')

    def start(self):
        with open(os.path.join(self.home, 'log'), 'a', encoding='ascii') as f:
            self.process = subprocess.Popen(
                ['turnserver', '-n', '--use-auth-secret', '--no-cli',
                 f'--static-auth-secret={SECRET}', '--realm=astro',
                 '--no-tls', '--no-dtls', '--listening-ip=127.0.0.1',
                 '--relay-ip=127.0.0.1', f'--listening-port={self.port}',
                 '--allow-loopback-peers', f'--userdb={self.home}/db',
                 f'--pidfile={self.home}/pid', '--log-file', 'stdout'],
                cwd=self.home, stdout=f, stderr=f)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)

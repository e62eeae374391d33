"""What this machine is; CPU time and memory of processes."""

import glob
import os
import platform
import re
import resource
import subprocess


def cores():
    return len(os.sched_getaffinity(0))


def files():
    """Raises the limit of open files as far as it goes; returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def family(pids):
    """The processes and all that they have started."""
    found, todo = [], list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        for path in glob.glob(f'/proc/{pid}/task/*/children'):
            try:
                with open(path, encoding='ascii') as f:
                    todo += [int(p) for p in f.read().split()]
            except OSError:
                pass
    return found


def cpu_seconds(pids):
    """What the processes and their children have used, user and system.

    From the scheduler's own nanoseconds where the kernel has them, else from
    clock ticks.  What a process used that has ended is not in it.
    """
    total = 0
    for pid in family(pids):
        for task in glob.glob(f'/proc/{pid}/task/*'):
            try:
                total += _task_seconds(task)
            except OSError:
                pass
    return total


def _task_seconds(task):
    try:
        with open(f'{task}/schedstat', encoding='ascii') as f:
            return int(f.read().split()[0]) / 1e9
    except FileNotFoundError:
        with open(f'{task}/stat', encoding='ascii') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def pss_kb(pids):
    """Memory, what is shared being divided among those who share it.  The
    kernel's own (socket buffers, inodes) is not in it."""
    total = 0
    for pid in family(pids):
        try:
            with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
                match = re.search(r'^Pss: +(\d+) kB', f.read(), re.M)
            total += int(match.group(1)) if match else 0
        except OSError:
            pass
    return total


def load_average():
    return os.getloadavg()[0]


def facts(var):
    """Lines that say on what the figures were measured."""
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        model = re.search(r'^model name\s*: (.*)', f.read(), re.M)
    with open('/proc/meminfo', encoding='ascii') as f:
        memory = int(re.search(r'MemTotal: +(\d+)', f.read()).group(1))
    try:
        with open('/etc/os-release', encoding='utf-8') as f:
            system = re.search(r'^PRETTY_NAME="(.*)"', f.read(), re.M).group(1)
    except (OSError, AttributeError):
        system = platform.system()

    return [
        f'machine   {cores()} cores of {model.group(1) if model else "?"},'
        f' {memory / 1048576:.0f} GB',
        f'system    {system}, Linux {platform.release()},'
        f' {resource.getrlimit(resource.RLIMIT_NOFILE)[1]} open files,'
        f' database on {_filesystem(var)}',
        'versions  ' + ', '.join(v for v in _versions() if v),
    ]


def _filesystem(path):
    best, kind = '', '?'
    with open('/proc/mounts', encoding='utf-8') as f:
        for line in f:
            _, mount, fs = line.split()[:3]
            inside = path == mount or path.startswith(mount.rstrip('/') + '/')
            if inside and len(mount) >= len(best):
                best, kind = mount, fs
    return kind


def _versions():
    yield _version(['nginx', '-v'], r'(nginx/\S+)')
    yield _version(['/usr/lib/postgresql/15/bin/postgres', '-V'],
                   r'(PostgreSQL\) \S+)', ')')
    yield _version(['redis-server', '-v'], r'v=(\S+)', name='Redis ')
    yield _version(['openssl', 'version'], r'(OpenSSL \S+)')
    yield _version(['node', '-v'], r'v(\S+)', name='Node ')
    yield _version(['gcc', '-dumpfullversion'], r'(\S+)', name='gcc ')


def _version(args, pattern, drop='', name=''):
    path = os.environ['PATH'] + ':/usr/sbin:/sbin'
    try:
        done = subprocess.run(args, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False,
                              env={**os.environ, 'PATH': path})
    except OSError:
        return None
    match = re.search(pattern, done.stdout)
    return name + match.group(1).replace(drop, '') if match else None

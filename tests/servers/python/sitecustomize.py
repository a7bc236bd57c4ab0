"""Python compiles what it imports from an archive once, not in each process: on the tests' servers,
and here in the runs of Ansible that tests start (``tests/services/ansible_runs.py``).

Each call of an Ansible module is an archive of sources that nobody has compiled: half of its time.
What comes out is the same code; a changed source is another file here. It replaces Debian's file of
that name, which looks for the crash reports of Ubuntu.

Such a call is then forked from a process that has loaded everything (``forks.py``): on a server,
and here where ``FORKS_UNTIL`` names the process with which it is to end.
"""

import _imp
import gc
import marshal
import os
import sys
import zipimport

#: on a server in memory: gone with it; of each user his own
_KEPT = f"{os.environ.get('KEPT_CODE', '/dev/shm')}/{sys.implementation.cache_tag}-{os.geteuid()}"
#: where those listen that are forked, each user's apart
_SOCKETS = f"/dev/shm/forks-{os.geteuid()}"
_FORKS = f"{os.path.dirname(os.path.realpath(__file__))}/forks.py"
_compile = zipimport._compile_source


def _compile_source(path, source):
    kept = f"{_KEPT}/{_imp.source_hash(0, source).hex()}-{len(source)}"
    try:
        with open(kept, "rb") as file:
            code = marshal.loads(file.read())
        _imp._fix_co_filename(code, path)  # the archive lies elsewhere each time
        return code
    except OSError:
        code = _compile(path, source)
    try:
        os.makedirs(_KEPT, 0o700, exist_ok=True)
        part = f"{kept}.{os.getpid()}"
        with open(part, "wb") as file:
            file.write(marshal.dumps(code))
        os.rename(part, kept)
    except OSError:  # a unit may have no such place
        pass
    return code


def _hand_over():
    """Let a fork of a process that has loaded what modules need do this call, and end as it did;
    without such a process start one for the next calls.
    """
    import _socket

    folder = os.getcwd()
    if not os.access(folder, os.X_OK, effective_ids=True):
        folder = ""  # one that he is in, and may not enter
    place = _place(folder)
    asked = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        asked.connect(place)
    except OSError:
        asked.close()
        _start(place)
        return
    umask = os.umask(0o077)
    request = {"environment": dict(os.environ), "folder": folder, "umask": umask}
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)
    asked.sendmsg([marshal.dumps(request)], [rights])
    told = asked.recv(64)
    status = marshal.loads(told) if told else 1
    if status < 0:
        os.kill(os.getpid(), -status)
    os._exit(status)


def _place(folder):
    """Where the process listens: one for each interpreter with the same folders of libraries, and
    for each user with the same groups; in a folder of that user alone.
    """
    found = [sys.executable, str(os.getgid()), str(sorted(os.getgroups()))]
    found += ["" if folder else os.getcwd(), os.environ.get("FORKS_UNTIL", "")]
    for path in sys.path:
        try:
            found.append(f"{path} {os.stat(path).st_mtime_ns}")
        except OSError:
            found.append(path)
    names = ("LANG", "LANGUAGE", "TZ")
    found += [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name in names or name.startswith(("LC_", "PYTHON"))
    ]
    return f"{_SOCKETS}/{_imp.source_hash(0, chr(10).join(found).encode()).hex()}"


def _have_sockets():
    """Make that folder, or see that it is nobody else's."""
    try:
        os.mkdir(_SOCKETS, 0o700)
    except FileExistsError:
        found = os.lstat(_SOCKETS)
        return found.st_uid == os.geteuid() and found.st_mode & 0o170077 == 0o040000
    except OSError:
        return False
    return True


def _start(place):
    """Start that process, which holds nothing that is this one's."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if not os.fork():
        nothing = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        os.closerange(3, 1024)
        if os.access("/", os.X_OK) and os.access(os.getcwd(), os.X_OK):
            os.chdir("/")
        os.execv(sys.executable, [sys.executable, _FORKS, place])
    os._exit(0)


zipimport._compile_source = _compile_source
if "KEPT_CODE" in os.environ:
    # a short life: nothing is to be gained by looking for what could be freed, a sixth of
    # ansible-playbook's time
    gc.disable()
if (
    len(sys.orig_argv) == 1
    and ("KEPT_CODE" not in os.environ or "FORKS_UNTIL" in os.environ)
    and not os.isatty(0)
    and os.path.exists(_FORKS)
    and _have_sockets()
):
    _hand_over()

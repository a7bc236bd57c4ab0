"""Python compiles what it imports from an archive once, not in each process: on the tests' servers,
and here in the runs of Ansible that tests start (``tests/services/ansible_runs.py``).

Each call of an Ansible module is an archive of sources that nobody has compiled: half of its time.
What comes out is the same code; a changed source is another file here. It replaces Debian's file of
that name, which looks for the crash reports of Ubuntu.
"""

import _imp
import contextlib
import gc
import marshal
import os
import sys
import zipimport

#: on a server in memory: gone with it; of each user his own
_KEPT = f"{os.environ.get('KEPT_CODE', '/dev/shm')}/{sys.implementation.cache_tag}-{os.geteuid()}"
_compile = zipimport._compile_source


def _compile_source(path, source):
    kept = f"{_KEPT}/{_imp.source_hash(0, source).hex()}-{len(source)}"
    with contextlib.suppress(OSError):
        with open(kept, "rb") as file:
            code = marshal.loads(file.read())
        _imp._fix_co_filename(code, path)  # the archive lies elsewhere each time
        return code
    code = _compile(path, source)
    with contextlib.suppress(OSError):  # a unit may have no such place
        os.makedirs(_KEPT, 0o700, exist_ok=True)
        part = f"{kept}.{os.getpid()}"
        with open(part, "wb") as file:
            file.write(marshal.dumps(code))
        os.rename(part, kept)
    return code


zipimport._compile_source = _compile_source
if "KEPT_CODE" in os.environ:
    # a short life: nothing is to be gained by looking for what could be freed, a sixth of
    # ansible-playbook's time
    gc.disable()

"""Python on the tests' servers compiles what it imports from an archive once, not in each process.

Each call of an Ansible module is an archive of sources that nobody has compiled: half of its time.
What comes out is the same code; a changed source is another file here. It replaces Debian's file of
that name, which looks for the crash reports of Ubuntu.
"""

import _imp
import contextlib
import marshal
import os
import sys
import zipimport

#: in memory, of each user his own: gone with the server
_KEPT = f"/dev/shm/{sys.implementation.cache_tag}-{os.geteuid()}"
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

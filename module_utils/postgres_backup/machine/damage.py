"""What lies in the place of a file of the state and is none of ours: put aside, and told. What the
state could not do at all is known here too, for whoever ends with what nobody else could tell.
"""

from __future__ import annotations

import errno
import os

from ..findings import Finding, each_once, finding
from ..settings import Settings

#: how a file that is none of ours any more is called; the one before it goes
_ASIDE = ".damaged"
#: what says that it is the file itself that is wrong, and not the machine
_ITS_OWN = "EACCES EPERM EISDIR ELOOP ENXIO ENOENT EIO".split()
#: all that could not be read or written since the program began, each by the folder it lies in
_troubles: list[tuple[str, Finding]] = []


def put_aside(path: str, why: Exception, findings: list[Finding]) -> bool:
    """Rename what is none of ours any more, and say so. Of each name one is kept.

    :return: whether its name is free now.
    """
    cause = (why.strerror if isinstance(why, OSError) else str(why)) or type(why).__name__
    told = f"Failed to read {path}: {cause}"
    if isinstance(why, OSError) and errno.errorcode.get(why.errno or 0) not in _ITS_OWN:
        findings.append(noted("STATE_DAMAGED", path, f"{told}; it counts as empty"))
        return False
    try:
        try:
            os.replace(path, path + _ASIDE)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise
            # one of the two is a folder, whose content is somebody's
            os.rename(path, f"{path}{_ASIDE}-{os.lstat(path).st_mtime_ns}")
    except FileNotFoundError:  # another run was faster, and tells it
        return True
    except OSError as error:
        message = f"{told}; it counts as empty, and cannot be put aside: {error.strerror}"
        findings.append(noted("STATE_DAMAGED", path, message))
        return False
    message = f"{told}; it was put aside, and counts as empty"
    findings.append(noted("STATE_DAMAGED", path, message))
    return True


def noted(code: str, path: str, message: str) -> Finding:
    """A finding about a file of the state; :func:`troubles` knows it."""
    made = finding(code, message)
    _troubles.append((os.path.dirname(path), made))
    return made


def troubles(settings: Settings) -> list[Finding]:
    """What could not be read or written since the program began, each once."""
    here = os.path.normpath(settings.state_dir)
    return each_once(told for folder, told in _troubles if os.path.normpath(folder) == here)

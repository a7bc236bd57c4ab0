"""Ansible's modules on the tests' servers run in processes forked from one that has loaded what
they import: a start of Python and its imports are two thirds of what most calls cost.

A call is Python with nothing but a program on its standard input. ``sitecustomize.py`` hands such a
call's streams, environment, folder and umask to a process of the same user and groups, of the same
interpreter with the same folders of libraries, and ends as the fork of it ended. There is one for
each of those, started by their first call. What is run is what came in, from its first line.

Modules that Ansible ships are taken from before where the payload at hand has the same ones, by
their sizes and checksums, and all of them; else the payload's own are loaded, as ever. What a call
loaded that was not there, the process loads after it.

Standard library only, for Python 3.11 and newer.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import marshal
import os
import selectors
import socket
import sys
import threading
import time
import types
import zipimport
from typing import NoReturn

#: a request without its descriptors, bytes
_LARGEST = 1 << 18
_SHIPPED = "ansible"
#: seconds without a call after which nobody waits for another
_IDLE = 900
#: what is known of the process with which this one ends
_UNTIL = ()
#: the descriptor of the file into which a fork writes what it loaded
_LESSON = 3


class _Fork(Exception):
    """Unwinds to the bottom of the stack, in the child."""


# --- what was shipped with earlier calls ---


class _Shipped(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules of earlier payloads, by their full names.

    In the process that is forked it loads them from their code. In a fork it waits for the first
    import of one of them, and lays all there that the payload has too.
    """

    def __init__(self) -> None:
        #: name -> (path in the payload, what the payload's directory says of it, code)
        self.known: dict[str, tuple[str, tuple[int, int], types.CodeType]] = {}
        self._loaded: dict[str, types.ModuleType] | None = None

    def begin(self) -> None:
        """In a fork: nothing is there until the payload is looked at."""
        self._loaded = {n: m for n in self.known if (m := sys.modules.pop(n, None))}

    def find_spec(self, name, path=None, target=None):
        if self._loaded is None:
            return self._spec(name, "/payload") if name in self.known else None
        if not sys.path or not sys.path[0].endswith("_payload.zip"):
            return None
        sys.meta_path.remove(self)
        self._adopt(zipimport.zipimporter(sys.path[0]))
        # whoever asked for it finds the module where he looks next
        return importlib.machinery.ModuleSpec(name, _Given()) if name in sys.modules else None

    def _spec(self, name: str, base: str) -> importlib.machinery.ModuleSpec:
        place = self.known[name][0]
        spec = importlib.machinery.ModuleSpec(
            name, self, origin=f"{base}/{place}", is_package=place.endswith("/__init__.py")
        )
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(spec.origin.removesuffix("/__init__.py"))
        return spec

    def _adopt(self, payload: zipimport.zipimporter) -> None:
        """Lay there what the payload has as well, unless it has anything in another version."""
        files = describe(payload)
        if any(files.get(place, what) != what for place, what, _ in self.known.values()):
            return
        for name, module in self._loaded.items():
            if self.known[name][0] in files:
                spec = self._spec(name, payload.archive)
                spec.loader = payload
                module.__spec__, module.__loader__, module.__file__ = spec, payload, spec.origin
                if spec.submodule_search_locations is not None:
                    module.__path__ = spec.submodule_search_locations
                sys.modules[name] = module
            else:  # as little can be had here as in a process of its own
                parent, _, short = name.rpartition(".")
                if parent in self._loaded:
                    vars(self._loaded[parent]).pop(short, None)

    def create_module(self, spec):
        return None

    def exec_module(self, module) -> None:
        exec(self.known[module.__name__][2], vars(module))  # noqa: S102 - what Python does


class _Given(importlib.abc.Loader):
    """Gives the module that is there already."""

    def create_module(self, spec):
        module = sys.modules[spec.name]
        self._real = module.__spec__
        return module

    def exec_module(self, module) -> None:
        module.__spec__ = self._real
        module.__loader__ = self._real.loader


def describe(payload: zipimport.zipimporter) -> dict[str, tuple[int, int]]:
    """What the directory of an archive says of each file: path in it -> size and checksum."""
    files = zipimport._zip_directory_cache[payload.archive]
    return {path: (entry[3], entry[7]) for path, entry in files.items()}


# --- the process that is forked ---


def _serve(server: socket.socket, shipped: _Shipped) -> None:
    """Fork for each call; until there was none for long.

    :raises _Fork: in each process that was forked, ready to run.
    """
    lessons: list[int] = []
    running = 0
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        if until := os.environ.get("FORKS_UNTIL"):
            try:
                selector.register(os.pidfd_open(int(until)), selectors.EVENT_READ, _UNTIL)
            except ProcessLookupError:
                return
        while True:
            ready = selector.select(0 if lessons else _IDLE)
            if not ready and lessons:  # nobody waits meanwhile
                _learn(lessons.pop(), shipped)
            elif not ready and not running:
                return
            for key, _ in ready:
                if key.data is _UNTIL:
                    return
                if key.fileobj is not server:
                    selector.unregister(key.fileobj)
                    lessons.append(_ended(key.fileobj, *key.data))
                    running -= 1
                    continue
                asker, _ = server.accept()
                request, descriptors, *_ = socket.recv_fds(asker, _LARGEST, 3)
                if len(descriptors) != 3:  # whoever asked is gone
                    asker.close()
                    continue
                lesson = os.memfd_create("lesson")
                if not (pid := os.fork()):
                    _become(marshal.loads(request), descriptors, lesson, shipped)
                    raise _Fork
                for each in descriptors:
                    os.close(each)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, asker, lesson))
                running += 1


def _ended(handle: int, pid: int, asker: socket.socket, lesson: int) -> int:
    """Tell who asked how it ended; the file of what there is to be learnt of it."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(handle)
    with asker, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        asker.send(marshal.dumps(status))
    return lesson


def _become(request: dict, descriptors: list[int], lesson: int, shipped: _Shipped) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.dup2(lesson, _LESSON, inheritable=False)
    os.closerange(_LESSON + 1, 1024)  # the server's, and the streams of others that run now
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    if request["folder"]:
        os.chdir(request["folder"])
    time.tzset()
    sys.argv = [""]
    sys.orig_argv[:] = [sys.executable]
    sys.path.insert(0, "")
    shipped.begin()


def _learn(lesson: int, shipped: _Shipped) -> None:
    """Load what a call loaded that was not here."""
    with open(lesson, "rb") as file:
        file.seek(0)
        told = file.read()
    if not told:
        return
    names, modules = marshal.loads(told)
    if any(shipped.known.get(name, what)[:2] != what[:2] for name, what in modules.items()):
        return  # another version of the project is at work: each of its calls loads its own
    shipped.known |= modules
    for name in names:
        with contextlib.suppress(Exception):  # some are made by others, and cannot be imported
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here now is looked through by no fork


# --- a call ---


def _run(shipped: _Shipped) -> NoReturn:
    """The program on standard input, as Python runs it; the end without clearing memory."""
    before = set(sys.modules) | set(shipped.known)
    compiled: dict[str, types.CodeType] = {}
    compile_source = zipimport._compile_source

    def kept(path, source):
        code = compiled[path] = compile_source(path, source)
        return code

    zipimport._compile_source = kept
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(main)["__builtins__"] = __builtins__
    status = 0
    try:
        program = compile(sys.stdin.buffer.read(), "<stdin>", "exec")
        exec(program, vars(main))  # noqa: S102 - what Python does
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - as Python ends a program
        status = 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    _teach(before, compiled)
    os._exit(status & 0xFF)


def _teach(before: set[str], compiled: dict[str, types.CodeType]) -> None:
    """Write down what was loaded, in its order; nothing where that was nothing new."""
    names = [name for name in sys.modules if name not in before and name != "__main__"]
    modules = {}
    for name in names:
        loader = getattr(sys.modules[name], "__loader__", None)
        if name.partition(".")[0] == _SHIPPED and isinstance(loader, zipimport.zipimporter):
            path = sys.modules[name].__file__
            place = path.removeprefix(f"{loader.archive}/")
            modules[name] = (place, describe(loader)[place], compiled[path])
    names = [name for name in names if name in modules or name.partition(".")[0] != _SHIPPED]
    if names:
        os.lseek(_LESSON, 0, os.SEEK_SET)
        os.write(_LESSON, marshal.dumps((names, modules)))


def main() -> None:
    shipped = _Shipped()
    sys.meta_path.insert(0, shipped)
    place = sys.argv[1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        try:
            server.bind(place)
        except OSError:  # somebody else was quicker, or was killed
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
                if other.connect_ex(place) == 0:
                    return
            os.unlink(place)
            server.bind(place)
        server.listen(64)
        try:
            _serve(server, shipped)
        except _Fork:
            server.detach()
        else:
            os.unlink(place)
            return
    _run(shipped)


if __name__ == "__main__":
    main()

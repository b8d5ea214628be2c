"""A module imported once, and each call of it in a process of its own, forked from the one that imported it.

A program for either environment, which imports nothing of ours but the module that it is told; that has `prepare()` and
`main(arguments) -> int`.

    python forked_calls.py serve NUMBER PARENT MODULE           imports it, then answers at the listening socket of this
                                                                descriptor until PARENT is no longer its parent process;
                                                                MODULE may be the path of a package's module
    python forked_calls.py call SOCKET PYTHON FILE ARGUMENT...  as `PYTHON FILE ARGUMENT...`: same output, environment,
                                                                folder, exit status and end by a signal; where nobody
                                                                answers, just that. `-m NAME` may stand for FILE.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import types

POLL_S = 0.5

STARTED = b"s"


def serve(listener: socket.socket, parent: int, module_name: str) -> None:
    """Answers calls until the parent is gone. Callers may connect before the import is done; they wait for it."""
    with listener:
        listener.settimeout(POLL_S)
        module = _import_module(module_name)
        module.prepare()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
        while os.getppid() == parent:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _run_call(connection, module.main)


def _import_module(name: str) -> types.ModuleType:
    """By its name, or by its file's path in a package; of the latter, nothing beside the package is found."""
    import importlib

    if not name.endswith(".py"):
        return importlib.import_module(name)
    folder, file = os.path.split(name)
    parent, package = os.path.split(folder)
    sys.path.insert(0, parent)
    importlib.import_module(package)
    sys.path.remove(parent)
    return importlib.import_module(f"{package}.{file.removesuffix('.py')}")


def _run_call(connection: socket.socket, main: object) -> None:
    """In the fork: becomes the process that was asked for, and does not return."""
    import json
    import threading
    import traceback

    status = 1
    try:
        os.setpgrp()  # to be killed as one, but of this session, which gives way: Linux weighs sessions first
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.settimeout(None)
        text = b""
        outputs: list[int] = []
        while not text.endswith(b"\n"):
            part, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
            if not part:
                os._exit(1)
            text, outputs = text + part, outputs + descriptors
        request = json.loads(text)
        for number, descriptor in enumerate(outputs, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        connection.sendall(STARTED)
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        assert callable(main)
        status = main(request["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # whatever it is, it ends as Python itself would
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status & 255]))
    finally:
        os._exit(status)  # also where the caller is gone: the fork server's loop is not this one's


def _end_with(connection: socket.socket) -> None:
    """Not by storage.child_processes: FINN's Python finds nothing of ours, and the caller is not this one's parent."""
    try:
        connection.recv(1)  # the caller says nothing more: it is gone
    finally:  # an error is its end, too: of a caller that was killed with something unread
        os.killpg(0, signal.SIGKILL)


def call(path: str, command: list[str]) -> None:
    """Does not return: the exit status, or death by SIGKILL, is that of the call."""
    import json

    parent = os.getppid()
    request = {
        "arguments": command[3 if command[1] == "-m" else 2 :],
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 - a caller lives for milliseconds, pathlib's import too
    }
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        text = json.dumps(request).encode() + b"\n"
        n_sent = socket.send_fds(connection, [text], [1, 2])
        connection.sendall(text[n_sent:])
        is_started = _receive(connection, parent) == STARTED
    except OSError:
        is_started = False
    if not is_started:
        os.execv(command[0], command)
    status = _receive(connection, parent)
    if not status:
        os.kill(os.getpid(), signal.SIGKILL)  # as the call was
    os._exit(status[0])


def _receive(connection: socket.socket, parent: int) -> bytes:
    """One byte; none where the other side is gone. Ends this process with the one that started it."""
    connection.settimeout(POLL_S)
    while True:
        try:
            return connection.recv(1)
        except TimeoutError:
            if os.getppid() != parent:
                os._exit(1)


if __name__ == "__main__":
    del sys.path[0]  # this folder
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]), sys.argv[4])
    else:
        call(sys.argv[2], sys.argv[3:])

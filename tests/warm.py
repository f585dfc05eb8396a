"""Launched stages out of a process that has imported torch and transformers already: the import is most of a tiny run.

`python tests/warm.py SOCKET STAGE...`, as LAUNCHER runs it, passes its place, environment and streams to that process, waits
for the stage, and ends as it does. The stage ends when this process ends.
"""

import os
import pickle
import socket
import sys
from pathlib import Path


def ask(place: str, words: list[str]) -> int:
    """Run a stage in a fork of the warm process; return its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [b"x"], [0, 1, 2])
        with connection.makefile("wb") as stream:
            pickle.dump((words, os.getcwd(), dict(os.environ)), stream)
        answer = connection.recv(1)
    return answer[0] if answer else 1


def serve(place: str) -> None:
    """Fork a stage for each connection, until the parent ends."""
    import gc
    import signal

    sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
    from counterpoint.core.process import SPINS, die_with_parent

    die_with_parent()
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch.utils.checkpoint  # noqa: F401
    import transformers.models.bert.modeling_bert  # noqa: F401
    from transformers import AutoConfig, AutoModel, AutoTokenizer  # noqa: F401

    for name in [name for name in sys.modules if name.partition(".")[0] == "counterpoint"]:
        del sys.modules[name]  # a stage imports its own repository's
    del sys.path[0]
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                stage(connection)
            connection.close()


def stage(connection: socket.socket) -> None:
    """Become the stage that a connection asks for, and answer with its exit code."""
    import runpy
    import threading
    import traceback

    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as stream:
        words, folder, environ = pickle.load(stream)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    threading.Thread(target=lambda: (connection.recv(1), os._exit(1)), daemon=True).start()  # the other end has ended
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv, sys.path[0] = words, str(Path(words[0]).parent.absolute())
    code = 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(bytes([code % 256]))
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    sys.exit(ask(sys.argv[1], sys.argv[2:]))

"""Scripts of src/ out of a process that has imported torch, transformers and DVC already: imports are most of a tiny run.

`python tests/warm.py SOCKET SCRIPT...` passes its place, environment, streams and limit of file sizes to that process, waits
for the script, and ends as it does. The script ends when this process ends, and this process when its parent does.
"""

import ctypes
import os
import pickle
import resource
import signal
import socket
import sys
from pathlib import Path

IMPORTED = (
    "pandas", "scipy.stats", "scipy.sparse.csgraph", "sklearn.feature_extraction.text", "matplotlib.figure", "bm25s",
    "torch.utils.checkpoint", "transformers.models.bert.modeling_bert", "transformers.models.auto", "sentence_transformers",
    "huggingface_hub", "dvc.api", "dvc.repo", "dvc.utils.hydra", "dvc_data.hashfile.build", "pydantic", "jinja2",
)  # fmt: skip


def ask(place: str, words: list[str]) -> int:
    """Run a stage in a fork of the warm process; return its exit code."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [b"x"], [0, 1, 2])
        with connection.makefile("wb") as stream:
            environ = os.environ | {"WARM_PARENT": str(os.getppid())}
            pickle.dump((words, os.getcwd(), environ, resource.getrlimit(resource.RLIMIT_FSIZE)), stream)
        answer = connection.recv(1)
    return answer[0] if answer else 1


def serve(place: str) -> None:
    """Fork a stage for each connection, until the parent ends."""
    import gc
    import importlib

    sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
    process = importlib.import_module("counterpoint.core.process")
    process.die_with_parent()
    os.environ.setdefault("GOMP_SPINCOUNT", process.SPINS)
    for name in IMPORTED:
        importlib.import_module(name)
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
        words, folder, environ, size = pickle.load(stream)
    resource.setrlimit(resource.RLIMIT_FSIZE, size)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    threading.Thread(target=lambda: (connection.recv(1), os._exit(1)), daemon=True).start()  # the other end has ended
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv, sys.path[0], sys.orig_argv = words, str(Path(words[0]).parent.absolute()), ["python", *words]
    if "KILL" in environ:
        runpy.run_path(str(Path(__file__).parent / "hooks/sitecustomize.py"))
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

"""Scripts of src/, and dvc, out of a process that has imported torch, transformers and DVC: imports are most of a tiny run.

`python tests/warm.py SOCKET SCRIPT...`, or `SOCKET dvc ...`, passes its place, environment, streams and limit of file sizes to
that process, waits for the script, and ends as it does. The script ends when this process ends, and this process when its
parent does.
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
    "annotated_types", "bm25s", "dvc.api", "dvc.cachemgr", "dvc.cli.parser", "dvc.data_cloud", "dvc.repo.artifacts",
    "dvc.repo.experiments.queue.celery", "dvc.repo.experiments.queue.workspace", "dvc.repo.experiments.run", "dvc.repo.index",
    "dvc.repo.open_repo", "dvc.repo.plots", "dvc.repo.reproduce", "dvc.utils.hydra", "dvc.utils.strictyaml",
    "dvc_data.hashfile.build", "fsspec.implementations.memory", "huggingface_hub", "hydra.core.config_loader",
    "hydra._internal.config_loader_impl", "hydra._internal.hydra", "jinja2", "matplotlib.backends.backend_agg",
    "matplotlib.figure", "networkx", "omegaconf", "pandas", "pandas.io.formats.csvs", "PIL.JpegImagePlugin", "pydantic.main",
    "pydantic.functional_validators", "pydantic.types", "pygit2", "ruamel.yaml", "scipy.sparse.csgraph", "scipy.stats",
    "scmrepo.fs", "scmrepo.git.backend.pygit2", "sentence_transformers", "sklearn.feature_extraction.text",
    "torch.utils.checkpoint", "transformers.models.auto", "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
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


def serve(place: Path, until: int) -> None:
    """Fork a stage for each connection, until the process `until` ends; remove the files of `place` then."""
    import gc
    import importlib
    import select
    import shutil

    sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
    process = importlib.import_module("counterpoint.core.process")
    os.environ.setdefault("GOMP_SPINCOUNT", process.SPINS)
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("dvc.cli.parser").get_main_parser()  # imports all commands
    write_locks_in_c()
    for name in [name for name in sys.modules if name.partition(".")[0] == "counterpoint"]:
        del sys.modules[name]  # a stage imports its own repository's
    del sys.path[0]
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        watched = os.pidfd_open(until)
        while watched not in select.select([server, watched], [], [])[0]:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                stage(connection)
            connection.close()
    place.unlink()
    place.with_suffix(".lock").unlink(missing_ok=True)
    shutil.rmtree(place.with_suffix(""))


def write_locks_in_c() -> None:
    """Let DVC write dvc.lock by libyaml: the same bytes in a fifth of the time, which is a third of a tiny `dvc exp run`."""
    from collections import OrderedDict
    from contextlib import contextmanager

    from dvc import dvcfile
    from dvc.utils.serialize._common import _modify_data
    from dvc.utils.serialize._yaml import parse_yaml
    from ruamel.yaml import YAML

    theirs, writer = dvcfile.modify_yaml, YAML(typ="safe")
    writer.default_flow_style, writer.sort_base_mapping_type_on_output = False, False
    writer.Representer.add_representer(OrderedDict, writer.Representer.represent_dict)

    @contextmanager
    def modify(path, fs=None):
        is_lock = str(path).endswith("dvc.lock")
        with _modify_data(path, parse_yaml, writer.dump, fs=fs) if is_lock else theirs(path, fs=fs) as data:
            yield data

    dvcfile.modify_yaml = modify


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
    sys.dont_write_bytecode = False  # whatever the environment says: the next stage here need not compile
    sys.argv, sys.path[0], sys.orig_argv = words, str(Path(words[0]).parent.absolute()), ["python", *words]
    if "KILL" in environ:
        runpy.run_path(str(Path(__file__).parent / "hooks/sitecustomize.py"))
    code = 0
    sys.executable = str(Path(os.environ["PATH"].partition(os.pathsep)[0], "python"))
    try:
        if words[0] == "dvc":
            from dvc.cli import main

            code = main(words[1:])
        else:
            runpy.run_path(os.path.abspath(words[0]), run_name="__main__")  # as Python names it
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
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    sys.exit(ask(sys.argv[1], sys.argv[2:]))

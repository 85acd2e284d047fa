"""Try one input after the other in a process of its own, which is started anew where it died.

An input may take 20 s of its processor (ten times that in all) and 1 GB; it counts as a hang or as
memory where it takes more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

import rareseg.run.evaluate
import rareseg.run.predict
from command_line import call_main
from fuzz.targets import CHECKED, DICOM_OBJECTS, NAMES, TEXTS, Tried, whole
from rareseg.errors import RaresegError
from rareseg.recipe import check_values, read_overrides
from rareseg.run.setup.split_files import read_split
from rareseg_runner.formats import read_image, read_mask
from rareseg_runner.image_records import Image

assert rareseg.run, "imported once, so that the first input is not the slow one"
SECONDS = 20.0
IDLE_TIMES = 10
"""How many times as long a worker may wait for a processor, or for anything else."""
GIGABYTE = 1 << 30
_ADDRESSES = 24 << 30
"""What a worker may map at most: it protects the machine, and is no measure of memory."""
COMMANDS = (
    ("predict", "{run}", "{data}/images/c0.png", "--out", "{out}"),
    ("evaluate", "{run}", "{data}", "--out", "{out}"),
    ("tune", "{run}"),
    ("calibrate", "{run}"),
    ("suspects", "{run}"),
    ("apply-review", "{run}", "--out", "{out}"),
)
"""One of these is called on a run of which a record was changed."""


@dataclass(frozen=True)
class Outcome:
    """What became of an input: "read", "refused" or a fault.

    Faults are "traceback", "no sentence", "died", "hang", "memory", "outside" and "silent";
    ``where`` tells two of them apart, ``detail`` is for people.
    """

    kind: str
    where: str = ""
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        return self.kind not in ("read", "refused")


@dataclass(frozen=True)
class Places:
    """Where an input is tried: ``given`` holds it, ``out`` may be written, ``here`` may not.

    ``run`` is a finished run and ``data`` what it was trained on.
    """

    given: Path
    out: Path
    here: Path
    run: Path
    data: Path


Trying = Callable[[Tried, Places], Outcome]


class Worker:
    """A process that tries inputs; :meth:`close` ends it."""

    def __init__(
        self, run: Path, data: Path, *, trying: Trying | None = None, seconds: float = SECONDS
    ) -> None:
        self._arguments = (run, data, trying or try_input)
        self._seconds = seconds
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def try_input(self, tried: Tried) -> Outcome:
        """Return what becomes of an input."""
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None
        assert self._process is not None
        try:
            self._pipe.send(tried)
            if not self._answers(self._pipe):
                self.close()
                return Outcome("hang", tried.target, f"more than {self._seconds:.0f} s")
            found: Outcome = self._pipe.recv()
            return found
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            self._process = None
            return Outcome("died", f"{tried.target} {code}", f"exit code {code}")

    def _answers(self, pipe: Connection) -> bool:
        """Wait for an answer as long as the worker may compute, or wait for something else.

        Its own seconds count: on a busy machine it may get few of them.
        """
        begun, used = time.monotonic(), self._computed()
        while not pipe.poll(self._seconds / 10):
            waited = time.monotonic() - begun
            computed = waited if used is None else (self._computed() or 0.0) - used
            if computed > self._seconds or waited > IDLE_TIMES * self._seconds:
                return False
        return True

    def _computed(self) -> float | None:
        """Return the seconds that the worker has computed; None where the system does not say."""
        assert self._process is not None
        try:
            text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        arguments = (theirs, *self._arguments)
        self._process = self._context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
        self._process = None


def serve(pipe: Connection, run: Path, data: Path, trying: Trying) -> None:
    """Answer inputs with outcomes until the other side is gone."""
    # Libraries print about damaged files; what they say is no part of the outcome.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        root = Path(place)
        pipe.send("ready")
        while True:
            try:
                tried = pipe.recv()
            except EOFError:
                return
            places = Places(root / "given", root / "out", root / "here", run, data)
            pipe.send(_watched(tried, root, places, trying))


def _watched(tried: Tried, root: Path, places: Places, trying: Trying) -> Outcome:
    """Try an input in an empty folder, and look at memory and at what was written beside it."""
    os.chdir(root)
    for old in root.iterdir():
        shutil.rmtree(old)
    places.given.mkdir()
    places.here.mkdir()
    os.chdir(places.here)
    tempfile.tempdir = str(places.here)
    _forget_peak()
    try:
        outcome = trying(tried, places)
    except BaseException as error:
        return _fault_of(error, tried)
    peak = _peak()
    if peak > GIGABYTE:
        return Outcome("memory", tried.target, f"{peak >> 20} MB")
    allowed = (places.given, places.here, places.out)
    beside = [*places.here.iterdir(), *(p for p in root.iterdir() if p not in allowed)]
    if beside:
        return Outcome("outside", tried.target, str(beside[0]))
    return outcome


def _fault_of(error: BaseException, tried: Tried) -> Outcome:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/rareseg/" in frame.filename]
    last = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else tried.target
    detail = "".join(traceback.format_exception(error))
    return Outcome("traceback", f"{type(error).__name__} at {last}", detail[-3000:])


def try_input(tried: Tried, places: Places) -> Outcome:
    """Give an input to what reads it, and look at the result."""
    if tried.target.startswith("file "):
        return _try_file(tried, places.given)
    if tried.target == "run":
        return _try_run(tried, places)
    return _try_text(tried, places)


def _try_file(tried: Tried, given: Path) -> Outcome:
    """Read a file as an image and as a mask, and compare with the whole one where it must agree."""
    suffix = tried.target.removeprefix("file ")
    files = whole(suffix)
    path = given / next(iter(files))
    image = _drawn_on() if suffix in DICOM_OBJECTS else None
    kinds = {"mask": lambda p: read_mask(p, image=image), "image": lambda p: read_image([p])}
    expected = {}
    must_agree = tried.cut or (tried.raw and suffix in CHECKED)
    if must_agree:
        _write(given, files)
        for kind, read in kinds.items():
            with contextlib.suppress(RaresegError):
                expected[kind] = read(path).array
    _write(given, files | {tried.name: tried.content})
    before = sorted(given.iterdir())
    outcome = Outcome("refused")
    for kind, read in kinds.items():
        try:
            found = read(path).array
        except RaresegError as error:
            if path.name not in str(error):
                return Outcome("no sentence", tried.target, str(error))
            if (judged := _as_sentence(str(error))).is_fault:
                return judged
            continue
        outcome = Outcome("read")
        if kind in expected and not np.array_equal(found, expected[kind]):
            what = "cut" if tried.cut else "checksum"
            return Outcome("silent", f"{tried.target} {what} {kind}", f"{found.shape}")
    if sorted(given.iterdir()) != before:
        return Outcome("outside", tried.target, str(sorted(given.iterdir())))
    return outcome


@cache
def _drawn_on() -> Image:
    """Return the image of what is drawn in DICOM: one of NIfTI, in the same frame."""
    with tempfile.TemporaryDirectory() as place:
        _write(Path(place), whole(".nii"))
        return read_image([Path(place) / "whole.nii"])


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _try_text(tried: Tried, places: Places) -> Outcome:
    """Inspect a data set that a text describes, or use a recipe or a split."""
    what, path = tried.target.removeprefix("text "), places.given / tried.name
    _pictures(places, masks=what in ("manifest", "notes"))
    if what == "yolo drawing":
        _write(places.given, {"data.yaml": TEXTS["yolo"][1].encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tried.content)
    if what not in ("recipe", "split"):
        return _command(["inspect", str(places.given)])
    try:
        if what == "recipe":
            check_values(read_overrides(path))
        else:
            read_split(path)
    except RaresegError as error:
        return _as_sentence(str(error))
    return Outcome("read")


def _pictures(places: Places, *, masks: bool) -> None:
    for folder in ("images", "masks") if masks else ("images",):
        (places.given / folder).mkdir()
        for name in NAMES:
            shutil.copy(places.data / folder / f"{name}.png", places.given / folder)


def _as_sentence(said: str) -> Outcome:
    if "\n" in said or not said.endswith("."):
        return Outcome("no sentence", said[-40:], said)
    return Outcome("refused")


def _try_run(tried: Tried, places: Places) -> Outcome:
    """Change one record of a run, and call a command that the content chooses."""
    run = places.given / "run"
    shutil.copytree(places.run, run)
    (run / tried.name).write_bytes(tried.content)
    words = COMMANDS[sum(tried.content[:64], len(tried.content)) % len(COMMANDS)]
    names = {"run": run, "data": places.data, "out": places.out}
    return _command([word.format(**names) for word in words])


def _command(words: list[str]) -> Outcome:
    called = call_main(*words)
    if called.code not in (0, 1, 2):
        said = (called.out + called.err)[-2000:]
        return Outcome("traceback", f"exit code {called.code}", said)
    return Outcome("refused" if called.code else "read")


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Return the most memory since :func:`_forget_peak`, in bytes; 0 where that is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)

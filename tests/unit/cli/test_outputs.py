# SPDX-License-Identifier: Apache-2.0
"""Outputs go where they are told: links, pipes, devices, standard output; nothing half-written."""

import io
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from support import DIGITS, ROOT, bramcast, in_all

from bramcast.pack.bundle import swap
from bramcast.pack.bundle.errors import InputError, ToolError
from bramcast.pack.bundle.folder import replace_bytes, replace_file, replace_folder
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.sim.run.runner import cached

OLD = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
MAIN = (sys.executable, "-c", "from bramcast.cli import main; main()")
GIVEN = {"weights.mem": b"new\n", "bias.mem": b"new\n"}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def fill(folder, content=GIVEN):
    for name, data in content.items():
        (folder / name).write_bytes(data)


# --- files


def test_a_link_leads_to_its_file(tmp_path):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "x.txt", tmp_path / "x.txt"
    link.symlink_to(real)
    replace_bytes(link, b"one")  # the link leads nowhere yet
    assert link.is_symlink() and real.read_bytes() == b"one"
    replace_bytes(link, b"two")
    assert link.is_symlink() and real.read_bytes() == b"two"
    assert os.listdir(tmp_path / "far") == ["x.txt"]
    real.unlink()
    real.symlink_to(link)
    with pytest.raises(InputError, match="symbolic links"):
        replace_bytes(link, b"three")


def test_a_file_keeps_its_mode(tmp_path):
    path = tmp_path / "x.txt"
    replace_bytes(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    replace_bytes(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == b"two"


def test_a_pipe_gets_what_is_written(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, lambda file: np.savez(file, x=np.arange(3)))
    reader.join()
    assert np.load(io.BytesIO(got[0]))["x"].tolist() == [0, 1, 2]
    assert stat.S_ISFIFO(pipe.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_devices_stay_devices():
    before = os.stat("/dev/null")
    replace_bytes(Path("/dev/null"), b"x")
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode) and after.st_ino == before.st_ino
    with pytest.raises(InputError, match="/dev/full: can't be written: No space left"):
        replace_bytes(Path("/dev/full"), b"x")


def test_an_open_file_is_written_behind_what_is_there(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.flush()
        inode = path.stat().st_ino
        replace_bytes(Path(f"/dev/fd/{file.fileno()}"), b"second\n")
    assert path.read_bytes() == b"first\nsecond\n" and path.stat().st_ino == inode


def test_an_open_file_goes_on_behind_what_was_written(tmp_path):
    """A shell's own output follows, as in { bramcast .. -o /dev/fd/3; echo end >&3; } 3> log."""
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        file.write(b"first\n")
        for name in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            replace_bytes(Path(name), b"second\n")
            file.write(b"third\n")
        replace_bytes(Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), b"end\n")
    assert path.read_bytes() == b"first\n" + 2 * b"second\nthird\n" + b"end\n"
    with pytest.raises(InputError, match="/dev/fd/999: can't be written: Bad file descriptor"):
        replace_bytes(Path("/dev/fd/999"), b"x")


def test_a_socket_takes_what_is_written():
    one, other = socket.socketpair()
    with one, other:
        replace_bytes(Path(f"/dev/fd/{one.fileno()}"), b"x")
        assert other.recv(9) == b"x"


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_bytes(b"old")

    def broken(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(InputError, match=r"x\.txt: can't be written: No space left"):
        replace_bytes(path, b"new")
    assert files(tmp_path) == {"x.txt": b"old"}


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_standard_output_holds_the_file_alone(name):
    device = os.lstat("/dev/stdout").st_ino
    command = [*MAIN, "golden", OLD, "--inputs", DIGITS / "inputs.npz", "-o", name]
    done = subprocess.run(command, capture_output=True, check=True)
    assert np.load(io.BytesIO(done.stdout))["out_int"].shape == (599, 10)
    assert b"accuracy" in done.stderr
    assert os.lstat("/dev/stdout").st_ino == device


def test_text_goes_to_the_terminal_without_o(tmp_path):
    torch.save({"fc.weight": torch.tensor([[1.5, -2.0]])}, tmp_path / "n.pth")
    done = bramcast("export", tmp_path / "n.pth", "--format", "csv")
    assert done.returncode == 0 and "1.5" in done.stdout and "written" not in done.stdout
    assert "1 array written to standard output" in done.stderr
    to_file = bramcast("export", tmp_path / "n.pth", "-o", tmp_path / "n.csv")
    assert to_file.returncode == 0 and (tmp_path / "n.csv").read_text() == done.stdout
    done = bramcast("export", tmp_path / "n.pth", "--format", "npz")
    assert done.returncode == 2 and "is no text: give -o FILE" in done.stderr
    done = bramcast("images", OLD / "bias.mem", "--to", "coe")
    assert done.returncode == 0 and done.stdout == (OLD / "bias.coe").read_text()
    for words in (("--to", "bin"), ("--to", "coe", "--bank-bits", 8), ("--to", "coe", "--json")):
        done = bramcast("images", OLD / "bias.mem", *words)
        assert done.returncode == 2 and done.stdout == "", words
        assert "give" in done.stderr and done.stderr.count("\n") == 1


def test_two_things_do_not_share_standard_output(tmp_path):
    inputs = DIGITS / "inputs.npz"
    done = bramcast("golden", OLD, "--inputs", inputs, "-o", "-", "--json")
    assert done.returncode == 2 and done.stdout == "" and "--json prints there" in done.stderr
    done = bramcast("regress", OLD, OLD, "--inputs", inputs, "--junit", "-", "--markdown", "-")
    assert done.returncode == 2 and done.stdout == "" and "give a file" in done.stderr
    done = bramcast("regress", OLD, OLD, "--inputs", inputs, "--markdown", "-")
    assert done.returncode == 0 and done.stdout.startswith("## ") and "drop-in" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
@pytest.mark.parametrize(
    "words",
    [
        ("images", OLD / "bias.mem"),
        ("images", OLD / "bias.mem", "--json"),
        ("images", OLD),
        ("images", OLD / "bias.mem", "--to", "coe"),
        ("--version",),
        ("export", "--help"),
    ],
    ids=["table", "json", "bundle", "text", "version", "help"],
)
def test_standard_output_that_is_full_is_one_line(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*MAIN, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("bramcast: error: standard output") and "None" not in done.stderr
    assert "can't be written: No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_standard_output_that_is_closed_is_missed_by_those_only_who_need_it(tmp_path):
    def closed(*words):
        run = subprocess.run(
            [*MAIN, *words], stderr=subprocess.PIPE, text=True, check=False,
            preexec_fn=lambda: os.close(1),
        )  # fmt: skip
        return run.returncode, run.stderr

    told = "bramcast: error: standard output: can't be written: it is closed\n"
    image = OLD / "bias.mem"
    assert closed("images", image, "--to", "coe") == (2, told)
    assert closed("images", image, "--json") == (2, told)
    assert closed("images", image, "--to", "coe", "-o", tmp_path / "b.coe") == (0, "")
    assert (tmp_path / "b.coe").read_bytes() == (OLD / "bias.coe").read_bytes()


def test_a_reader_that_leaves_is_one_line(tmp_path):
    torch.save({"fc.weight": torch.zeros(512, 512)}, tmp_path / "n.pth")
    command = [*MAIN, "export", tmp_path / "n.pth"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    errors = run.stderr.read().decode()
    assert run.wait() == 2 and errors.count("\n") == 1 and "Broken pipe" in errors


@pytest.mark.parametrize(
    "verb, where",
    [
        in_all(verb, where, when=verb == "inspect --json")
        for verb in ("export", "inspect", "inspect --json", "images")
        for where in ("> /dev/full", ">&-")
    ],
)
def test_standard_output_that_takes_nothing_is_one_line(tmp_path, verb, where):
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "n.pth")
    given = OLD / "bias.mem" if verb == "images" else tmp_path / "n.pth"
    line = " ".join(map(str, (*map(shlex.quote, MAIN), *verb.split(), given, where)))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert "internal" not in done.stderr and "Exception" not in done.stderr, done.stderr
    if where != ">&-" or verb == "export":  # text for nobody is no error
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "can't be written: " in done.stderr


def test_prune_asks_before_it_loses_its_own_input(tmp_path):
    path, link = tmp_path / "n.pth", tmp_path / "link.pth"
    torch.save({"fc.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, path)
    link.symlink_to(path)
    before = path.read_bytes()
    for output in (path, link):
        done = bramcast("prune", path, "-o", output, "--sparsity", 0.5)
        assert done.returncode == 2 and "--force" in done.stderr and path.read_bytes() == before
    done = bramcast("prune", path, "-o", link, "--sparsity", 0.5, "--force")
    assert done.returncode == 0, done.stderr
    assert link.is_symlink() and (torch.load(path)["fc.weight"] == 0).sum() == 2


# --- folders


@pytest.fixture(params=["exchange", "in place"])
def way(request, monkeypatch):
    """Both ways to replace a folder; in place is that of file systems that can't exchange."""
    if request.param == "in place":
        monkeypatch.setattr(swap, "exchange", _cannot)
    return request.param


def _cannot(one, other):
    raise OSError(22, "Invalid argument")


def test_a_folder_is_replaced_and_nothing_is_left(tmp_path, way):
    target = tmp_path / "b"
    replace_folder(target, fill)
    inode = target.stat().st_ino
    (target / "table.mem").write_bytes(b"goes")
    target.chmod(0o750)
    replace_folder(target, lambda folder: fill(folder, {"bias.mem": b"2"}))
    assert files(target) == {"bias.mem": b"2"} and os.listdir(tmp_path) == ["b"]
    assert (target.stat().st_ino == inode) == (way == "in place")
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


def test_a_folder_that_fails_stays(tmp_path, way):
    target = tmp_path / "b"
    replace_folder(target, fill)

    def broken(folder):
        fill(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="b: can't be written: No space left"):
        replace_folder(target, broken)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'notes\.txt'"):
        replace_folder(target, fill)
    assert os.listdir(tmp_path) == ["b"] and (target / "notes.txt").read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(tmp_path, way):
    (tmp_path / "far").mkdir()
    link = tmp_path / "b"
    link.symlink_to(tmp_path / "far" / "b")
    for data in (b"1", b"2"):
        replace_folder(link, lambda folder, data=data: fill(folder, {"bias.mem": data}))
        assert link.is_symlink() and files(tmp_path / "far" / "b") == {"bias.mem": data}
    assert os.listdir(tmp_path / "far") == ["b"]


def test_the_working_folder_stays_the_working_folder(tmp_path, monkeypatch):
    target = tmp_path / "b"
    target.mkdir()
    monkeypatch.chdir(target)
    for data in (b"1", b"2"):
        replace_folder(Path(), lambda folder, data=data: fill(folder, {"bias.mem": data}))
        assert files(Path()) == files(target) == {"bias.mem": data}
    assert os.listdir(tmp_path) == ["b"]


def test_standard_output_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        replace_folder(Path("-"), fill)
    assert os.listdir(tmp_path) == []


def test_what_a_living_process_fills_is_left_alone(tmp_path):
    target = tmp_path / "b"
    with swap.fresh_folder(target) as fresh:
        replace_folder(target, fill)
        assert fresh.is_dir()
    (tmp_path / ".b.new.abcd1234").mkdir()  # its process was killed
    (tmp_path / ".b.new.mine").mkdir()
    replace_folder(target, fill)
    assert sorted(os.listdir(tmp_path)) == [".b.new.mine", "b"]


# A process that makes a child for each line "FIRST STEP", as starting Python takes long. The child
# replaces one folder again and again, each time by other files of one number, from FIRST on; with a
# STEP only twice, and the second time it kills itself in front of this step, a call of the
# operating system that alters names.
LOOP = """
import os, signal, sys
from pathlib import Path
from bramcast.pack.bundle import swap
from bramcast.pack.bundle.folder import replace_folder

target, way = Path(sys.argv[1]), sys.argv[2]
os.fsync = lambda handle: None  # for speed: a kill does not lose what the kernel has
if way == "in place":
    def cannot(one, other):
        raise OSError(22, "")
    swap.exchange = cannot
done = 0
def counted(call, step):
    def counting(*arguments, **options):
        global done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return counting
def replace(number):
    def fill(folder):
        table = "table.mem" if number % 2 else "table.coe"
        for name in ("weights.mem", "bias.mem", "images.bin", table):
            (folder / name).write_text(f"{number}")
    replace_folder(target, fill)
def child(number, step):
    replace(number)
    if step:
        swap.exchange = counted(swap.exchange, step)
        for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
            setattr(os, name, counted(getattr(os, name), step))
        replace(number + 1)
        os._exit(0)
    while True:
        number += 1
        replace(number)
for line in sys.stdin:
    made = os.fork()
    if not made:
        child(*map(int, line.split()))
    print(made, flush=True)
    print(os.waitpid(made, 0)[1], flush=True)
"""


@pytest.fixture
def parent(tmp_path, way):
    """Starts children: from a line to the child's number, and when it is dead its status."""
    command = [sys.executable, "-c", LOOP, tmp_path / "t", way]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as run:
        yield run
        run.stdin.close()


def whole(target):
    """The folder's one number, whatever happened; its other files are those of that number."""
    swap.finish(target)  # as every reader of a bundle does
    found = files(target)
    numbers = set(found.values())
    assert len(numbers) == 1, found
    number = int(numbers.pop())
    table = "table.mem" if number % 2 else "table.coe"
    assert set(found) == {"weights.mem", "bias.mem", "images.bin", table}
    return number


def test_a_hundred_kills_leave_the_old_or_the_new(tmp_path, parent):
    target, rng, seen = tmp_path / "t", np.random.default_rng(7), set()
    for kill in range(100):
        parent.stdin.write(f"{1000 * kill} 0\n")
        child = int(parent.stdout.readline())
        while not target.exists():
            pass
        threading.Event().wait(rng.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert int(parent.stdout.readline()) == signal.SIGKILL
        seen.add(whole(target))
    assert len(seen) > 20
    replace_folder(target, fill)
    assert os.listdir(tmp_path) == ["t"] and files(target) == GIVEN


def test_a_kill_at_each_step_leaves_the_old_or_the_new(tmp_path, parent):
    target, seen, status = tmp_path / "t", [], signal.SIGKILL
    while status == signal.SIGKILL:
        parent.stdin.write(f"0 {len(seen) + 1}\n")
        parent.stdout.readline()
        status = int(parent.stdout.readline())
        seen.append(whole(target))
    assert status == 0 and len(seen) > 5
    assert {*seen} == {0, 1} and seen == sorted(seen)  # before one moment the old, then the new


def test_a_reader_completes_what_was_killed(tmp_path):
    target = tmp_path / "b"
    shutil.copytree(OLD, target)
    ready = target / swap.READY
    ready.mkdir()
    text = (target / "manifest.json").read_text().replace('"digits_mlp"', '"new"')
    assert '"name": "new"' in text
    (ready / "manifest.json").write_text(text)
    (ready / ".list").write_text("+manifest.json\n+bias.mem\n-bias.coe\n-../../outside")
    (tmp_path / "outside").write_text("stays")
    assert read_manifest(target).name == "new"
    assert not ready.exists() and not (target / "bias.coe").exists()
    assert (target / "bias.mem").exists() and (tmp_path / "outside").exists()


# --- mount points and full disks: only root has them


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(call, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_mount_point_is_written_in_place(small_disk):
    for data in (b"1", b"2"):
        replace_folder(small_disk, lambda folder, data=data: fill(folder, {"bias.mem": data}))
        assert files(small_disk) == {"bias.mem": data} and os.path.ismount(small_disk)
    assert os.listdir(small_disk) == ["bias.mem"]


def test_a_file_that_is_a_mount_point_is_written_into(small_disk, tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"a longer text")
    (small_disk / "x").write_bytes(b"")
    subprocess.run(["mount", "--bind", small_disk / "x", path], check=True)
    try:
        replace_bytes(path, b"new")
        assert (small_disk / "x").read_bytes() == b"new"
    finally:
        subprocess.run(["umount", path], check=True)
    assert path.read_bytes() == b"a longer text"


def test_a_full_disk_keeps_what_was_there(small_disk):
    file, folder = small_disk / "x.npz", small_disk / "b"
    replace_bytes(file, b"old")
    replace_folder(folder, fill)
    big = {"weights.mem": bytes(1 << 20)}
    with pytest.raises(InputError, match=r"x\.npz: can't be written: No space left"):
        replace_bytes(file, big["weights.mem"])
    with pytest.raises(InputError, match="b: can't be written: No space left"):
        replace_folder(folder, lambda fresh: fill(fresh, big))
    assert sorted(os.listdir(small_disk)) == ["b", "x.npz"]
    assert file.read_bytes() == b"old" and files(folder) == GIVEN


def test_a_cache_on_a_full_disk_says_so_and_keeps_no_half(small_disk, monkeypatch):
    monkeypatch.setenv("BRAMCAST_CACHE", str(small_disk))
    with pytest.raises(ToolError, match=r"disk: .*No space left on device\); make room"):
        cached("sim", ["a"], [], lambda made: fill(made, {"program": bytes(1 << 20)}))
    assert not [path for path in small_disk.iterdir() if path.is_dir()]
    assert files(cached("sim", ["a"], [], fill)) == GIVEN


def test_a_compiler_that_does_not_say_that_the_disk_is_full(small_disk, monkeypatch):
    def half(made):
        with suppress(OSError), open(made / "sim.vvp", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    monkeypatch.setenv("BRAMCAST_CACHE", str(small_disk))
    with pytest.raises(ToolError, match=r"disk: .*No space left on device\); make room"):
        cached("sim", ["a"], [], half)
    assert not [path for path in small_disk.iterdir() if path.is_dir()]
    assert files(cached("sim", ["a"], [], fill)) == GIVEN


def test_arrays_that_have_no_room_are_one_line(small_disk, tmp_path):
    torch.save({"a": torch.randn(256, 256), "b": torch.randn(4)}, tmp_path / "n.pth")
    done = bramcast("export", tmp_path / "n.pth", "--format", "npy", "-o", small_disk / "n")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "disk/n: can't be written: No space left on device" in done.stderr
    assert os.listdir(small_disk) == []


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_that_has_no_room_is_one_line(small_disk, tmp_path, suffix):
    torch.save({"fc.weight": torch.randn(256, 256)}, tmp_path / "n.pth")
    done = bramcast("prune", tmp_path / "n.pth", "-o", small_disk / f"n{suffix}", "--sparsity", 0.5)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "can't be written: No space left" in done.stderr and not os.listdir(small_disk)

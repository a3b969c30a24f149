"""`./kazashi` in a clone: it installs what a command needs, in whole or not at all, whoever interrupts it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.standin import Project, new_project, write_program


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line on stderr of a command that failed for a problem of the environment."""
    lines = [line for line in done.stderr.splitlines() if "installing Python packages" not in line]
    assert (done.returncode, done.stdout, len(lines)) == (3, "", 1), done.stderr
    return lines[0]


def reply(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_without_a_terminal_nothing_is_installed_unasked(project: Project) -> None:
    line = error_of(project.run("card", "list", "--json"))
    assert "1 MB" in line
    assert line.endswith("to install them, run: ./kazashi --yes card list --json [not-installed]")
    assert not (project.root / ".venv").exists()
    assert not project.folder.exists()


def test_yes_installs_and_the_next_start_needs_no_bootstrap(project: Project) -> None:
    assert reply(project.run("--yes", "card", "list"))["modules"] == ["tiny_one"]
    (project.root / "tools" / "installation" / "__main__.py").unlink()
    assert reply(project.run("card", "list"))["modules"] == ["tiny_one"]


def test_terminal_is_asked(project: Project) -> None:
    for answer, status in (("n\n", 3), ("\x04", 3), ("y\n", 0)):  # no, the end of input, yes
        leader, follower = pty.openpty()
        process = subprocess.Popen(project.command("card", "list"), cwd=project.root, env=project.variables,
                                   stdin=follower, stdout=subprocess.DEVNULL, stderr=follower)  # fmt: skip
        os.close(follower)
        shown = b""
        while b"Install them now?" not in shown:
            shown += os.read(leader, 1000)
        assert b"1 MB" in shown
        os.write(leader, answer.encode())
        assert process.wait(60) == status
        os.close(leader)


@pytest.mark.parametrize("command", ["demo", "test", "self install"])
def test_demo_and_test_never_ask(project: Project, command: str) -> None:
    (project.root / "tools" / "installation" / "running.py").write_text("def bring(arguments):\n    pass\n")
    leader, follower = pty.openpty()
    process = subprocess.Popen(project.command(*command.split()), cwd=project.root, env=project.variables,
                               stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True)  # fmt: skip
    os.close(follower)
    output, _ = process.communicate(timeout=120)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert process.returncode == 0, shown
    assert json.loads(output)["modules"] == ["tiny_one"]
    assert "Python packages [" in shown
    assert "?" not in shown


def test_yes_of_a_sub_command_is_no_consent(project: Project) -> None:
    line = error_of(project.run("self", "update", "--yes"))
    assert line.endswith("run: ./kazashi --yes self update [not-installed]")


def test_nothing_is_installed_to_be_removed(project: Project) -> None:
    done = project.run("self", "remove", "--yes")
    assert (done.returncode, done.stdout) == (0, "Nothing is installed.\n")
    assert not project.folder.exists()


def test_interpreter_that_is_none_is_named(project: Project) -> None:
    assert "KAZASHI_PYTHON=/nonexistent" in error_of(project.run("card", "list", KAZASHI_PYTHON="/nonexistent"))


def test_command_brings_its_part_and_keeps_the_others(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    line = error_of(project.run("tracking", "report"))
    assert "tracking (the tracking laboratory): 2 MB" in line
    assert "./kazashi --yes tracking report" in line
    assert reply(project.run("--yes", "tracking", "report"))["modules"] == ["tiny_one", "duckdb"]
    assert reply(project.run("card", "list"))["modules"] == ["tiny_one", "duckdb"]
    assert len(project.environments()) == 1, "the environment without the part is not used any more"


def test_new_lock_file_is_a_new_environment_without_a_question(project: Project) -> None:
    first = reply(project.run("--yes", "tracking", "report"))
    project.lock(version="2")
    second = reply(project.run("card", "list"))
    assert second["modules"] == ["tiny_one", "duckdb"]
    assert second["prefix"] != first["prefix"]


@pytest.mark.crash
@pytest.mark.parametrize("number", [2, 4, 8])
def test_first_starts_at_once_end_in_one_environment(project: Project, number: int) -> None:
    processes = [project.start("--yes", "card", "list") for _ in range(number)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * number, outputs
    assert len({json.loads(output)["prefix"] for output, _ in outputs}) == 1
    assert len(project.environments()) == 1


@pytest.mark.crash
def test_starts_that_need_different_parts_at_once_all_have_theirs(project: Project) -> None:
    commands = [("card", "list"), ("tracking", "report")] * 2
    processes = [project.start("--yes", *command) for command in commands]
    for process, command in zip(processes, commands, strict=True):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert ("duckdb" in json.loads(output)["modules"]) or command[0] == "card"
    assert reply(project.run("card", "list"))["modules"] == ["tiny_one", "duckdb"]


@pytest.mark.crash
@pytest.mark.parametrize(
    ("whole_group", "stages"), [(True, (1, 3, 5)), (False, (2, 4, 6))], ids=["with its children", "alone"]
)
def test_killed_installation_is_repaired_by_the_next_start(
    project: Project, whole_group: bool, stages: tuple[int, ...]
) -> None:
    reply(project.run("--yes", "card", "list"))
    log = project.folder / "log"
    for stage in stages:
        project.lock(version=str(stage + 1))  # an environment to build, beside the one in use
        log.unlink()
        process = project.start("card", "list")
        while not log.exists() or log.read_text(encoding="utf-8").count("$ ") < stage:
            assert process.poll() is None, "each stage is one program that the installation runs"
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        reply(project.run("card", "list"))
    assert (
        f"VERSION = '{stages[-1] + 1}'" in next(project.root.glob(".venv/lib/*/site-packages/tiny_one.py")).read_text()
    )


def test_running_program_keeps_the_environment_it_started_from(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    running = project.start("wait", KAZASHI_VENV="../a clone 複製/.venv")
    assert running.stdout is not None
    assert running.stdout.readline() == "waiting\n"
    before = project.environments()
    project.lock(version="2")
    after = reply(project.run("card", "list"))
    assert str(before[0]) != after["prefix"]
    assert set(before) < set(project.environments())
    output, _ = running.communicate()
    assert json.loads(output)["prefix"] == str(before[0])
    project.lock(version="3")
    reply(project.run("card", "list"))
    assert len(project.environments()) == 1


@pytest.mark.long
def test_environment_of_a_running_interpreter_is_kept(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    command = [".venv/bin/python", "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, cwd=project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        project.lock(version="2")
        reply(project.run("card", "list"))
        assert len(project.environments()) == 2
        running.communicate()


def test_repair_that_fails_leaves_the_environment_as_it_was(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    next(project.root.glob(".venv/lib/*/site-packages/setuptools.py")).unlink()
    for wheel in project.wheels.iterdir():
        wheel.unlink()
    assert "cannot be reached" in project.run("doctor").stderr
    assert reply(project.run("card", "list"))["modules"] == ["tiny_one"]


@pytest.mark.long
def test_part_that_lacks_a_module_is_built_again_once(project: Project) -> None:
    reply(project.run("--yes", "tracking", "report"))
    next(project.root.glob(".venv/lib/*/site-packages/duckdb.py")).unlink()
    assert reply(project.run("tracking", "report"))["modules"] == ["tiny_one", "duckdb"]


def test_environment_without_its_interpreter_is_built_again(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    (project.root / ".venv" / "bin" / "python").unlink()
    assert reply(project.run("card", "list"))["modules"] == ["tiny_one"]


def test_code_in_the_users_folder_is_not_run(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in ("venv", "pip", "csv", "json"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\nraise SystemExit\n")
    (folder / "uv.toml").write_text("no-build = true\n")
    done = subprocess.run([project.root / "kazashi", "--yes", "card", "list"], cwd=folder, env=project.variables,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "was-run").exists()


def test_settings_of_pip_and_uv_do_not_change_what_is_installed(project: Project) -> None:
    settings = {"PIP_USER": "1", "PIP_TARGET": "/nonexistent", "UV_REQUIRE_HASHES": "1", "UV_LINK_MODE": "symlink",
                "UV_SYSTEM_PYTHON": "1", "PYTHONWARNINGS": "error", "PYTHONHOME": "/nonexistent"}  # fmt: skip
    project.run("--yes", "card", "list", **settings)
    assert reply(project.run("card", "list"))["modules"] == ["tiny_one"]
    assert not any(path.is_symlink() for path in (project.root / ".venv" / "lib").rglob("*.py"))


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_closed_streams_are_no_terminal(project: Project, closed: str) -> None:
    done = subprocess.run(["sh", "-c", f"./kazashi card list {closed}"], cwd=project.root, env=project.variables,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


@pytest.mark.parametrize("damage", ["lock truncated", "lock missing", "setup.cfg missing", "setup.cfg conflict"])
def test_damaged_clone_is_one_sentence(project: Project, damage: str) -> None:
    path = project.root / ("setup.cfg" if "setup" in damage else "requirements.lock")
    if "missing" in damage:
        path.unlink()
    else:
        path.write_text("" if "truncated" in damage else f"<<<<<<< HEAD\n{path.read_text()}")
    variables = {"KAZASHI_UV": ""} if "truncated" in damage else {}
    assert path.name in error_of(project.run("--yes", "card", "list", **variables))


def test_another_user_can_run_what_is_installed(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    project.root.parent.chmod(0o755)
    for arguments in (["card", "list"], ["doctor"]):
        os.utime(project.root / "setup.cfg", (2e9, 2e9))  # from the future: every start takes the long way
        command = ["setpriv", "--reuid=65534", "--clear-groups", *project.command(*arguments)]
        done = subprocess.run(
            command, cwd=project.root, env=project.variables, capture_output=True, text=True, check=False
        )
        assert reply(done)["modules"] == ["tiny_one"]


def test_damaged_environment_is_built_again_by_doctor(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    next(project.root.glob(".venv/lib/*/site-packages/tiny_one.py")).write_text("")
    assert reply(project.run("doctor"))["modules"] == ["tiny_one"]
    assert "VERSION" in next(project.root.glob(".venv/lib/*/site-packages/tiny_one.py")).read_text()


@pytest.mark.long
def test_moved_clone_is_built_again(project: Project) -> None:
    reply(project.run("--yes", "card", "list"))
    moved = Project(project.root.rename(project.root.with_name("elsewhere")), project.wheels, project.variables)
    assert str(reply(moved.run("card", "list"))["prefix"]).startswith(str(moved.root))


@pytest.mark.parametrize("existing", ["folder", "foreign environment", "file"])
def test_what_kazashi_did_not_build_is_left_alone(project: Project, tmp_path: Path, existing: str) -> None:
    path = tmp_path / "thesis"
    if existing == "file":
        path.write_text("do not lose me")
    else:
        path.mkdir()
        (path / "chapter-1.txt").write_text("do not lose me")
    if existing == "foreign environment":
        (path / "pyvenv.cfg").touch()
    line = error_of(project.run("--yes", "card", "list", KAZASHI_VENV=str(path)))
    assert "set KAZASHI_VENV to" in line
    kept = path if existing == "file" else path / "chapter-1.txt"
    assert kept.read_text() == "do not lose me"


def test_folder_of_somebody_beside_the_path_is_left_alone(project: Project, tmp_path: Path) -> None:
    photo = tmp_path / "data.d" / "photos" / "1.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_text("do not lose me")
    line = error_of(project.run("--yes", "card", "list", KAZASHI_VENV=str(tmp_path / "data")))
    assert "is not empty, and Kazashi did not make it" in line
    assert photo.read_text() == "do not lose me"


@pytest.mark.parametrize("target", ["release/5", "gone"])
def test_link_of_somebody_is_left_alone(project: Project, tmp_path: Path, target: str) -> None:
    (tmp_path / "release" / "5").mkdir(parents=True)
    link = tmp_path / "current"
    link.symlink_to(target)
    assert "is a link that Kazashi did not make" in error_of(
        project.run("--yes", "card", "list", KAZASHI_VENV=str(link))
    )
    assert str(link.readlink()) == target


@pytest.mark.long
def test_two_clones_do_not_share_an_environment(project: Project, tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    reply(project.run("--yes", "tracking", "report", KAZASHI_VENV=shared))
    copy = Project(shutil.copytree(project.root, tmp_path / "copy"), project.wheels, project.variables)
    assert f"belongs to the clone in {project.root}" in error_of(copy.run("--yes", "card", "list", KAZASHI_VENV=shared))


@pytest.mark.long
def test_copy_of_a_clone_asks_again(project: Project, tmp_path: Path) -> None:
    reply(project.run("--yes", "card", "list"))
    root = shutil.copytree(project.root, tmp_path / "copy", symlinks=True)
    assert "[not-installed]" in error_of(Project(root, project.wheels, project.variables).run("card", "list"))


def test_environment_of_an_earlier_version_is_replaced(project: Project) -> None:
    old = project.root / ".venv"
    (old / "bin").mkdir(parents=True)
    (old / "pyvenv.cfg").touch()
    (old / "built-from").write_text(f"{project.root} 1 2\n")
    write_program(old / "bin" / "kazashi", "echo the old program")
    assert reply(project.run("--yes", "card", "list"))["modules"] == ["tiny_one"]
    assert old.is_symlink()


def test_unwritable_folder_is_one_sentence(project: Project) -> None:
    shutil.chown(project.root, "nobody")
    for path in project.root.rglob("*"):
        shutil.chown(path, "nobody")
    project.root.parent.chmod(0o755)
    project.root.chmod(0o555)
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", *project.command("--yes", "card", "list")]
    done = subprocess.run(
        as_nobody, cwd=project.root, env=project.variables, capture_output=True, text=True, check=False
    )
    line = error_of(done)
    assert ".venv.d cannot be written to" in line
    assert "KAZASHI_VENV" in line


@pytest.mark.parametrize("kilobytes", [8, 32, 80])
def test_full_disk_is_one_sentence(project: Project, tmp_path: Path, kilobytes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={kilobytes}k tmpfs "$0" && KAZASHI_VENV="$0/env" exec "$@"'
    (project.root / "tools" / "installation" / "sizes.json").write_text('{"base": 0}')
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, disk, *project.command("--yes", "card", "list")],
        cwd=project.root, env=project.variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    line = error_of(done)
    assert "the disk is full; free some space" in line


def test_too_small_disk_is_noticed_before_anything_is_written(project: Project) -> None:
    (project.root / "tools" / "installation" / "sizes.json").write_text('{"base": 1000000000}')
    line = error_of(project.run("--yes", "card", "list"))
    assert "MB of free space, and the Python packages need 1000000000 MB" in line
    assert project.environments() == []


@pytest.mark.parametrize("without", ["index", "package"])
def test_unreachable_index_is_one_sentence(project: Project, without: str) -> None:
    variables = {"UV_FIND_LINKS": "", "UV_OFFLINE": "false", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    if without == "package":
        variables = {}
        for wheel in project.wheels.glob("tiny_one*"):
            wheel.unlink()
    line = error_of(project.run("--yes", "card", "list", UV_HTTP_RETRIES="0", **variables))
    assert "the package index cannot be reached, or does not have the package" in line


def test_other_file_than_the_locked_one_is_refused(project: Project) -> None:
    lock = project.root / "requirements.lock"
    text = lock.read_text()
    digest = text.partition("sha256:")[2][:64]
    lock.write_text(text.replace(digest, "0" * 64))
    assert "is not the one in the lock file" in error_of(project.run("--yes", "card", "list"))
    assert not (project.root / ".venv").exists()


def test_debian_packages_that_only_root_can_install_are_named(project: Project, tmp_path: Path) -> None:
    write_program(tmp_path / "bin" / "dpkg-query", 'for p in "$@"; do [ "$p" = pcscd ] || echo "$p installed"; done')
    write_program(tmp_path / "bin" / "sudo", "exit 1")
    tmp_path.chmod(0o755)
    for path in (project.root, *project.root.rglob("*")):
        shutil.chown(path, "nobody")
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", *project.command("demo")]
    done = subprocess.run(as_nobody, cwd=project.root, env=project.variables, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    line = error_of(done)
    assert line.endswith("sudo apt-get install --no-install-recommends pcscd [installation-failed]")


def test_debian_packages_are_installed_by_need(project: Project, tmp_path: Path) -> None:
    missing = 'for p in "$@"; do case $p in pcscd | chromium) ;; *) echo "$p installed" ;; esac; done'
    write_program(tmp_path / "bin" / "dpkg-query", missing)
    write_program(tmp_path / "bin" / "apt-get", f'echo "$*" >> {tmp_path}/calls')
    reply(project.run("--yes", "card", "list"))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-1].endswith("install -y --no-install-recommends pcscd")


def test_bootstrap_needs_only_the_standard_library() -> None:
    folder = Path(__file__).parents[2] / "tools" / "installation"
    begin = f"import runpy; m = runpy.run_path('{folder / '__main__.py'}'); m['make_importable'](m['ROOT']); "
    modules = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")]
    imports = "; ".join(f"import kazashi.tools.installation.{name}" for name in modules)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", begin + imports], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_completion_by_a_shell_installs_nothing(project: Project) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = project.run(_KAZASHI_COMPLETE=f"{shell}_complete")
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert not project.folder.exists()

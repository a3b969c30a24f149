"""Fresh roots: Debian's minimal system in a directory, and programs that run in it as on a machine of their own.

Programs in a root have mount and pid namespaces of their own, so nothing stays mounted or running after them, but they
share the network with this machine. Only Python's standard library is used, because this runs before Kazashi is built.
"""

from __future__ import annotations

import os
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

AUTHORITIES = "/etc/host-certificates.pem"
"""This machine's certificate bundle inside a root. The root's own bundle may be rebuilt by a package, and a proxy that
this machine trusts would no longer be trusted."""

CLEAN = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
    "PYTHONUNBUFFERED": "1",
    **dict.fromkeys(
        ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"), AUTHORITIES
    ),
    "NODE_EXTRA_CA_CERTS": AUTHORITIES,
}
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")

# Programs in a root make mount and user namespaces themselves, which the kernel refuses after a plain chroot.
ENTER = r"""
set -e
root=$1 user=$2 group=$3 directory=$4 capabilities=$5 binds=$6; shift 6
mount --bind "$root" "$root"
cd "$root"
while [ "$binds" -gt 0 ]; do mkdir -p ".$1"; mount --bind "$2" ".$1"; shift 2; binds=$((binds - 1)); done
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  set -- $node -- "$@"; mknod --mode 666 "dev/$1" c "$2" "$3"; shift 4
done
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr; ln -s pts/ptmx dev/ptmx
mkdir -p .outside
pivot_root . .outside
umount --lazy /.outside
rmdir /.outside
cd "$directory"; unset OLDPWD
code=0
setpriv --reuid "$user" --regid "$group" --init-groups $capabilities -- "$@" || code=$?
exit $code
"""


class Failed(Exception):
    """A trial could not be carried out. The text says why."""


@dataclass(frozen=True, slots=True)
class Done:
    """A program that ended: its exit status, how long it took, its output with the moment of each line, its errors."""

    code: int
    seconds: float
    lines: list[tuple[float, str]]
    errors: str

    @property
    def output(self) -> str:
        """What it printed on stdout."""
        return "".join(line for _, line in self.lines)


@dataclass
class Root:
    """A directory with a Debian system in it, in which programs are run."""

    path: Path
    log: Path

    def run(
        self,
        *command: str,
        user: str = "root",
        group: str | None = None,
        directory: str = "/",
        capabilities: str = "",
        environment: Mapping[str, str] | None = None,
        answer: str = "",
        check: bool = True,
        binds: Mapping[str, Path] | None = None,
    ) -> Done:
        """Run a program in the root and wait for it. All processes that it started end with it.

        `binds` are directories of this machine that the program finds in the root: each by its path there. Raises
        Failed if `check` is true and it exits with something other than 0.
        """
        # Another Kazashi on this machine, outside the root, would take the same ports.
        env = CLEAN | {"KAZASHI_FIRST_PORT": str(20000 + os.getpid() % 500 * 20)}
        env |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env |= {"HOME": "/root" if user == "root" else f"/home/{user}", "USER": user, **(environment or {})}
        enter = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child",
                 "sh", "-c", ENTER, "enter", str(self.path), user, group or user, directory, capabilities,
                 str(len(binds or {})), *(str(path) for bind in (binds or {}).items() for path in bind)]  # fmt: skip
        lines: list[tuple[float, str]] = []
        with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as entered:
            entered.write(answer)
            entered.seek(0)
            begun = time.monotonic()
            process = subprocess.Popen([*enter, *command], env=env, stdin=entered, stdout=subprocess.PIPE,
                                       stderr=errors, text=True, errors="replace", start_new_session=True)  # fmt: skip
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append((time.monotonic() - begun, line))
                code = process.wait()
            finally:
                process.kill()
                process.stdout.read()  # until no process in the namespace has it open
                process.stdout.close()
                process.wait()
            seconds = time.monotonic() - begun
            errors.seek(0)
            done = Done(code, seconds, lines, errors.read())
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(command)[:500]}    (as {user})\n")
            log.writelines(f"{moment:8.2f} {line}" for moment, line in lines)
            log.write(f"{done.errors}\nexit status {code} after {seconds:.1f} s\n\n")
        if check and code:
            last = "\n".join((done.output + done.errors).splitlines()[-12:])
            raise Failed(
                f"{shlex.join(command)[:200]} exited with {code}; {self.log} has all output, the last is:\n{last}"
            )
        return done

    def packages(self) -> dict[str, int]:
        """Return the installed Debian packages, each with its size in kB."""
        said = self.run(
            "dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Installed-Size}\n"
        ).output
        rows = (line.split() for line in said.splitlines())
        return {row[1]: int(row[2]) for row in rows if row[0] == "installed" and len(row) == 3}

    def megabytes(self, directory: str = "/") -> float:
        """Return the size of a directory on disk."""
        inside = self.path / directory.lstrip("/")
        said = subprocess.run(
            ["du", "-sk", "--dereference-args", str(inside)], capture_output=True, text=True, check=True
        ).stdout
        return int(said.split()[0]) / 1024


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a git repository."""

    repository: Path
    commit: str

    @classmethod
    def named(cls, name: str) -> Commit:
        """Return the commit that DIR@COMMIT names. Raises Failed."""
        directory, _, commit = name.partition("@")
        asked = ["git", "-C", directory, "rev-parse", "--verify", "--quiet", f"{commit or 'HEAD'}^{{commit}}"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{name}: there is no such commit; write DIR@COMMIT")
        return cls(Path(directory).resolve(), done.stdout.strip())

    def put(self, bare: Path) -> None:
        """Make a bare repository whose only branch ends with the commit."""
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
        subprocess.run(["git", "-C", str(self.repository), "push", "--quiet", "--no-verify", str(bare),
                        f"{self.commit}:refs/heads/main"], check=True)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """Makes roots: from which mirror, and in which folder."""

    cache: Path
    mirror: str
    keep: bool

    def plain(self, suite: str, include: Sequence[str] = ("git", "ca-certificates")) -> Path:
        """Return the plain root of a Debian release; make it if it is not there. Raises Failed."""
        root = self.cache / (suite if include else f"{suite}-bare")
        if not root.exists():
            if shutil.which("debootstrap") is None:
                raise Failed("debootstrap makes the root, and it is missing; install the Debian package debootstrap")
            say(f"debootstrap makes {root}")
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.cache, prefix="partial-") as partial:
                made = Path(partial) / "root"
                options = ["--variant=minbase", *([f"--include={','.join(include)}"] if include else [])]
                # It mounts things as well, which must not stay when it is interrupted.
                apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
                done = subprocess.run([*apart, "debootstrap", *options, suite, str(made), self.mirror],
                                      capture_output=True, text=True, check=False)  # fmt: skip
                if done.returncode:
                    raise Failed(f"debootstrap failed: {(done.stdout + done.stderr)[-1000:]}")
                made.rename(root)
        return root

    @contextmanager
    def copy(self, plain: Path, name: str) -> Iterator[Root]:
        """Yield a copy of a root with this machine's name servers and certificates. It is removed at the end."""
        trial = Path(tempfile.mkdtemp(dir=self.cache, prefix=f"trial-{name}-"))
        root = Root(trial / "root", self.cache / f"{name}.log")
        root.log.unlink(missing_ok=True)
        try:
            subprocess.run(["cp", "-a", "--reflink=auto", str(plain), str(root.path)], check=True)
            _settle(root)
            yield root
        finally:
            if self.keep:
                say(f"{root.path} is kept")
            else:
                subprocess.run(["rm", "-rf", "--one-file-system", str(trial)], check=False)

    def equipped(self, suite: str, packages: Sequence[str]) -> Root:
        """Return the bare root of a Debian release with packages and what they depend on, not more. It is installed
        once, in the bare root itself."""
        root = Root(self.plain(suite, ()), self.cache / f"{suite}.log")
        _settle(root)
        self._update(root, suite)
        root.run("apt-get", "install", "--yes", "--no-install-recommends", *packages,
                 environment={"DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
        root.run("sh", "-c", "apt-get clean; rm -rf /var/lib/apt/lists/*")
        return root

    def _update(self, root: Root, suite: str) -> None:
        """Bring a root's package lists up to date, with those of the release's sources that this machine's apt has."""
        known = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE)"],
                               capture_output=True, text=True, check=False).stdout.split()  # fmt: skip
        origins = {
            suite: self.mirror,
            f"{suite}-updates": self.mirror,
            f"{suite}-security": f"{self.mirror}-security",
        }
        (root.path / "etc/apt/sources.list").write_text(
            "".join(f"deb {at} {release} main\n" for release, at in origins.items() if release in {suite, *known}),
            encoding="ascii",
        )
        root.run("apt-get", "update")

    @contextmanager
    def fresh(self, suite: str, source: Commit, name: str) -> Iterator[Root]:
        """Yield a root as a new machine is: package lists up to date, an ordinary user, and the source in /src.git."""
        with self.copy(self.plain(suite), name) as root:
            source.put(root.path / "src.git")
            (root.path / "etc/gitconfig").write_text("[safe]\n\tdirectory = /src.git\n", encoding="ascii")
            root.run("useradd", "--create-home", "--shell", "/bin/bash", "user")
            self._update(root, suite)
            os.sync()  # what the copy has still to write would slow the trial down
            yield root


def _settle(root: Root) -> None:
    """Give a root this machine's name servers and certificates."""
    shutil.copy("/etc/resolv.conf", root.path / "etc/resolv.conf")
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    shutil.copy(bundle or "/etc/ssl/certs/ca-certificates.crt", root.path / AUTHORITIES.lstrip("/"))
    # No init runs in a root. As in a container's image, a package's installation starts no service.
    policy = root.path / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)


def say(text: str) -> None:
    """Tell how far it is, on stderr."""
    print(f"fresh_roots: {text}", file=sys.stderr, flush=True)

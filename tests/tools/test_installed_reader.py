"""A reader installed in the system's pcscd, which runs with the restrictions of newer units, in a namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import LIMIT

# $1 a directory to work in, $2 the interpreter, $3 the user who hosts, $4 the user of pcscd or "".
# pcscd gets what its unit has: a read-only system, no homes, a /tmp of its own, a user of its own if this is root, and
# a user namespace in which it sees no other users. It is started on demand, and ends by itself (--auto-exit).
SCRIPT = r"""
set -eu
work=$1; python=$2; user=$3; service=$4; world=$1/world
mkdir -p "$work/etc" "$work/tmpfiles" "$work/local" "$work/run"
mount -t tmpfs tmpfs /run && mkdir /run/pcscd && chmod 755 /run
mkdir -p /etc/tmpfiles.d 2>/dev/null || true
[ -d /etc/tmpfiles.d ] && mount --bind "$work/tmpfiles" /etc/tmpfiles.d
mount --bind "$work/etc" /etc/reader.conf.d
mount --bind "$work/local" /usr/local/lib
unset PCSCLITE_CSOCK_NAME
run() { "$python" -m kazashi --world "$world" "$@"; }
run reader install "Town Hall" --user "$user"
run reader install "Town Hall" --user "$user" && exit 1
run reader install "Second" --user "$user" --slots 2
cat /etc/reader.conf.d/kazashi /etc/tmpfiles.d/kazashi.conf
cat > "$work/pcscd.sh" <<'END'
    set -e
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /home
    for place in /usr /etc /run; do mount --rbind $place $place; mount -o remount,ro,bind $place; done
    exec "$@"
END
mkdir "$work/pcscd"
script=$(cat "$work/pcscd.sh")
if [ -n "$service" ]; then
    chown "$service" "$work/pcscd"
    set -- setpriv --reuid "$service" --regid "$service" --clear-groups
else
    set --
fi
mount --bind "$work/pcscd" /run/pcscd
unshare --mount sh -c "$script" sh "$@" /usr/sbin/pcscd --foreground --auto-exit > "$work/log" 2>&1 &
pcscd=$!
until [ -S /run/pcscd/pcscd.comm ]; do kill -0 $pcscd; sleep 0.05; done
run up --detach --json --no-services --pcscd system
opensc-tool --reader "Town Hall 00 00" --name
run down
opensc-tool --list-readers
kill $pcscd 2>/dev/null || true
wait $pcscd || true
grep -c kazashi "$work/log" || true
run reader uninstall "Town Hall"
run reader uninstall "Second"
run reader uninstall "Second" || echo "status $?"
find "$work/etc" "$work/tmpfiles" "$work/local" -type f
"""


@pytest.mark.reader
def test_installed_reader_serves_under_the_units_restrictions(tmp_path: Path) -> None:
    root = os.geteuid() == 0
    rights = ["--mount"] if root else ["--map-root-user", "--mount"]
    done = subprocess.run(
        ["unshare", *rights, "sh", "-c", SCRIPT, "sh", str(tmp_path), sys.executable, "root", ""],
        capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr

"""A reader installed in the system's pcscd, which runs with the restrictions of newer units, in a namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import LIMIT

# $1 a directory to work in, $2 the interpreter, $3 "root" if this is root.
# pcscd gets what its unit has: a read-only system (ProtectSystem=strict), no homes (ProtectHome), a /tmp of its own
# (PrivateTmp), and, where this is root, a user of its own (User=pcscd) in a user namespace in which it sees no other
# users (PrivateUsers). Where this is an ordinary user, `unshare` has mapped it to root, and there are no others.
SCRIPT = r"""
set -eu
work=$1; python=$2; root=$3; world=$1/world
mkdir -p "$work/etc" "$work/tmpfiles" "$work/local" "$work/run"
mount -t tmpfs tmpfs /run && mkdir /run/pcscd /run/together && chmod 755 /run
mount --bind /run/together /run/together
mkdir -p /etc/tmpfiles.d 2>/dev/null || true
[ -d /etc/tmpfiles.d ] && mount --bind "$work/tmpfiles" /etc/tmpfiles.d
mount --bind "$work/etc" /etc/reader.conf.d
mount --bind "$work/local" /usr/local/lib
unset PCSCLITE_CSOCK_NAME
run() { "$python" -m kazashi --world "$world" "$@"; }
run reader install "Town Hall" --user root
run reader install "Town Hall" --user root && exit 1
run reader install "Second" --user root --slots 2
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
mount --bind "$work/pcscd" /run/pcscd
if [ -n "$root" ]; then
    { cat /etc/passwd; echo pcscd:x:990:990::/:/usr/sbin/nologin; } > "$work/passwd"
    mount --bind "$work/passwd" /etc/passwd
    chown 990 "$work/pcscd"
    waiting='echo $$ > /run/together/waits; until [ -e /run/together/mapped ]; do sleep 0.05; done; exec "$@"'
    set -- unshare --user sh -c "$waiting" sh setpriv --reuid 990 --regid 990 --clear-groups
else
    set --
fi
start() {
    rm -f /run/pcscd/* /run/together/*
    unshare --mount sh -c "$script" sh "$@" /usr/sbin/pcscd --foreground --auto-exit >> "$work/log" 2>&1 & pcscd=$!
    if [ -n "$root" ]; then
        until [ -s /run/together/waits ]; do kill -0 $pcscd; sleep 0.05; done
        pcscd=$(cat /run/together/waits)
        for map in gid_map uid_map; do printf '0 0 1\n990 990 1\n' > /proc/$pcscd/$map; done
        touch /run/together/mapped
    fi
    until [ -S /run/pcscd/pcscd.comm ]; do kill -0 $pcscd; sleep 0.05; done
}
start "$@"
echo "pcscd runs as $(stat -c %u /proc/$pcscd)"
run up --detach --json --no-services --pcscd system
"$python" -m kazashi --world "$world-2" up --detach --no-services --pcscd system || echo "second instance: $?"
opensc-tool --reader "Town Hall 00 00" --name
kill $pcscd && while kill -0 $pcscd 2>/dev/null; do sleep 0.05; done
start "$@" # the card lies in the reader before the first client comes
echo "the first client: $(opensc-tool --reader "Town Hall 00 00" --name)"
run down
opensc-tool --list-readers
kill $pcscd && while kill -0 $pcscd 2>/dev/null; do sleep 0.05; done
echo "the driver's lines in the log: $(grep -c "kazashi" "$work/log")" || true
run reader uninstall "Town Hall"
run reader uninstall "Second"
run reader uninstall "Second" || echo "status $?"
find "$work/etc" "$work/tmpfiles" "$work/local" -type f
"""


@pytest.mark.reader
@pytest.mark.long
def test_installed_reader_serves_under_the_units_restrictions(tmp_path: Path) -> None:
    root = os.geteuid() == 0
    rights = ["--mount"] if root else ["--map-root-user", "--mount"]
    done = subprocess.run(
        ["unshare", *rights, "sh", "-c", SCRIPT, "sh", str(tmp_path), sys.executable, "root" * root],
        capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    output = done.stdout
    assert done.returncode == 0, output + done.stderr
    assert f"pcscd runs as {990 if root else 0}" in output
    assert '"ours": false' in output
    assert "second instance: 3\njpki\n" in output
    assert "another program hosts the cards of Town Hall 00 00, Second 01 00, Second 01 01" in done.stderr
    assert "the first client: jpki\n" in output
    assert output.count("FRIENDLYNAME") == output.count("0755 root - -\n") - 1 == 2
    assert "[reader-not-installed]" in done.stderr
    assert "the driver's lines in the log: 0\n" in output
    assert output.endswith("status 3\n"), "nothing is left"

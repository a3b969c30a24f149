"""Kazashi uses a pcscd that another program has started, and leaves it running. The test has its own namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kazashi.reader_bridge.pcscd import VPCD
from tests.polling import LIMIT

# $1 the directory for pcscd's socket, $2 the configuration, $3 the interpreter, $4 the world
SCRIPT = """
set -eu
[ -d /run/pcscd ] || { mount -t tmpfs tmpfs /run; mkdir /run/pcscd; }
mount --bind "$1" /run/pcscd
mount --bind "$2" /etc/reader.conf.d
unset PCSCLITE_CSOCK_NAME
/usr/sbin/pcscd --foreground & pcscd=$!
trap 'kill $pcscd' EXIT
until [ -S /run/pcscd/pcscd.comm ]; do :; done
run() { "$python" -m kazashi --world "$world" "$@"; }
python=$3; world=$4
run up --detach --json
opensc-tool --name
run card reset 0
run down
kill -0 $pcscd && echo "pcscd is running"
opensc-tool --list-readers
"""


@pytest.mark.reader
def test_system_pcscd_is_used_and_left_running(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "vpcd").write_text(
        f'# a comment\nFRIENDLYNAME "Somebody\'s"\nDEVICENAME /dev/null:0x6E80\nLIBPATH {VPCD}\nCHANNELID 0x6E80\n'
    )
    rights = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    done = subprocess.run(
        ["unshare", *rights, "sh", "-c", SCRIPT, "sh", str(tmp_path / "run"), str(tmp_path / "conf"), sys.executable,
         str(tmp_path / "w")],
        capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    output = done.stdout
    assert done.returncode == 0, output + done.stderr
    assert '"ours": false' in output
    assert '"reader": "Somebody\'s 00 00"' in output
    assert "\njpki\n" in output
    assert "hanako is in Somebody's 00 00 again" in output
    assert "The instance has stopped." in output
    assert "pcscd is running" in output.split("The instance has stopped.")[1]

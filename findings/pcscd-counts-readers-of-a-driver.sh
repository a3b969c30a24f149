#!/bin/sh
# Tool:      pcscd 1.9.9 (Debian 12), readers of one driver configured in reader.conf.d
# Behaviour: The first number in a reader's name counts the readers of the driver, whatever they are called: three with
#            the names Alpha, Beta and Gamma are "Alpha 00 00", "Beta 01 00" and "Gamma 02 00". Taken out of the
#            configuration, the first one gives its number to the next, whose name thereby changes.
# Guess:     Each name is counted by itself, as it is where the readers have drivers of their own: "Beta 00 00".
# Remedy:    Find a reader by the beginning of its name, or give each reader a copy of the driver under another path.
#            Several files are read in the order of the directory, which is not that of their names: keep readers whose
#            numbers matter in one file.
# Seen:      2026-11-30, pcscd 1.9.9-2 on Debian 12.
set -eu
case $(dpkg-query -W -f '${Version}' pcscd) in
  1.9.9-*) ;;
  *) echo "this describes pcscd 1.9.9; install pcscd=1.9.9-2, libpcsclite-dev, gcc and opensc" >&2; exit 1 ;;
esac
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
mkdir run conf

cat > driver.c <<'EOF'
#include <PCSC/ifdhandler.h>
RESPONSECODE IFDHCreateChannelByName(DWORD l, LPSTR n) { (void)l; (void)n; return IFD_SUCCESS; }
RESPONSECODE IFDHCreateChannel(DWORD l, DWORD c) { (void)l; (void)c; return IFD_SUCCESS; }
RESPONSECODE IFDHCloseChannel(DWORD l) { (void)l; return IFD_SUCCESS; }
RESPONSECODE IFDHGetCapabilities(DWORD l, DWORD tag, PDWORD length, PUCHAR value)
{
    (void)l;
    if (tag != TAG_IFD_SIMULTANEOUS_ACCESS || *length < 1)
        return IFD_ERROR_TAG;
    *length = 1;
    *value = 16; /* this driver manages up to 16 readers */
    return IFD_SUCCESS;
}
RESPONSECODE IFDHSetCapabilities(DWORD l, DWORD t, DWORD n, PUCHAR v) { (void)l; (void)t; (void)n; (void)v; return IFD_ERROR_TAG; }
RESPONSECODE IFDHSetProtocolParameters(DWORD l, DWORD p, UCHAR f, UCHAR a, UCHAR b, UCHAR c)
{ (void)l; (void)p; (void)f; (void)a; (void)b; (void)c; return IFD_SUCCESS; }
RESPONSECODE IFDHPowerICC(DWORD l, DWORD a, PUCHAR atr, PDWORD n) { (void)l; (void)a; (void)atr; *n = 0; return IFD_ERROR_POWER_ACTION; }
RESPONSECODE IFDHTransmitToICC(DWORD l, SCARD_IO_HEADER s, PUCHAR t, DWORD n, PUCHAR r, PDWORD m, PSCARD_IO_HEADER p)
{ (void)l; (void)s; (void)t; (void)n; (void)r; (void)p; *m = 0; return IFD_COMMUNICATION_ERROR; }
RESPONSECODE IFDHControl(DWORD l, DWORD c, PUCHAR t, DWORD n, PUCHAR r, DWORD m, LPDWORD k)
{ (void)l; (void)c; (void)t; (void)n; (void)r; (void)m; *k = 0; return IFD_ERROR_NOT_SUPPORTED; }
RESPONSECODE IFDHICCPresence(DWORD l) { (void)l; return IFD_ICC_NOT_PRESENT; }
EOF
gcc -shared -fPIC -I/usr/include/PCSC -o driver.so driver.c

readers() # the names that a pcscd of its own lists for the readers in its configuration
{
  for name; do
    printf 'FRIENDLYNAME "%s"\nDEVICENAME /dev/null\nLIBPATH %s/driver.so\nCHANNELID %d\n' "$name" "$directory" "$((n += 1))"
  done > conf/readers
  # shellcheck disable=SC2016
  unshare --mount --net sh -c '
    [ -d /run/pcscd ] || { mount -t tmpfs tmpfs /run; mkdir /run/pcscd; }
    mount --bind run /run/pcscd
    unset PCSCLITE_CSOCK_NAME
    /usr/sbin/pcscd --foreground --config "$PWD/conf" > log 2>&1 & server=$!
    until [ -S /run/pcscd/pcscd.comm ]; do kill -0 $server || { cat log >&2; exit 1; }; sleep 0.1; done
    opensc-tool --list-readers | sed -n "s/^[0-9].*No  *//p"
    kill $server; wait $server || true'
}
n=0
three=$(readers Alpha Beta Gamma)
two=$(readers Beta Gamma)
echo "$three"
echo "without Alpha:"
echo "$two"
[ "$three" = "Alpha 00 00
Beta 01 00
Gamma 02 00" ] && [ "$two" = "Beta 00 00
Gamma 01 00" ] || { echo "CHANGED: the names are others" >&2; exit 1; }
echo "as described: the readers of a driver are counted, not those of a name"

#!/bin/sh
# Tool:      GnuTLS 3.7 and 3.8 (Debian 12: 3.7.9), `p11tool --list-tokens`
# Behaviour: For a token that says "final try" (CKF_USER_PIN_FINAL_TRY) p11tool writes "Final uPIN attempt, uPIN locked";
#            for one that says "locked" (CKF_USER_PIN_LOCKED) it writes neither. Who goes by it gives a card up that has
#            one try left, and does not see that a card is locked.
# Guess:     Each flag of PKCS #11 has its word, as in pkcs11-tool ("final user PIN try", "user PIN locked"); p11tool has
#            the words for both.
# Remedy:    Use `pkcs11-tool --list-token-slots` of OpenSC, or C_GetTokenInfo.
# Seen:      2026-11-30, GnuTLS 3.7.9 with SoftHSM 2.6.1 behind a module that adds one flag: as described. GnuTLS 3.8.9 of
#            Debian 13 writes the same of a card with OpenSC.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

case $(p11tool --version | head -n 1) in
  "p11tool 3.7."* | "p11tool 3.8."*) ;;
  *) echo "this describes GnuTLS 3.7 and 3.8, and here is: $(p11tool --version | head -n 1)" >&2; exit 1 ;;
esac
softhsm=$(find /usr/lib -name libsofthsm2.so | head -n 1)

# SoftHSM never locks a PIN. This module is SoftHSM, with the flag ADDED in every CK_TOKEN_INFO (PKCS #11 2.40, 3.2: the
# flags follow 96 bytes of text; C_GetTokenInfo is the seventh function of the list, whose version fills one word).
cat > flags.c <<'SOURCE'
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
static void *list[69];
static unsigned long (*real)(unsigned long, char *);
static unsigned long token_info(unsigned long slot, char *info)
{
    unsigned long flags, result = real(slot, info);
    memcpy(&flags, info + 96, sizeof flags);
    flags |= strtoul(getenv("ADDED"), NULL, 16);
    memcpy(info + 96, &flags, sizeof flags);
    return result;
}
unsigned long C_GetFunctionList(void **given)
{
    void *module = dlopen(getenv("SOFTHSM"), RTLD_NOW), *theirs;
    unsigned long (*get)(void **) = (unsigned long (*)(void **))dlsym(module, "C_GetFunctionList");
    unsigned long result = get(&theirs);
    memcpy(list, theirs, sizeof list);
    real = (unsigned long (*)(unsigned long, char *))list[7];
    list[7] = (void *)token_info;
    *given = list;
    return result;
}
SOURCE
gcc -shared -fPIC -o flags.so flags.c

export SOFTHSM2_CONF="$directory/softhsm2.conf" SOFTHSM="$softhsm"
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$directory" > softhsm2.conf
softhsm2-util --init-token --free --label invented --pin 1234 --so-pin 5678 > /dev/null

told() { # FLAG: what p11tool writes of the token
  ADDED=$1 p11tool --provider "$directory/flags.so" --list-tokens 2>/dev/null | grep -A 4 'Label: invented' | grep Flags
}
failed=0
expect() { # FLAG NAME WORDS...: the words that are in the line of flags
  flag=$1 name=$2 line=$(told "$1")
  echo "$name: $line"
  shift 2
  for words in "Final uPIN attempt" "uPIN locked"; do
    case "$line" in *"$words"*) there=yes ;; *) there=no ;; esac
    wanted=no
    for word in "$@"; do [ "$word" = "$words" ] && wanted=yes; done
    [ "$there" = "$wanted" ] || { echo "CHANGED: '$words' is there: $there" >&2; failed=1; }
  done
}
expect 0 "no flag"
expect 20000 CKF_USER_PIN_FINAL_TRY "Final uPIN attempt" "uPIN locked"
expect 40000 CKF_USER_PIN_LOCKED
exit "$failed"

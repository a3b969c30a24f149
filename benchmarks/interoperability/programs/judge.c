/* The questions of benchmarks/interoperability/conversation.py, answered by mbedTLS's X.509 library. */

#include <mbedtls/error.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 6, LINE = 8192, FILE_SIZE = 1 << 16 };

static const unsigned char CERTIFICATE_POLICIES[] = {0x55, 0x1d, 0x20};

/* Accepts a critical extension that the library does not know if it is the certificate policies, whatever they are. */
static int accept_policies(void *context, const mbedtls_x509_crt *certificate, const mbedtls_x509_buf *oid, int critical,
                           const unsigned char *begin, const unsigned char *end) {
    (void) context, (void) certificate, (void) critical, (void) begin, (void) end;
    int same = oid->len == sizeof CERTIFICATE_POLICIES && memcmp(oid->p, CERTIFICATE_POLICIES, oid->len) == 0;
    return same ? 0 : MBEDTLS_ERR_X509_INVALID_EXTENSIONS;
}

static size_t read_file(const char *path, unsigned char *buffer) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    size_t size = fread(buffer, 1, FILE_SIZE, file);
    fclose(file);
    return size;
}

static int error(int code) {
    char text[200];
    mbedtls_strerror(code, text, sizeof text);
    printf("error: -0x%04x %s\n", (unsigned) -code, text);
    return code;
}

static int answer(char **words) {
    static unsigned char buffer[FILE_SIZE];
    mbedtls_x509_crt certificate, root;
    mbedtls_x509_crl lists;
    mbedtls_x509_crt_init(&certificate);
    mbedtls_x509_crt_init(&root);
    mbedtls_x509_crl_init(&lists);
    size_t size = read_file(words[1], buffer);
    mbedtls_x509_crt_ext_cb_t callback = strstr(words[3], "policies") != NULL ? accept_policies : NULL;
    int code = mbedtls_x509_crt_parse_der_with_ext_cb(&certificate, buffer, size, 1, callback, NULL);
    if (code == 0 && strcmp(words[0], "serial") == 0) {
        for (size_t i = 0; i < certificate.serial.len; i++)
            printf("%02x", certificate.serial.p[i]);
        printf("\n");
        goto end;
    }
    if (code == 0 && strcmp(words[0], "shown") == 0) {
        char text[100];
        mbedtls_x509_serial_gets(text, sizeof text, &certificate.serial);
        printf("%s\n", text);
        goto end;
    }
    if (code == 0)
        code = mbedtls_x509_crt_parse_file(&root, words[2]);
    for (char *name = strtok(words[4], ","); code == 0 && name != NULL; name = strtok(NULL, ","))
        code = mbedtls_x509_crl_parse_file(&lists, name);
    if (code != 0) {
        error(code);
        goto end;
    }
    uint32_t flags = 0;
    code = mbedtls_x509_crt_verify(&certificate, &root, words[4][0] != 0 ? &lists : NULL, NULL, &flags, NULL, NULL);
    if (code == 0)
        printf("good\n");
    else if (flags & MBEDTLS_X509_BADCERT_REVOKED)
        printf("revoked\n");
    else
        printf("refused: flags %#x\n", (unsigned) flags);
end:
    mbedtls_x509_crl_free(&lists);
    mbedtls_x509_crt_free(&root);
    mbedtls_x509_crt_free(&certificate);
    return 0;
}

int main(void) {
    static char line[LINE];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char empty[] = "", *words[WORDS], *rest = line;
        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < WORDS; i++) {
            char *word = strsep(&rest, "\t");
            words[i] = word != NULL ? word : empty;
        }
        if (strcmp(words[0], "version") == 0) {
            char version[20];
            mbedtls_version_get_string(version);
            printf("%s\n", version);
        } else {
            answer(words);
        }
        fflush(stdout);
    }
    return 0;
}

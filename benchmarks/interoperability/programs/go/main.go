// The questions of benchmarks/interoperability/conversation.py, answered by crypto/x509 and golang.org/x/crypto/ocsp.
package main

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"

	"golang.org/x/crypto/ocsp"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := answered(strings.Split(lines.Text(), "\t"))
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Println(strings.ReplaceAll(answer, "\n", " "))
	}
}

func answered(words []string) (string, error) {
	if words[0] == "version" {
		return strings.TrimPrefix(runtime.Version(), "go"), nil
	}
	certificate, err := read(words[1])
	if err != nil {
		return "", err
	}
	if words[0] == "serial" {
		return certificate.SerialNumber.Text(16), nil
	}
	if words[0] == "shown" {
		return certificate.SerialNumber.String(), nil
	}
	root, err := read(words[2])
	if err != nil {
		return "", err
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool()}
	options.Roots.AddCert(root)
	if strings.Contains(words[3], "usage") {
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if _, err := certificate.Verify(options); err != nil {
		return "", err
	}
	if words[5] != "" {
		return queried(certificate, root, words[5])
	}
	if words[4] == "" {
		return "good", nil
	}
	return listed(certificate, root, strings.Split(words[4], ","))
}

func listed(certificate, root *x509.Certificate, files []string) (string, error) {
	for _, file := range files {
		der, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return "", err
		}
		if err := list.CheckSignatureFrom(root); err != nil {
			return "", err
		}
		for _, entry := range list.RevokedCertificates { // RevokedCertificateEntries needs Go 1.21
			if entry.SerialNumber.Cmp(certificate.SerialNumber) == 0 {
				return "revoked", nil
			}
		}
	}
	return "good", nil
}

func queried(certificate, root *x509.Certificate, address string) (string, error) {
	request, err := ocsp.CreateRequest(certificate, root, nil)
	if err != nil {
		return "", err
	}
	reply, err := http.Post(address, "application/ocsp-request", bytes.NewReader(request))
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	der, err := io.ReadAll(reply.Body)
	if err != nil {
		return "", err
	}
	response, err := ocsp.ParseResponseForCert(der, certificate, root)
	if err != nil {
		return "", err
	}
	return map[int]string{ocsp.Good: "good", ocsp.Revoked: "revoked", ocsp.Unknown: "unknown"}[response.Status], nil
}

func read(path string) (*x509.Certificate, error) {
	der, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

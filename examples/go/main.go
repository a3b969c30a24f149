// Verify a certificate of a card with crypto/x509, revocation lists or OCSP.
//
//	go run . ROOT CERTIFICATE LIST...
//	go run . -ocsp http://127.0.0.1:18601/ocsp/authentication/as/KEY ROOT CERTIFICATE
//
// The files are PEM or DER. The exit status is 0 if the certificate is good, 1 if it is revoked or if nothing says so,
// and 2 if something cannot be read.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"
)

var (
	distributionPoints       = asn1.ObjectIdentifier{2, 5, 29, 31}
	issuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

	errNotDecided = errors.New("no list is about this certificate's municipality")
)

func main() {
	responder := flag.String("ocsp", "", "the `address` of an OCSP responder, instead of lists")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: verify-card [-ocsp ADDRESS] ROOT CERTIFICATE [LIST...]")
		os.Exit(2)
	}
	revoked, err := verify(flag.Arg(0), flag.Arg(1), *responder, flag.Args()[2:])
	var refused x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errNotDecided) || errors.As(err, &refused) || errors.As(err, &unknown):
		fmt.Println("not decided:", err)
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case revoked != nil:
		fmt.Println("revoked:", revoked.UTC().Format(time.RFC3339))
		os.Exit(1)
	}
	fmt.Println("good")
}

// verify returns since when a certificate is revoked, or nil if it is good.
func verify(rootFile, certificateFile, responder string, listFiles []string) (*time.Time, error) {
	root, err := certificate(rootFile)
	if err != nil {
		return nil, err
	}
	holder, err := certificate(certificateFile)
	if err != nil {
		return nil, err
	}
	// The default is certificates of servers. Signature certificates have no extended key usage, which is any.
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	options.Roots.AddCert(root)
	if _, err := holder.Verify(options); err != nil {
		return nil, err
	}
	if responder != "" {
		return query(responder, holder, root)
	}
	for _, file := range listFiles {
		der, err := read(file)
		if err != nil {
			return nil, err
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := list.CheckSignatureFrom(root); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if time.Now().After(list.NextUpdate) || !covers(list, holder) {
			continue
		}
		for _, entry := range list.RevokedCertificates { // RevokedCertificateEntries needs Go 1.21
			if entry.SerialNumber.Cmp(holder.SerialNumber) == 0 {
				return &entry.RevocationTime, nil
			}
		}
		return nil, nil
	}
	return nil, errNotDecided
}

// covers reports whether a list is about a certificate. crypto/x509 does not compare their distribution points.
func covers(list *x509.RevocationList, holder *x509.Certificate) bool {
	scope := []byte(nil)
	for _, extension := range list.Extensions {
		if extension.Id.Equal(issuingDistributionPoint) {
			scope = extension.Value
		}
	}
	if scope == nil {
		return true // the full list
	}
	for _, extension := range holder.Extensions {
		if extension.Id.Equal(distributionPoints) {
			var points asn1.RawValue
			if _, err := asn1.Unmarshal(extension.Value, &points); err != nil {
				return false
			}
			name := pointName(points.Bytes)
			return name != nil && bytes.Equal(name, pointName(scope))
		}
	}
	return false
}

// pointName returns the distributionPoint of a DistributionPoint or IssuingDistributionPoint (RFC 5280, 4.2.1.13 and
// 5.2.5), or nil if it has none. It is the first element of both, and its encoding is the same in both.
func pointName(der []byte) []byte {
	var point, name asn1.RawValue
	if _, err := asn1.Unmarshal(der, &point); err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(point.Bytes, &name); err != nil || name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
		return nil
	}
	return name.FullBytes
}

func query(responder string, holder, root *x509.Certificate) (*time.Time, error) {
	request, err := ocsp.CreateRequest(holder, root, nil)
	if err != nil {
		return nil, err
	}
	reply, err := http.Post(responder, "application/ocsp-request", bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	der, err := io.ReadAll(io.LimitReader(reply.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	response, err := ocsp.ParseResponseForCert(der, holder, root)
	if err != nil {
		return nil, err
	}
	switch {
	case time.Now().After(response.NextUpdate):
		return nil, errors.New("the response has expired")
	case response.Status == ocsp.Good:
		return nil, nil
	case response.Status == ocsp.Revoked:
		return &response.RevokedAt, nil
	}
	return nil, errors.New("the responder does not know the certificate")
}

func certificate(file string) (*x509.Certificate, error) {
	der, err := read(file)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return parsed, nil
}

func read(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block != nil {
		return block.Bytes, nil
	}
	return data, nil
}

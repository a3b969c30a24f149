// Run a conformance pack of Kazashi on Go's crypto/x509 and golang.org/x/crypto/ocsp.
//
//	go run . [-json] PACK
//
// PACK is a directory that `kazashi verify conformance --export PACK` wrote. The program runs the areas certificate,
// attributes and revocation. It adds to the libraries only what their documentation leaves to every caller: OCSP before
// lists, nextUpdate, the search for the serial number, and the time of a revocation.
//
// The exit status is 0 if no good case is refused and no case is accepted that path validation (RFC 5280, 6.1) must
// refuse; 1 otherwise; 2 if the pack cannot be read.
package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

type pack struct {
	Version     string    `json:"version"`
	CurrentTime time.Time `json:"current_time"`
	TrustRoots  []struct {
		File string `json:"file"`
	} `json:"trust_roots"`
	Cases []conformanceCase `json:"cases"`
}

type conformanceCase struct {
	ID              string    `json:"id"`
	Rule            string    `json:"rule"`
	Outcome         string    `json:"outcome"`
	Finding         string    `json:"finding"`
	RequiredBy      string    `json:"required_by"`
	ProfileRule     string    `json:"profile_rule"`
	Time            time.Time `json:"time"`
	Certificate     string    `json:"certificate"`
	RevocationLists []string  `json:"revocation_lists"`
	OCSPResponse    string    `json:"ocsp_response"`
}

type result struct {
	ID          string `json:"id"`
	Outcome     string `json:"outcome"`
	Accepted    bool   `json:"accepted"`
	Agrees      bool   `json:"agrees"`
	Finding     string `json:"finding,omitempty"`
	RequiredBy  string `json:"required_by,omitempty"`
	ProfileRule string `json:"profile_rule,omitempty"`
	Rule        string `json:"rule"`
	Message     string `json:"message,omitempty"`
}

type report struct {
	Library     string            `json:"library"`
	PackVersion string            `json:"pack_version"`
	NotRun      map[string]string `json:"areas_not_run"`
	Passed      bool              `json:"passed"`
	Cases       []result          `json:"cases"`
}

var notRun = map[string]string{
	"login":    "the libraries have no challenges and responses",
	"document": "the libraries read no CMS, PDF or XML signatures",
}

func init() {
	// For modules whose go.mod names Go 1.19, newer versions still accept negative serial numbers. Show today's default.
	if os.Getenv("GODEBUG") == "" {
		os.Setenv("GODEBUG", "x509negativeserial=0")
	}
}

func main() {
	asJSON := flag.Bool("json", false, "print the results as JSON")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: conformance [-json] PACK")
		os.Exit(2)
	}
	outcome, err := run(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if *asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(outcome); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	} else {
		print(outcome)
	}
	if !outcome.Passed {
		os.Exit(1)
	}
}

func run(directory string) (*report, error) {
	data, err := os.ReadFile(filepath.Join(directory, "cases.json"))
	if err != nil {
		return nil, err
	}
	var cases pack
	if err := json.Unmarshal(data, &cases); err != nil {
		return nil, fmt.Errorf("cases.json: %w", err)
	}
	roots := x509.NewCertPool()
	for _, root := range cases.TrustRoots {
		der, err := os.ReadFile(filepath.Join(directory, root.File))
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", root.File, err)
		}
		roots.AddCert(certificate)
	}
	outcome := &report{Library: library(), PackVersion: cases.Version, NotRun: notRun, Passed: true}
	for _, one := range cases.Cases {
		if _, skip := notRun[strings.SplitN(one.ID, "/", 2)[0]]; skip {
			continue
		}
		refusal := validate(directory, one, roots, cases.CurrentTime)
		row := result{ID: one.ID, Outcome: one.Outcome, Accepted: refusal == nil, Finding: one.Finding,
			RequiredBy: one.RequiredBy, ProfileRule: one.ProfileRule, Rule: one.Rule}
		row.Agrees = row.Accepted == (one.Outcome == "good")
		if refusal != nil {
			row.Message = refusal.Error()
		}
		if !row.Agrees && (one.Outcome == "good" || one.RequiredBy == "path-validation") {
			outcome.Passed = false
		}
		outcome.Cases = append(outcome.Cases, row)
	}
	return outcome, nil
}

// validate returns nil if the libraries accept the case's certificate, and the reason otherwise.
func validate(directory string, one conformanceCase, roots *x509.CertPool, now time.Time) error {
	der, err := os.ReadFile(filepath.Join(directory, one.Certificate))
	if err != nil {
		return err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	chains, err := certificate.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: one.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	issuer := chains[0][1]
	missing := []string{"no revocation information"}
	if one.OCSPResponse != "" {
		data, err := os.ReadFile(filepath.Join(directory, one.OCSPResponse))
		if err != nil {
			return err
		}
		response, err := ocsp.ParseResponseForCert(data, certificate, issuer)
		switch {
		case err != nil:
			missing = append(missing, err.Error())
		case !response.NextUpdate.IsZero() && now.After(response.NextUpdate):
			missing = append(missing, "the OCSP response has expired")
		case response.Status == ocsp.Good:
			return nil
		case response.Status == ocsp.Revoked && response.RevokedAt.After(one.Time):
			return nil
		case response.Status == ocsp.Revoked:
			return errors.New("OCSP: revoked")
		default:
			return errors.New("OCSP: unknown")
		}
	}
	for _, name := range one.RevocationLists {
		data, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			return err
		}
		list, err := x509.ParseRevocationList(data)
		if err == nil {
			err = list.CheckSignatureFrom(issuer)
		}
		if err != nil {
			missing = append(missing, err.Error())
			continue
		}
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			missing = append(missing, "the revocation list has expired")
			continue
		}
		for _, entry := range list.RevokedCertificates { // RevokedCertificateEntries needs Go 1.21
			if entry.SerialNumber.Cmp(certificate.SerialNumber) == 0 && !entry.RevocationTime.After(one.Time) {
				return errors.New("revocation list: revoked")
			}
		}
		return nil
	}
	return errors.New(strings.Join(missing, "; "))
}

func library() string {
	version := "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "golang.org/x/crypto" {
				version = module.Version
			}
		}
	}
	return fmt.Sprintf("crypto/x509 of %s, golang.org/x/crypto/ocsp %s", runtime.Version(), version)
}

func print(outcome *report) {
	fmt.Printf("%s, pack %s\n\n", outcome.Library, outcome.PackVersion)
	groups := map[string][]result{}
	agree := 0
	for _, row := range outcome.Cases {
		word := "agrees "
		if row.Agrees {
			agree++
		} else {
			word = "differs"
			groups[group(row)] = append(groups[group(row)], row)
		}
		fmt.Printf("%s  %-13s  %s\n", word, row.Outcome, row.ID)
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("\n%s\n", name)
		for _, row := range groups[name] {
			fmt.Printf("  %s: %s\n", row.ID, row.Rule)
			if row.Message != "" {
				fmt.Printf("    the library: %s\n", row.Message)
			}
		}
	}
	fmt.Printf("\n%d of %d cases agree\n", agree, len(outcome.Cases))
	for _, area := range []string{"login", "document"} {
		fmt.Printf("not run: %s: %s\n", area, outcome.NotRun[area])
	}
}

// group names what a case that differs has in common with others.
func group(row result) string {
	switch {
	case row.Outcome == "good":
		return "REFUSED ALTHOUGH GOOD"
	case row.RequiredBy == "path-validation":
		return "ACCEPTED ALTHOUGH PATH VALIDATION (RFC 5280, 6.1) MUST REFUSE"
	case row.RequiredBy == "revocation-checking":
		return fmt.Sprintf("left to the caller: revocation checking (RFC 5280, 6.3; RFC 6960), %s", row.Finding)
	case row.ProfileRule != "":
		return fmt.Sprintf("left to the caller: the profile, %s, rule %s", row.Finding, row.ProfileRule)
	}
	return fmt.Sprintf("left to the caller: the profile, %s", row.Finding)
}

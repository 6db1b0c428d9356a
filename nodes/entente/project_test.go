package main

import (
	"testing"
	"time"

	"entente.example/entente/client/cli"
)

func TestProjectGoesFromCharterToEnd(t *testing.T) {
	b := newBench(t)
	b.found("XA", "XB", "XC")
	assemble := []string{"roster", "assemble", "--genesis", "@genesis.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@roster.pb"}
	for _, m := range []string{"xa", "xb", "xc"} {
		b.enter(map[string]string{"xa": "XA", "xb": "XB", "xc": "XC"}[m], "national", "127.0.0.1:7400")
		assemble = append(assemble, "--entry", "@"+m+"/entry.pb")
	}
	b.must(assemble...)
	with := trusting
	asLead := func(line ...string) []string { return with(append(line, "--signing-key", "@xa/signing-key.key")...) }
	open := asLead("project", "open", "--id", "harbour-light", "--name", "Harbour light", "--lead", "XA", "--participant", "XB",
		"--purpose", "criminal-investigation", "--crime-area", "drugs", "--kind", "person,association", "--from", "2026-01-01",
		"--until", time.Now().AddDate(1, 0, 0).Format(time.RFC3339), "--out", "@p.pb")
	summary := func() (s projectSummary) {
		t.Helper()
		decode(t, b.must(with("project", "verify", "@p.pb", "--output", "json")...), &s)
		return s
	}

	b.must(open...)
	if s := summary(); !s.Open || len(s.Participants) != 2 || s.Lead != "XA" {
		t.Fatalf("after the charter: %+v", s)
	}
	b.refused(cli.ExitUsage, "not overwritten", open...)
	b.must(asLead("project", "admit", "@p.pb", "--member", "XC")...)
	if s := summary(); len(s.Participants) != 3 || s.Documents != 2 {
		t.Errorf("after the admission: %+v", s)
	}
	held := readAll(t, b.dir)[b.path("p.pb")]
	b.refused(cli.ExitFailed, "XC", asLead("project", "admit", "@p.pb", "--member", "XC")...)
	b.refused(cli.ExitFailed, "XD", asLead("project", "admit", "@p.pb", "--member", "XD")...)
	b.refused(cli.ExitUsage, "not a current signing key of XA", with("project", "depart", "@p.pb", "--member", "XC", "--signing-key", "@xb/signing-key.key")...)
	b.refused(cli.ExitUsage, "--purpose", asLead("project", "open", "--id", "x", "--name", "X", "--lead", "XA", "--purpose", "curiosity",
		"--until", "2099-01-01", "--out", "@x.pb")...)
	b.refused(cli.ExitUsage, "--until", asLead("project", "open", "--id", "x", "--name", "X", "--lead", "XA", "--purpose", "criminal-investigation",
		"--until", "next year", "--out", "@x.pb")...)
	if readAll(t, b.dir)[b.path("p.pb")] != held {
		t.Error("a refused document changed the chain")
	}
	b.must(asLead("project", "depart", "@p.pb", "--member", "XC", "--removed")...)
	b.must(asLead("project", "end", "@p.pb", "--reason", "aims reached")...)
	if s := summary(); s.Open || s.Documents != 4 {
		t.Errorf("after the end: %+v", s)
	}
	b.refused(cli.ExitFailed, "end", asLead("project", "admit", "@p.pb", "--member", "XC")...)
	var shown []shownDocument
	decode(t, b.must("project", "show", "@p.pb", "--output", "json"), &shown)
	if len(shown) != 4 || shown[0].SignedBy[0] != "XA" {
		t.Errorf("shown: %+v", shown)
	}
}

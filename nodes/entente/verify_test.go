package main

import (
	"bytes"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// The store's seals notice any change of a byte. What they cannot notice is a program that wrote something wrong; these are
// the checks for that.
func TestStreamCheckNamesWhatDoesNotFitItsHeader(t *testing.T) {
	salt, payload := bytes.Repeat([]byte{7}, stream.SaltSize), []byte("released")
	good := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: 2, Commitment: stream.Commit(salt, payload)}
	tests := []struct {
		name  string
		entry *ententev1.Entry
		want  string // part of the one complaint; empty for none
	}{
		{"an entry as its owner wrote it passes", &ententev1.Entry{Header: good.Append(nil), Salt: salt, Payload: payload}, ""},
		{"another payload is damage", &ententev1.Entry{Header: good.Append(nil), Salt: salt, Payload: []byte("altered")}, "commits to"},
		{"another salt is damage", &ententev1.Entry{Header: good.Append(nil), Salt: bytes.Repeat([]byte{8}, stream.SaltSize), Payload: payload}, "commits to"},
		{"a salt of another length is damage", &ententev1.Entry{Header: good.Append(nil), Salt: salt[:5], Payload: payload}, "commits to"},
		{"an entry in another's place is damage", &ententev1.Entry{Header: withSequence(good, 3).Append(nil), Salt: salt, Payload: payload}, "number 3"},
		{"a header that is none is damage", &ententev1.Entry{Header: []byte("short")}, "entry 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report := &verified{}
			check := &streamCheck{report: report, withdrawn: map[place]bool{}}
			check.entry(ledger.StreamInfo{ID: stream.ID{1}, Owner: "XA"}, 2, test.entry)
			if test.want == "" && len(report.Damage) > 0 {
				t.Fatalf("complaints about a sound entry: %q", report.Damage)
			}
			if test.want != "" && (len(report.Damage) != 1 || !strings.Contains(report.Damage[0], test.want)) {
				t.Fatalf("want one complaint with %q, got %q", test.want, report.Damage)
			}
		})
	}
}

func TestStreamCheckRemembersMissingPayloads(t *testing.T) {
	header := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: 2, Commitment: stream.Hash{9}}
	check := &streamCheck{report: &verified{}, withdrawn: map[place]bool{}}
	info := ledger.StreamInfo{ID: stream.ID{1}, Owner: "XA"}
	check.entry(info, 2, &ententev1.Entry{Header: header.Append(nil)})
	withdrawal := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Sequence: 3, Target: info.ID, TargetSequence: 2, Reason: 1}
	check.entry(info, 3, &ententev1.Entry{Header: withdrawal.Append(nil)})
	at := place{info.ID, 2}
	if len(check.missing) != 1 || check.missing[0].place != at || !check.withdrawn[at] || len(check.report.Damage) != 0 {
		t.Errorf("missing %v, withdrawn %v, damage %q", check.missing, check.withdrawn, check.report.Damage)
	}
}

func withSequence(h stream.Header, sequence uint64) stream.Header {
	h.Sequence = sequence
	return h
}

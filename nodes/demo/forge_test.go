package demo

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func pulled(payload string) *ententev1.ExportStreamsResponse {
	entries := &ententev1.EntryBatch{Entries: []*ententev1.Entry{{Header: []byte("h"), Payload: []byte(payload)}}}
	return &ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Pull{Pull: &ententev1.PullResponse{
		Content: &ententev1.PullResponse_Entries{Entries: entries}}}}
}

func fileOf(t *testing.T, messages ...*ententev1.ExportStreamsResponse) []byte {
	t.Helper()
	out := []byte("first line\n")
	for _, m := range messages {
		part, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = protowire.AppendBytes(out, part)
	}
	return out
}

func TestAForgeryChangesOneBitOfTheLastPayload(t *testing.T) {
	before := fileOf(t, pulled("one"), pulled("two"))
	after, err := forge(before)
	if err != nil {
		t.Fatal(err)
	}
	different := 0
	for i := range before {
		if before[i] != after[i] {
			different++
		}
	}
	if len(before) != len(after) || different != 1 || !bytes.Contains(after, []byte("one")) {
		t.Errorf("%q became %q", before, after)
	}
}

func TestAFileWithoutPayloadsIsNotForged(t *testing.T) {
	for _, content := range [][]byte{nil, []byte("first line\n"), []byte("first line\n\x05ab"), fileOf(t, pulled(""))} {
		_, err := forge(content)
		if err == nil {
			t.Errorf("%q was forged", content)
		}
	}
}

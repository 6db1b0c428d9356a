package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// carriedFile is a small file of streams.
func carriedFile(t testing.TB) []byte {
	t.Helper()
	file := bytes.NewBufferString(carriageMagic)
	end, sum := newCarriageEnd(), sha256.New()
	put := func(m *ententev1.ExportStreamsResponse) {
		err := writeCarried(file, m, end)
		if err != nil {
			t.Fatal(err)
		}
	}
	put(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Header{Header: &ententev1.ExportHeader{Exporter: "XA", Reader: "XB"}}})
	put(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Owner{Owner: "XA"}})
	pull := &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{StreamId: make([]byte, 16), Entries: []*ententev1.Entry{{Payload: bytes.Repeat([]byte{7}, 300)}}}}}
	put(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Pull{Pull: pull}})
	// Independently of the code under test: the hash over all messages, each with its length before it.
	rest := file.Bytes()[len(carriageMagic):]
	for len(rest) > 0 {
		length, n := binary.Uvarint(rest)
		sum.Write(binary.BigEndian.AppendUint64(nil, length))
		sum.Write(rest[n : n+int(length)])
		rest = rest[n+int(length):]
	}
	put(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_End{End: &ententev1.ExportEnd{Messages: 3, Sha256: sum.Sum(nil)}}})
	return file.Bytes()
}

// readAll reads a file to its end and says how many messages it has.
func readAll(file []byte) (int, error) {
	r, err := newCarriageReader(bytes.NewReader(file))
	if err != nil {
		return 0, err
	}
	for count := 0; ; count++ {
		_, _, err = r.next()
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return count, err
		}
	}
}

func TestAFileOfStreamsIsReadWholeOrNotAtAll(t *testing.T) {
	file := carriedFile(t)
	count, err := readAll(file)
	if err != nil || count != 4 {
		t.Fatalf("%d messages, %v", count, err)
	}
	for at := range file {
		for bit := range 8 {
			altered := bytes.Clone(file)
			altered[at] ^= 1 << bit
			_, err = readAll(altered)
			if !errors.Is(err, ErrCarriage) {
				t.Errorf("byte %d, bit %d altered: %v", at, bit, err)
			}
		}
		_, err = readAll(file[:at])
		if !errors.Is(err, ErrCarriage) {
			t.Errorf("cut after %d bytes: %v", at, err)
		}
	}
	_, err = readAll(append(bytes.Clone(file), file[len(carriageMagic):]...))
	if !errors.Is(err, ErrCarriage) {
		t.Errorf("with more behind its end: %v", err)
	}
}

func FuzzCarriage(f *testing.F) {
	file := carriedFile(f)
	f.Add(file)
	f.Add(file[:40])
	f.Add([]byte(carriageMagic))
	f.Add(append([]byte(carriageMagic), 0xff, 0xff, 0xff, 0xff, 0x0f))
	f.Fuzz(func(t *testing.T, file []byte) {
		count, err := readAll(file)
		if err == nil && count < 2 {
			t.Errorf("a file of %d messages is whole", count)
		}
		if err != nil && !errors.Is(err, ErrCarriage) {
			t.Errorf("an error that does not say that it is the file: %v", err)
		}
	})
}

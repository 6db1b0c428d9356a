package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// forgeFile writes a copy of a file of streams in which one bit of the last payload is another, and the count and hash at
// the end are right again: a forger who knows the form of the file can do that much.
func forgeFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("forge: %w", err)
	}
	forged, err := forge(content)
	if err != nil {
		return fmt.Errorf("forge %s: %w", from, err)
	}
	err = os.WriteFile(to, forged, 0o600)
	if err != nil {
		return fmt.Errorf("forge: %w", err)
	}
	return nil
}

// forge alters the content of a file of streams: a first line, then messages, each with its length before it.
func forge(content []byte) ([]byte, error) {
	first, rest, found := bytes.Cut(content, []byte("\n"))
	if !found {
		return nil, errors.New("it has no first line")
	}
	messages, err := carried(rest)
	if err != nil {
		return nil, err
	}
	target := lastPayload(messages)
	if target == nil {
		return nil, errors.New("there is no payload in it")
	}
	target.Payload[len(target.Payload)/2] ^= 1
	out := append(bytes.Clone(first), '\n')
	sum := sha256.New()
	for i, m := range messages {
		if m.GetEnd() != nil {
			m.GetEnd().Messages, m.GetEnd().Sha256 = uint64(i), sum.Sum(nil)
		}
		part, err := proto.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // a hash takes everything
		sum.Write(part)
		out = append(protowire.AppendVarint(out, uint64(len(part))), part...)
	}
	return out, nil
}

func carried(rest []byte) ([]*ententev1.ExportStreamsResponse, error) {
	var messages []*ententev1.ExportStreamsResponse
	for len(rest) > 0 {
		part, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m := &ententev1.ExportStreamsResponse{}
		err := proto.Unmarshal(part, m)
		if err != nil {
			return nil, fmt.Errorf("decode message %d: %w", len(messages)+1, err)
		}
		messages, rest = append(messages, m), rest[n:]
	}
	return messages, nil
}

func lastPayload(messages []*ententev1.ExportStreamsResponse) *ententev1.Entry {
	var last *ententev1.Entry
	for _, m := range messages {
		for _, entry := range m.GetPull().GetEntries().GetEntries() {
			if len(entry.GetPayload()) > 0 {
				last = entry
			}
		}
	}
	return last
}

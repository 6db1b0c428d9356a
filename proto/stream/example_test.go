package stream_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

// XA opens a stream for XB, releases a record and withdraws it. XB, which comes later, verifies the three entries;
// the payload of the second is gone from everywhere, and still the log holds together.
func Example() {
	id, err := stream.ParseID([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	if err != nil {
		log.Fatal(err)
	}
	opening, err := proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: &ententev1.StreamOpening{
		StreamId: id[:],
		Owner:    "XA",
		Kind:     ententev1.StreamKind_STREAM_KIND_BILATERAL,
		Readers:  []string{"XB"},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	salts := [][]byte{bytes.Repeat([]byte{0x11}, stream.SaltSize), bytes.Repeat([]byte{0x22}, stream.SaltSize)} // random in life
	headers := []stream.Header{
		{Type: ententev1.EntryType_ENTRY_TYPE_OPENING, Sequence: 1, Commitment: stream.Commit(salts[0], opening)},
		{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: 2, Commitment: stream.Commit(salts[1], []byte("\x12\x08a record"))},
		{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Sequence: 3, Target: id, TargetSequence: 2, Reason: uint8(ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION)},
	}
	var edge stream.Edge
	batch := &ententev1.EntryBatch{StreamId: id[:]}
	for _, header := range headers {
		encoded := header.Append(nil)
		edge.Append(stream.LeafHash(encoded))
		batch.Entries = append(batch.Entries, &ententev1.Entry{Header: encoded})
	}
	batch.Entries[0].Salt, batch.Entries[0].Payload = salts[0], opening
	withdrawal := batch.Entries[2].GetHeader()
	fmt.Printf("format %x type %x sequence %x\n", withdrawal[0], withdrawal[1], withdrawal[2:10])
	fmt.Printf("target %x entry %x reason %x\n", withdrawal[10:26], withdrawal[26:34], withdrawal[34])

	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	head := stream.Checkpoint{Owner: "XA", Stream: id, Size: edge.Size(), Root: edge.Root(), Time: time.Unix(1_767_225_600, 0)}
	note, err := head.Sign(key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", note)

	reader := stream.NewReader("XA", id, "XB", stream.Edge{})
	update := &ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: note}
	_, err = reader.Checkpoint(update, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
	if err != nil {
		log.Fatal(err)
	}
	_, err = reader.Entries(batch, nil)
	fmt.Println(err)
	covered := func(target stream.ID, sequence uint64) bool { return target == id && sequence == 2 }
	entries, err := reader.Entries(batch, covered)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(entries), "entries; the second has a payload:", entries[1].Payload != nil)
	// Output:
	// format 1 type 3 sequence 0000000000000003
	// target 000102030405060708090a0b0c0d0e0f entry 0000000000000002 reason 3
	// xa.entente/stream/000102030405060708090a0b0c0d0e0f
	// 3
	// P74FVQWlCc2V5FawBobOy4/hbO4d1SSjPxzUT3F2ITk=
	// time 1767225600
	//
	// — xa.entente gPVIQK68njfijkQW9E5zgqgNn0vLIqW4uNeUXsCmGV9uZOcGeOZM8XYkbRV+8BbDO3zS/gcyJY4weRiq/2FYYRwGCgk=
	// stream 000102030405060708090a0b0c0d0e0f, entry 2: payload is missing and no withdrawal covers it
	// 3 entries; the second has a payload: false
}

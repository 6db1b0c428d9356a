package stream

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Fields of StreamPayload.
const (
	fieldOpening        = 1
	fieldReleasedRecord = 2
	fieldMergeFor       = 3
	fieldGrant          = 4
)

// holdsOnly says whether, of the fields that this version knows, a payload holds the given one, once, and no other: protobuf
// takes the last of several and merges messages, and another program might read something else in the same signed bytes.
func holdsOnly(payload []byte, field protowire.Number) bool {
	found := 0
	for rest := payload; len(rest) > 0; {
		number, kind, n := protowire.ConsumeField(rest)
		if n < 0 || number <= fieldGrant && (number != field || kind != protowire.BytesType) {
			return false
		}
		if number == field {
			found++
		}
		rest = rest[n:]
	}
	return found == 1
}

// releasePayload is what stands in the payload of a RELEASE.
type releasePayload struct {
	record     []byte // part of the payload, not a copy
	mergeFor   []member.ID
	understood bool // no field of a newer version
}

// parseRelease takes a release apart without decoding the record. Fields of a newer version are skipped and
// reported: they never stop a stream.
func parseRelease(payload []byte) (releasePayload, error) {
	release := releasePayload{understood: true}
	for rest := payload; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return releasePayload{}, protowire.ParseError(n)
		}
		rest = rest[n:]
		if number > fieldGrant {
			n = protowire.ConsumeFieldValue(number, kind, rest)
			if n < 0 {
				return releasePayload{}, protowire.ParseError(n)
			}
			release.understood = false
			rest = rest[n:]
			continue
		}
		if kind != protowire.BytesType {
			return releasePayload{}, fmt.Errorf("field %d has another wire type", number)
		}
		value, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			return releasePayload{}, protowire.ParseError(n)
		}
		rest = rest[n:]
		err := release.take(number, value)
		if err != nil {
			return releasePayload{}, err
		}
	}
	if release.record == nil && release.understood {
		return releasePayload{}, errors.New("no released_record")
	}
	return release, nil
}

func (r *releasePayload) take(number protowire.Number, value []byte) error {
	switch number {
	case fieldReleasedRecord:
		if r.record != nil {
			return errors.New("released_record twice") // two programs could take different ones
		}
		if len(value) == 0 {
			return errors.New("released_record is empty")
		}
		r.record = value[:len(value):len(value)]
	case fieldMergeFor:
		id, err := member.ParseID(string(value))
		if err != nil {
			return errors.New("merge_for is not a member") // the value stays out of the error
		}
		r.mergeFor = append(r.mergeFor, id)
	case fieldOpening, fieldGrant:
		return errors.New("opening or grant in a release")
	}
	return nil
}

// openingPayload is what stands in the payload of an OPENING.
type openingPayload struct {
	opening    *ententev1.StreamOpening
	understood bool // no field or kind of a newer version
}

// parseOpening decodes the payload of entry 1 and checks that it opens this stream for this reader, or that the owner has
// granted it. The owner itself may read too: so it gets back a tail that it lost.
func parseOpening(payload []byte, owner member.ID, id ID, self member.ID, granted bool) (openingPayload, error) {
	decoded := &ententev1.StreamPayload{}
	err := proto.Unmarshal(payload, decoded)
	if err != nil {
		return openingPayload{}, errors.New("not a StreamPayload") // the library's text may quote content
	}
	opening := decoded.GetOpening()
	if opening == nil || !holdsOnly(payload, fieldOpening) {
		return openingPayload{}, errors.New("not an opening and nothing else")
	}
	if !bytes.Equal(opening.GetStreamId(), id[:]) {
		return openingPayload{}, errors.New("stream_id is another")
	}
	if opening.GetOwner() != string(owner) {
		return openingPayload{}, errors.New("owner is another")
	}
	err = checkReaders(opening.GetReaders(), owner, self, granted)
	if err != nil {
		return openingPayload{}, err
	}
	err = checkOpening(opening, id)
	if err != nil {
		return openingPayload{}, err
	}
	_, known := ententev1.StreamKind_name[int32(opening.GetKind())]
	plain := len(decoded.ProtoReflect().GetUnknown()) == 0 && len(opening.ProtoReflect().GetUnknown()) == 0
	return openingPayload{opening: opening, understood: known && plain}, nil
}

func checkReaders(readers []string, owner, self member.ID, granted bool) error {
	previous, found := "", granted || self == owner
	for i, name := range readers {
		reader, err := member.ParseID(name)
		if err != nil {
			return fmt.Errorf("readers[%d] is not a member", i)
		}
		if name <= previous {
			return fmt.Errorf("readers[%d] is not in order, or stands twice", i)
		}
		if reader == owner {
			return fmt.Errorf("readers[%d] is the owner", i)
		}
		previous, found = name, found || reader == self
	}
	if !found {
		return errors.New("readers: this member is not among them")
	}
	return nil
}

// checkOpening holds the fields against each other. A kind of a newer version may have rules of its own.
func checkOpening(opening *ententev1.StreamOpening, id ID) error {
	project := opening.GetProjectId() != ""
	switch opening.GetKind() {
	case ententev1.StreamKind_STREAM_KIND_UNSPECIFIED:
		return errors.New("kind is not given")
	case ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE:
		if project {
			return errors.New("project_id in a stream for all members")
		}
	case ententev1.StreamKind_STREAM_KIND_PROJECT:
		if !project {
			return errors.New("project_id is missing")
		}
	case ententev1.StreamKind_STREAM_KIND_BILATERAL:
		if len(opening.GetReaders()) != 1 {
			return errors.New("readers: a bilateral stream has exactly one")
		}
	}
	bound := opening.GetStalenessBound()
	if bound != nil && (bound.CheckValid() != nil || bound.AsDuration() <= 0) {
		return errors.New("staleness_bound is not a positive duration")
	}
	if opening.GetOpenedAt() != nil && opening.GetOpenedAt().CheckValid() != nil {
		return errors.New("opened_at is not a time")
	}
	if len(opening.GetPredecessor()) == 0 {
		return nil
	}
	predecessor, err := ParseID(opening.GetPredecessor())
	if err != nil || predecessor == id {
		return errors.New("predecessor is not another stream")
	}
	return nil
}

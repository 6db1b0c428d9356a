package server_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

// answers is all that somebody was answered in one half of a pair, in order, in a form in which two halves can be compared.
//
// What is drawn at random (ids of streams, salts, the nonces of sealed tokens) differs between two halves that are the same,
// and so does everything made from it (commitments, roots, proofs, checkpoints' roots, signatures over them). Such values are
// written as a number, by the order in which they first appear in the half, with their length. That hides no leak: whoever
// gets such a value learns from it no more than its length and where else it occurs, because it is drawn afresh or a hash or
// signature of what was drawn afresh; and both stand in the number. What was drawn is not for the reader to choose and does
// not depend on anything hidden. All other values, names, counts, times, sequences, the order of lists, the length of each
// message, codes and texts of errors, are compared as they are. Hashes that have nothing random in them (ids of records and
// entities, the hash of a view) are compared as they are, too.
type answers struct {
	h       *half
	lenient bool
	names   map[string]string
	list    []answer
	cursor  []byte // of a subscription that goes on later
}

type answer struct{ asked, told string }

func newAnswers(h *half, lenient bool) *answers {
	return &answers{h: h, lenient: lenient, names: map[string]string{}}
}

// differs gives the first answers in which two halves differ.
func differs(a, b *answers) (inA, inB answer, found bool) {
	for i := range max(len(a.list), len(b.list)) {
		if i < len(a.list) {
			inA = a.list[i]
		}
		if i < len(b.list) {
			inB = b.list[i]
		}
		if inA != inB {
			return inA, inB, true
		}
	}
	return answer{}, answer{}, false
}

func (a *answers) note(asked string, messages []proto.Message, err error) {
	var told strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&told, "%d bytes ", a.size(m))
		a.message(&told, m.ProtoReflect(), "")
		told.WriteString("\n")
	}
	if err != nil {
		s := status.Convert(err)
		fmt.Fprintf(&told, "error %s %q", s.Code(), s.Message())
		for _, detail := range s.Details() {
			fmt.Fprintf(&told, " %v", detail)
		}
	}
	a.list = append(a.list, answer{asked, told.String()})
}

// size is the length of a message; 0 where numbers of entries are not compared, since a higher one may be longer.
func (a *answers) size(m proto.Message) int {
	if a.lenient {
		return 0
	}
	return proto.Size(m)
}

// renamed is a random value as it is compared.
func (a *answers) renamed(value []byte) string {
	name := a.names[string(value)]
	if name == "" {
		name = fmt.Sprintf("~%d(%d)", len(a.names)+1, len(value))
		a.names[string(value)] = name
	}
	return name
}

func (a *answers) message(out *strings.Builder, m protoreflect.Message, within string) {
	fields := m.Descriptor().Fields()
	out.WriteString("{")
	for i := range fields.Len() {
		field := fields.Get(i)
		if !m.Has(field) {
			continue
		}
		fmt.Fprintf(out, "%s:", field.Name())
		if !field.IsList() {
			a.value(out, m, field, m.Get(field))
			continue
		}
		list := m.Get(field).List()
		fmt.Fprintf(out, "%d[", list.Len())
		for i := range list.Len() {
			a.value(out, m, field, list.Get(i))
		}
		out.WriteString("]")
	}
	fmt.Fprintf(out, "%x}", m.GetUnknown())
}

func (a *answers) value(out *strings.Builder, in protoreflect.Message, field protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case field.Kind() == protoreflect.MessageKind:
		a.message(out, v.Message(), "")
	case field.Kind() == protoreflect.BytesKind:
		a.bytes(out, in, field, v.Bytes())
	case a.lenient && field.FullName() == "entente.v1.EntryRef.sequence":
		out.WriteString("any ")
	default:
		fmt.Fprintf(out, "%v ", v.Interface())
	}
}

// randomFields are the fields of bytes that are drawn at random or made from something that is.
func randomFields() []protoreflect.FullName {
	return []protoreflect.FullName{
		"entente.v1.EntryRef.stream_id", "entente.v1.StreamHead.stream_id", "entente.v1.StreamHead.root", "entente.v1.CheckpointUpdate.stream_id",
		"entente.v1.CheckpointUpdate.consistency", "entente.v1.WithdrawalBatch.stream_id", "entente.v1.ProvenHeader.inclusion",
		"entente.v1.EntryBatch.stream_id", "entente.v1.EntryBatch.consistency", "entente.v1.GrantBatch.stream_id", "entente.v1.Entry.salt",
		"entente.v1.StreamOpening.stream_id", "entente.v1.StreamOpening.predecessor", "entente.v1.StreamGrant.stream_id", "entente.v1.OnwardPermission.commitment",
		"entente.v1.AuditRange.stream_id", "entente.v1.Signature.signature", "entente.v1.HeadsDigest.digest", "entente.v1.StreamPreview.stream_id",
		"entente.v1.SubscribeResponse.cursor", "entente.v1.WitnessAuditResponse.cosignature",
	}
}

func (a *answers) bytes(out *strings.Builder, in protoreflect.Message, field protoreflect.FieldDescriptor, value []byte) {
	switch name := field.FullName(); {
	case slices.Contains(randomFields(), name), field.Name() == "next_page_token":
		out.WriteString(a.renamed(value) + " ")
	case field.Name() == "header":
		a.header(out, value)
	case field.Name() == "checkpoint":
		a.checkpoint(out, value)
	case field.Name() == "released_record":
		a.encoded(out, &ententev1.ReleasedRecord{}, value)
	case name == "entente.v1.Entry.payload":
		a.encoded(out, &ententev1.StreamPayload{}, value)
	case name == "entente.v1.SignedDocument.body":
		a.document(out, in.Interface().(*ententev1.SignedDocument))
	default:
		out.WriteString(hex.EncodeToString(value) + " ")
	}
}

// encoded writes an encoded message by its fields, with its length.
func (a *answers) encoded(out *strings.Builder, m proto.Message, value []byte) {
	err := proto.Unmarshal(value, m)
	if err != nil {
		out.WriteString(hex.EncodeToString(value) + " ")
		return
	}
	fmt.Fprintf(out, "%d bytes ", len(value))
	a.message(out, m.ProtoReflect(), "")
}

func (a *answers) document(out *strings.Builder, doc *ententev1.SignedDocument) {
	bodies := map[string]proto.Message{"digest": &ententev1.HeadsDigest{}, "receipt": &ententev1.Receipt{}, "grant": &ententev1.StreamGrant{}}
	body := bodies[doc.GetType()]
	if body == nil { // of the roster and of projects: the same documents in both halves
		out.WriteString(hex.EncodeToString(doc.GetBody()) + " ")
		return
	}
	a.encoded(out, body, doc.GetBody())
}

func (a *answers) header(out *strings.Builder, value []byte) {
	h, err := stream.ParseHeader(value)
	if err != nil {
		out.WriteString(hex.EncodeToString(value) + " ")
		return
	}
	fmt.Fprintf(out, "(%s %d target %s %d reason %d %s) ", h.Type, h.Sequence, a.renamed(h.Target[:]), h.TargetSequence, h.Reason, a.renamed(h.Commitment[:]))
}

// checkpoint writes a signed note with its numbers as they are, and what is random in it renamed: the stream in its first line,
// the root in its third, the signature in its last.
func (a *answers) checkpoint(out *strings.Builder, value []byte) {
	lines := strings.Split(string(value), "\n")
	for i, line := range lines {
		signature, signed := strings.CutPrefix(line, "— ")
		at := strings.LastIndexByte(line, '/') + 1
		switch {
		case i == 0:
			id, err := hex.DecodeString(line[at:])
			if err == nil {
				lines[i] = line[:at] + a.renamed(id)
			}
		case i == 2:
			root, err := base64.StdEncoding.DecodeString(line)
			if err == nil {
				lines[i] = a.renamed(root)
			}
		case signed:
			name, made, _ := strings.Cut(signature, " ")
			lines[i] = name + " " + a.renamed([]byte(made))
		}
	}
	fmt.Fprintf(out, "%d bytes %q ", len(value), lines)
}

// spoiled lets a planted leak change an answer.
func (a *answers) spoiled(request, response proto.Message, err error) error {
	if a.h.plant.spoil == nil {
		return err
	}
	return a.h.plant.spoil(a.h, request, response, err)
}

// ask makes a short call and notes how it is answered.
func ask[Q, R proto.Message](a *answers, what string, call func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) R {
	method := string(request.ProtoReflect().Descriptor().Name())
	response, err := call(a.h.t.Context(), request)
	err = a.spoiled(request, response, err)
	if err != nil {
		a.note(method+" "+what, nil, err)
		return response
	}
	a.note(method+" "+what, []proto.Message{response}, nil)
	return response
}

// follow makes a call that is answered by a stream, until it ends or until says so, and notes what came.
func follow[Q proto.Message, R any](a *answers, what string, call func(context.Context, Q, ...grpc.CallOption) (grpc.ServerStreamingClient[R], error), request Q, until func(*R) bool) []*R {
	method := string(request.ProtoReflect().Descriptor().Name())
	ctx, cancel := context.WithCancel(a.h.t.Context())
	defer cancel()
	opened, err := call(ctx, request)
	all, err := receiveUntil(opened, err, until)
	var messages []proto.Message
	for _, one := range all {
		message := any(one).(proto.Message)
		err = a.spoiled(request, message, err)
		messages = append(messages, message)
	}
	a.note(method+" "+what, messages, err)
	return all
}

// askPages asks page by page until there is none.
func askPages[Q, R proto.Message](a *answers, what string, call func(context.Context, Q, ...grpc.CallOption) (R, error), request func(token []byte) Q) {
	var token []byte
	for page := range 60 {
		response := ask(a, fmt.Sprint(what, " page ", page), call, request(token))
		m := response.ProtoReflect()
		if !m.IsValid() {
			return
		}
		token = m.Get(m.Descriptor().Fields().ByName("next_page_token")).Bytes()
		if len(token) == 0 {
			return
		}
	}
}

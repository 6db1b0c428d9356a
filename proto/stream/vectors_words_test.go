package stream_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

type headInput struct {
	Stream hexBytes `json:"stream"`
	Size   uint64   `json:"size"`
	Root   hexBytes `json:"root"`
}

type digestInput struct {
	Owner    string      `json:"owner"`
	Reader   string      `json:"reader"`
	Now      int64       `json:"now"`
	Keys     []memberKey `json:"keys"`
	Heads    []headInput `json:"heads"`
	Document hexBytes    `json:"document"`
}

type digestOutput struct {
	Digest   hexBytes `json:"digest"`
	Agrees   bool     `json:"agrees"`
	SignedAt int64    `json:"signed_at"`
}

func digestsTopic() topic {
	return topic{
		file:  "digests",
		about: "The signed digest of an owner for a reader, and the heads that the reader holds. digest is what the heads lead to; agrees says whether it is the signed one.",
		cases: digestCases,
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[digestInput](input)
			if err != nil {
				return nil, err
			}
			doc, err := decoded(in.Document, &ententev1.SignedDocument{})
			if err != nil {
				return nil, err
			}
			signed, err := openDigest(doc, in.Owner, in.Reader, keysOf(in.Keys))
			if err != nil {
				return nil, err
			}
			body, err := decoded(doc.GetBody(), &ententev1.HeadsDigest{})
			if err != nil {
				return nil, err
			}
			if body.GetSignedAt().AsTime().After(time.Unix(in.Now, 0).Add(5 * time.Minute)) {
				return nil, refusal("ahead")
			}
			var heads []stream.Head
			for _, h := range in.Heads {
				heads = append(heads, stream.Head{Stream: stream.ID(h.Stream), Size: h.Size, Root: stream.Hash(h.Root)})
			}
			digest := stream.Digest(heads)
			return digestOutput{digest[:], digest == signed, body.GetSignedAt().AsTime().Unix()}, nil
		},
	}
}

// openDigest verifies a signed digest as a reader does, its time aside.
func openDigest(doc *ententev1.SignedDocument, owner, reader string, keys member.Keys) (stream.Hash, error) {
	signer, err := member.VerifyDocument(doc, "digest", keys)
	if err != nil {
		return stream.Hash{}, err
	}
	body, err := decoded(doc.GetBody(), &ententev1.HeadsDigest{})
	if err != nil {
		return stream.Hash{}, err
	}
	if string(signer) != owner || body.GetOwner() != owner || body.GetReader() != reader {
		return stream.Hash{}, refusal("other-members")
	}
	return hashOf(body.GetDigest())
}

func digestCases(t *testing.T) []vector {
	one, two := newAuthor(t, 1).open().release(1), newAuthor(t, 2).open()
	heads := func(authors ...*author) []headInput {
		list := []headInput{}
		for _, a := range authors {
			root := a.leaves.root(a.size())
			list = append(list, headInput{a.id[:], a.size(), root[:]})
		}
		return list
	}
	in := func(held []headInput, edit func(*ententev1.HeadsDigest), signer string) digestInput {
		digest := stream.Digest([]stream.Head{
			{Stream: one.id, Size: one.size(), Root: one.leaves.root(one.size())},
			{Stream: two.id, Size: two.size(), Root: two.leaves.root(two.size())},
		})
		body := &ententev1.HeadsDigest{Owner: "XA", Reader: "XB", Digest: digest[:], SignedAt: timestamppb.New(newYear())}
		edit(body)
		doc := member.SignDocument("digest", encoded(t, body), member.ID(signer), vectorKey("signing "+signer))
		return digestInput{"XA", "XB", newYear().Unix(), []memberKey{signingKey("XA"), signingKey("XB")}, held, encoded(t, doc)}
	}
	same := func(*ententev1.HeadsDigest) {}
	altered := in(heads(one, two), same, "XA")
	altered.Document = flipped(altered.Document, 30)
	older := heads(one, two)
	older[0].Size--
	none := in(heads(), func(d *ententev1.HeadsDigest) {
		nothing := stream.Digest(nil)
		d.Digest = nothing[:]
	}, "XA")
	return []vector{
		{"the reader holds what the owner has", in(heads(one, two), same, "XA"), ""},
		{"the heads in another order", in(heads(two, one), same, "XA"), ""},
		{"the reader holds less", in(older, same, "XA"), ""},
		{"the reader lacks a stream", in(heads(one), same, "XA"), ""},
		{"no stream at all", none, ""},
		{"signed four minutes ahead of the reader's clock", in(heads(one, two), func(d *ententev1.HeadsDigest) { d.SignedAt = timestamppb.New(newYear().Add(4 * time.Minute)) }, "XA"), ""},
		{"signed six minutes ahead of the reader's clock", in(heads(one, two), func(d *ententev1.HeadsDigest) { d.SignedAt = timestamppb.New(newYear().Add(6 * time.Minute)) }, "XA"), "ahead"},
		{"for another reader", in(heads(one, two), func(d *ententev1.HeadsDigest) { d.Reader = "XC" }, "XA"), "other-members"},
		{"of another owner", in(heads(one, two), func(d *ententev1.HeadsDigest) { d.Owner = "XC" }, "XA"), "other-members"},
		{"signed by the reader itself", in(heads(one, two), same, "XB"), "other-members"},
		{"with a digest of 31 bytes", in(heads(one, two), func(d *ententev1.HeadsDigest) { d.Digest = d.GetDigest()[:31] }, "XA"), "element"},
		{"altered after signing", altered, "signature"},
	}
}

// receiptInput is a receipt and the leaves of the stream that it is about, as its owner has it.
type receiptInput struct {
	Owner    string      `json:"owner"`
	From     string      `json:"from"`
	Stream   hexBytes    `json:"stream"`
	Leaves   []hexBytes  `json:"leaves"`
	Keys     []memberKey `json:"keys"`
	Document hexBytes    `json:"document"`
}

type receiptOutput struct {
	Size   uint64     `json:"size"`
	Erased []entryRef `json:"erased"`
}

func receiptsTopic() topic {
	return topic{
		file:  "receipts",
		about: "A receipt that comes from a caller (from) to the owner of a stream, and the leaf hashes of that stream at its owner.",
		cases: receiptCases,
		judge: judgeReceipt,
	}
}

func judgeReceipt(input json.RawMessage) (any, error) {
	in, err := read[receiptInput](input)
	if err != nil {
		return nil, err
	}
	doc, err := decoded(in.Document, &ententev1.SignedDocument{})
	if err != nil {
		return nil, err
	}
	signer, err := member.VerifyDocument(doc, "receipt", keysOf(in.Keys))
	if err != nil {
		return nil, err
	}
	body, err := decoded(doc.GetBody(), &ententev1.Receipt{})
	if err != nil {
		return nil, err
	}
	if string(signer) != in.From || body.GetReader() != in.From || body.GetOwner() != in.Owner {
		return nil, refusal("other-members")
	}
	if !slices.Equal(body.GetStreamId(), in.Stream) {
		return nil, refusal("other-stream")
	}
	if body.GetSize() > uint64(len(in.Leaves)) {
		return nil, refusal("size")
	}
	var edge stream.Edge
	for _, leaf := range in.Leaves[:body.GetSize()] {
		edge.Append(stream.Hash(leaf))
	}
	root := edge.Root()
	if !slices.Equal(body.GetRoot(), root[:]) {
		return nil, refusal("root")
	}
	out := receiptOutput{Size: body.GetSize(), Erased: []entryRef{}}
	for _, e := range body.GetErased() {
		out.Erased = append(out.Erased, entryRef{e.GetStreamId(), e.GetSequence()})
	}
	return out, nil
}

func receiptCases(t *testing.T) []vector {
	a := story(t)
	in := func(size uint64, edit func(*ententev1.Receipt), signer string) receiptInput {
		root := a.leaves.root(size)
		body := &ententev1.Receipt{Reader: "XB", Owner: "XA", StreamId: a.id[:], Size: size, Root: root[:], SignedAt: timestamppb.New(newYear())}
		edit(body)
		doc := member.SignDocument("receipt", encoded(t, body), member.ID(signer), vectorKey("signing "+signer))
		out := receiptInput{"XA", "XB", a.id[:], []hexBytes{}, []memberKey{signingKey("XA"), signingKey("XB"), signingKey("XC")}, encoded(t, doc)}
		for _, leaf := range a.leaves {
			out.Leaves = append(out.Leaves, leaf[:])
		}
		return out
	}
	same := func(*ententev1.Receipt) {}
	altered := in(6, same, "XB")
	altered.Document = flipped(altered.Document, 30)
	return []vector{
		{"for the newest head, with two erased entries", in(6, func(r *ententev1.Receipt) {
			r.Erased = []*ententev1.EntryRef{{StreamId: a.id[:], Sequence: 2}, {StreamId: a.id[:], Sequence: 3}}
		}, "XB"), ""},
		{"for an older head", in(3, same, "XB"), ""},
		{"for more entries than there are", in(6, func(r *ententev1.Receipt) { r.Size = 7 }, "XB"), "size"},
		{"for another root", in(6, func(r *ententev1.Receipt) { r.Root = flipped(r.GetRoot(), 0) }, "XB"), "root"},
		{"for the root of another size", in(6, func(r *ententev1.Receipt) { r.Size = 5 }, "XB"), "root"},
		{"for another stream", in(6, func(r *ententev1.Receipt) { r.StreamId = flipped(r.GetStreamId(), 0) }, "XB"), "other-stream"},
		{"for another owner", in(6, func(r *ententev1.Receipt) { r.Owner = "XC" }, "XB"), "other-members"},
		{"that names another reader", in(6, func(r *ententev1.Receipt) { r.Reader = "XC" }, "XB"), "other-members"},
		{"signed by another reader", in(6, same, "XC"), "other-members"},
		{"altered after signing", altered, "signature"},
	}
}

func grantsTopic() topic {
	return topic{
		file: "grants",
		about: "Pulls, as in pulls.json, of streams that the owner opens to XD, which the opening does not name. " +
			"grants in the output are those that stand in the stream.",
		cases: grantCases,
		judge: judgePull,
	}
}

func grantCases(t *testing.T) []vector {
	a := newAuthor(t, 1).open().release(1)
	document := a.grantDocument(1, "XD")
	a.grant(document).release(2)
	other := newAuthor(t, 2)
	edited := func(edit func(*ententev1.StreamGrant), typ, signer string) *ententev1.SignedDocument {
		body := &ententev1.StreamGrant{Owner: "XA", StreamId: a.id[:], Number: 1, Reader: "XD", GrantedAt: timestamppb.New(newYear())}
		edit(body)
		return member.SignDocument(typ, encoded(t, body), "XA", vectorKey(signer))
	}
	same := func(*ententev1.StreamGrant) {}
	altered := edited(same, "grant", "signing XA")
	altered.Body = flipped(altered.GetBody(), -1)
	shown := func(docs ...*ententev1.SignedDocument) pullInput {
		return pulled(t, "XD", append([]*ententev1.PullResponse{grants(a.id, docs...)}, a.all()...)...)
	}
	written := func(write func(*author)) pullInput {
		w := newAuthor(t, 1).open()
		write(w)
		return pulled(t, "XB", w.all()...)
	}
	inside := func(doc *ententev1.SignedDocument) pullInput { return written(func(w *author) { w.grant(doc) }) }
	preceded := func(before ...byte) pullInput {
		payload := newAuthor(t, 1).open().grant(document).entries[1].GetPayload()
		return written(func(w *author) { w.pay(ententev1.EntryType_ENTRY_TYPE_GRANT, append(before, payload...)) })
	}
	closed := newAuthor(t, 1).open().release(1).grant(document).close()
	return []vector{
		{"XD reads by a grant", shown(document), ""},
		{"XB, which the opening names, learns of XD", pulled(t, "XB", a.all()...), ""},
		{"XD reads what was closed after the grant", pulled(t, "XD", append([]*ententev1.PullResponse{grants(a.id, document)}, closed.all()...)...), ""},
		{"a grant in the stream whose own signature is by a key that counts no more", inside(edited(same, "grant", "old signing XA")), ""},
		{"with the grant in the stream alone, which comes too late", pulled(t, "XD", a.all()...), "opening"},
		{"shown the grant of another reader", shown(a.grantDocument(2, "XE")), "grant"},
		{"shown a grant for another stream", shown(other.grantDocument(1, "XD")), "grant"},
		{"shown a grant by a key that does not count", shown(edited(same, "grant", "signing XB")), "grant"},
		{"shown a grant that was altered", shown(altered), "grant"},
		{"shown a grant that was signed as a receipt", shown(edited(same, "receipt", "signing XA")), "grant"},
		{"shown a grant without a number", shown(edited(func(g *ententev1.StreamGrant) { g.Number = 0 }, "grant", "signing XA")), "grant"},
		{"shown a grant of another owner", shown(edited(func(g *ententev1.StreamGrant) { g.Owner = "XC" }, "grant", "signing XA")), "grant"},
		{"a grant after the closing", written(func(w *author) { w.close().grant(document) }), "closed"},
		{"a grant in another stream than it names", inside(other.grantDocument(1, "XD")), "grant"},
		{"a grant in the stream that was signed as a receipt", inside(edited(same, "receipt", "signing XA")), "grant"},
		{"a grant for the owner", inside(edited(func(g *ententev1.StreamGrant) { g.Reader = "XA" }, "grant", "signing XA")), "grant"},
		{"a grant for somebody who is no member", inside(edited(func(g *ententev1.StreamGrant) { g.Reader = "xd" }, "grant", "signing XA")), "grant"},
		{"a grant without a time", inside(edited(func(g *ententev1.StreamGrant) { g.GrantedAt = nil }, "grant", "signing XA")), "grant"},
		{"an entry of type grant with a release in it", written(func(w *author) {
			w.pay(ententev1.EntryType_ENTRY_TYPE_GRANT, []byte{0x12, 1, 'a'})
		}), "grant"},
		{"a grant with a record before it", preceded(0x12, 1, 'a'), "grant"},
		{"a grant with an opening before it", preceded(0x0a, 0), "grant"},
		{"a grant with a name to merge for", preceded(0x1a, 2, 'X', 'C'), "grant"},
		{"a grant in two pieces", preceded(0x22, 0), "grant"},
		{"a release with a grant in it", written(func(w *author) {
			w.pay(ententev1.EntryType_ENTRY_TYPE_RELEASE, []byte{0x12, 1, 'a', 0x22, 0})
		}), "payload"},
	}
}

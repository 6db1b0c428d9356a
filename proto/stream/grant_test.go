package stream

import (
	"crypto/ed25519"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func (o *owner) grantFor(number uint64, reader member.ID) *ententev1.SignedDocument {
	o.t.Helper()
	doc, err := SignGrant(o.member, o.id, Grant{Number: number, Reader: reader, Time: time.Unix(1_767_225_700, 0)}, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return doc
}

func (o *owner) grant(doc *ententev1.SignedDocument) *owner {
	o.t.Helper()
	o.addPayload(ententev1.EntryType_ENTRY_TYPE_GRANT, marshal(o.t, &ententev1.StreamPayload{Content: &ententev1.StreamPayload_Grant{Grant: doc}}))
	return o
}

func TestAReaderThatTheOpeningDoesNotNameReadsByAGrant(t *testing.T) {
	o := newOwner(t, 1).open().release("one").grant(newOwner(t, 1).grantFor(1, "XD"))
	joiner := func() *Reader {
		r := NewReader("XA", o.id, "XD", Edge{})
		_, err := r.Checkpoint(o.update(0, 3), public(o.key))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	_, err := joiner().Entries(o.batch(0, 3, 3), nil)
	asSenderError(t, err, RuleOpening) // without the grant it is a stream for others

	r := joiner()
	err = r.Grant(o.grantFor(1, "XD"), public(o.key))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Entries(o.batch(0, 3, 3), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got[2].Grant == nil || got[2].Grant.Reader != "XD" || got[2].Grant.Number != 1 || !got[2].Understood {
		t.Errorf("the entry of the grant says %+v", got[2].Grant)
	}
	named, err := o.ready(0).Entries(o.batch(0, 3, 3), nil)
	if err != nil || named[2].Grant == nil {
		t.Errorf("a reader of the opening does not learn of the new one: %v", err)
	}
}

func TestAGrantThatIsNotTheOwnersForThisStreamAndReaderIsRefused(t *testing.T) {
	o, other := newOwner(t, 1).open(), newOwner(t, 2)
	foreign := testKey(9)
	signed := func(owner member.ID, id ID, reader member.ID, key ed25519.PrivateKey) *ententev1.SignedDocument {
		doc, err := SignGrant(owner, id, Grant{Number: 1, Reader: reader, Time: time.Unix(1_767_225_700, 0)}, key)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	altered := proto.CloneOf(o.grantFor(1, "XD"))
	altered.Body[len(altered.GetBody())-1] ^= 1
	renamed := proto.CloneOf(o.grantFor(1, "XD"))
	renamed.Type = "receipt"
	tests := []struct {
		name string
		doc  *ententev1.SignedDocument
	}{
		{"for somebody else", o.grantFor(1, "XE")},
		{"for another stream", signed("XA", other.id, "XD", o.key)},
		{"by another member about its own stream of the same id", signed("XB", o.id, "XD", o.key)},
		{"signed with a key that is not the owner's", signed("XA", o.id, "XD", foreign)},
		{"altered after signing", altered},
		{"signed as another kind of document", renamed},
		{"nothing at all", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader("XA", o.id, "XD", Edge{})
			asSenderError(t, r.Grant(test.doc, public(o.key)), RuleGrant)
			_, err := r.Checkpoint(o.update(0, 1), public(o.key))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Entries(o.batch(0, 1, 1), nil)
			asSenderError(t, err, RuleOpening)
		})
	}
}

func TestAGrantEntryThatBreaksItsRulesIsRefused(t *testing.T) {
	other := newOwner(t, 2)
	tests := []struct {
		name  string
		write func(o *owner)
		rule  Rule
	}{
		{"after the closing", func(o *owner) { o.close().grant(o.grantFor(1, "XD")) }, RuleClosed},
		{"for another stream", func(o *owner) { o.grant(other.grantFor(1, "XD")) }, RuleGrant},
		{"without a document", func(o *owner) { o.grant(nil) }, RuleGrant},
		{"with a release in it", func(o *owner) {
			o.addPayload(ententev1.EntryType_ENTRY_TYPE_GRANT, marshal(t, &ententev1.StreamPayload{
				Content: &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: []byte("a")}}))
		}, RuleGrant},
		{"for the owner", func(o *owner) {
			body := marshal(t, &ententev1.StreamGrant{Owner: "XA", StreamId: o.id[:], Number: 1, Reader: "XA"})
			o.grant(member.SignDocument(TypeGrant, body, "XA", o.key))
		}, RuleGrant},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOwner(t, 1).open()
			test.write(o)
			_, err := o.ready(0).Entries(o.batch(0, o.size(), o.size()), nil)
			asSenderError(t, err, test.rule)
		})
	}
}

func TestAGrantThatNobodyWouldTakeIsNotSigned(t *testing.T) {
	o := newOwner(t, 1)
	for name, g := range map[string]Grant{
		"for the owner":    {Number: 1, Reader: "XA"},
		"for no member":    {Number: 1, Reader: "not one"},
		"without a number": {Reader: "XD"},
	} {
		_, err := SignGrant("XA", o.id, g, o.key)
		if err == nil {
			t.Errorf("a grant %s was signed", name)
		}
	}
}

package member_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestAGenesisSaysWhoHasSignedAndWhoIsMissing(t *testing.T) {
	f := newFederation(t, noon())
	v := must(member.GenesisVotes(f.newGenesis("XC", "XA")))(t)
	if v.Needed != 4 || !slices.Equal(v.Signed, []member.ID{"XC", "XA"}) || !slices.Equal(v.Missing, []member.ID{"COORD", "XB"}) || v.Complete() {
		t.Errorf("got %+v", v)
	}
	if v := must(member.GenesisVotes(f.genesis))(t); !v.Complete() || len(v.Missing) != 0 {
		t.Errorf("signed by all: %+v", v)
	}
	spoilt := f.newGenesis("XA")
	member.AddSignature(spoilt, "XB", f.parties["XD"].root)
	_, err := member.GenesisVotes(spoilt)
	if err == nil {
		t.Error("a signature by another root passes")
	}
}

func TestAProposalSaysHowFarAChangeIs(t *testing.T) {
	f := newFederation(t, noon())
	f.suspend("XB")
	roster := f.verified(f.roster())
	propose := func(number uint64, kind ententev1.RosterChangeKind, id member.ID, signers ...member.ID) *ententev1.SignedDocument {
		var root []byte
		if kind == admission {
			root = public(f.parties[id].root)
		}
		doc := must(member.NewChange(f.id, number, kind, id, root, noon()))(t)
		for _, signer := range signers {
			member.AddSignature(doc, signer, f.parties[signer].root)
		}
		return doc
	}
	t.Run("an admission that one has signed", func(t *testing.T) {
		p := must(member.ReadProposal(propose(2, admission, "XD", "XC"), roster))(t)
		if p.Needed != 3 || p.Quorum != 3 || p.Complete() || !slices.Equal(p.Signed, []member.ID{"XC"}) || !slices.Equal(p.Missing, []member.ID{"COORD", "XA"}) {
			t.Errorf("votes: %+v", p)
		}
		if !slices.Equal(p.Members, []member.ID{"COORD", "XA", "XC", "XD"}) || !slices.Equal(p.Founders, []member.ID{"COORD", "XA", "XC"}) ||
			!slices.Equal(p.Assemblers, []member.ID{"COORD"}) || !p.Root.Equal(public(f.parties["XD"].root)) {
			t.Errorf("after it: %+v", p)
		}
	})
	t.Run("a departure takes the leaver's signature alone", func(t *testing.T) {
		p := must(member.ReadProposal(propose(2, departure, "XB", "XB"), roster))(t) // a suspended one may leave
		if !p.Complete() || p.Needed != 1 || len(p.Missing) != 0 {
			t.Errorf("votes: %+v", p)
		}
		if p := must(member.ReadProposal(propose(2, departure, "COORD"), roster))(t); len(p.Assemblers) != 0 || !slices.Equal(p.Missing, []member.ID{"COORD"}) {
			t.Errorf("the only assembler leaves: %+v", p)
		}
	})
	t.Run("a change may follow one that is not in the roster yet", func(t *testing.T) {
		first := propose(2, admission, "XD", "XA", "XC", "COORD")
		p := must(member.ReadProposal(propose(3, removal, "XD"), roster, first))(t)
		if slices.Contains(p.Members, "XD") {
			t.Errorf("after both: %+v", p)
		}
	})
	other := newFederation(t, noon())
	other.genesis = must(member.NewGenesis("Another", map[member.ID]ed25519.PublicKey{"XA": public(f.parties["XA"].root)}, 1, []member.ID{"XA"}, noon()))(t)
	tests := []struct {
		name, want string
		doc        *ententev1.SignedDocument
	}{
		{"one that is in force already", "in force already", f.changes[0]},
		{"another one with a number in force", "make it again as number 2", propose(1, removal, "XC")},
		{"one that leaves a number out", "change 2 is not there yet", propose(3, removal, "XC")},
		{"one of another federation", "another federation",
			must(member.NewChange(member.FederationID(other.genesis), 2, removal, "XC", nil, noon()))(t)},
		{"an admission of one who is in", "a member already", propose(2, admission, "XC")},
		{"a removal of a stranger", "not a member", propose(2, removal, "XD")},
		{"a signature of one who is suspended", "no key of XB that counts", propose(2, removal, "XC", "XB")},
		{"a signature of one who is no founder", "no key of XD that counts", propose(2, removal, "XC", "XD")},
		{"a departure that another signed", "no key of XA that counts", propose(2, departure, "XC", "XA")},
		{"a second signature of one member", "signed twice", propose(2, removal, "XC", "XA", "XA")},
		{"a genesis", "another type", f.genesis},
	}
	for _, test := range tests {
		t.Run(test.name+" is refused", func(t *testing.T) {
			_, err := member.ReadProposal(test.doc, roster)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzReadProposal(f *testing.F) {
	fed := newFederation(f, noon())
	roster := fed.verified(fed.roster())
	change := must(member.NewChange(fed.id, 1, admission, "XD", public(fed.parties["XD"].root), noon()))(f)
	f.Add([]byte(nil), "XA", []byte("key"), []byte("signature"))
	f.Add(change.GetBody(), "XA", make([]byte, 8), make([]byte, 64))
	f.Fuzz(func(t *testing.T, body []byte, signer string, key, signature []byte) {
		doc := &ententev1.SignedDocument{Type: member.TypeChange, Body: body,
			Signatures: []*ententev1.Signature{{Member: signer, KeyId: key, Signature: signature}}}
		p, err := member.ReadProposal(doc, roster)
		if err == nil && len(p.Signed) > 0 {
			t.Fatalf("a signature by none of the roots counts: %+v", p)
		}
		doc.Type = member.TypeGenesis
		_, err = member.GenesisVotes(doc)
		if err == nil {
			t.Fatal("a genesis with a signature by none of the founders passes")
		}
	})
}

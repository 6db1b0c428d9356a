package stream_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Short names for the kinds of change.
const (
	admission     = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION
	rootChange    = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE
	suspension    = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION
	reinstatement = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REINSTATEMENT
	removal       = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL
	departure     = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE
)

// foundation is the federation of the vectors: CO, XA and XB found it, two of three decide, CO and then XA assemble.
type foundation struct {
	t       *testing.T
	genesis *ententev1.SignedDocument
	id      [32]byte
	roots   map[string]string // label of the root key of a member, where it is not "root <member>"
	changes []*ententev1.SignedDocument
}

func genesis(t *testing.T, quorum int, signers ...string) *ententev1.SignedDocument {
	founders := map[member.ID]ed25519.PublicKey{"CO": vectorPublic("root CO"), "XA": vectorPublic("root XA"), "XB": vectorPublic("root XB")}
	doc, err := member.NewGenesis("Federation of the vectors", founders, quorum, []member.ID{"CO", "XA"}, newYear())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range signers {
		member.AddSignature(doc, member.ID(id), vectorKey("root "+id))
	}
	return doc
}

func founded(t *testing.T) *foundation {
	doc := genesis(t, 2, "CO", "XA", "XB")
	return &foundation{t: t, genesis: doc, id: member.FederationID(doc), roots: map[string]string{}}
}

func (f *foundation) root(id string) string {
	label, changed := f.roots[id]
	if changed {
		return label
	}
	return "root " + id
}

// change appends the next change, signed by the roots of the given members. A label is that of the member's new root.
func (f *foundation) change(kind ententev1.RosterChangeKind, id, label string, signers ...string) *foundation {
	var root ed25519.PublicKey
	if label != "" {
		root = vectorPublic(label)
	}
	doc, err := member.NewChange(f.id, uint64(len(f.changes))+1, kind, member.ID(id), root, newYear())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, signer := range signers {
		member.AddSignature(doc, member.ID(signer), vectorKey(f.root(signer)))
	}
	if label != "" {
		f.roots[id] = label
	}
	f.changes = append(f.changes, doc)
	return f
}

// certificate is that of a member's authority. It is by Ed25519, whose signatures are the same each time.
func certificate(t *testing.T, id string, edits ...func(*x509.Certificate)) *x509.Certificate {
	domain := member.ID(id).TrustDomain()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, URIs: []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore: newYear(), NotAfter: newYear().AddDate(10, 0, 0), SubjectKeyId: []byte(id),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, edit := range edits {
		edit(template)
	}
	key := vectorKey("authority " + id)
	der, err := x509.CreateCertificate(drawn("serial"), template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// entry is what a member says of itself, changed by the edits before its root in force signs it.
func (f *foundation) entry(id string, number uint64, edits ...func(*ententev1.RosterEntry)) *ententev1.SignedDocument {
	kind := ententev1.MemberKind_MEMBER_KIND_NATIONAL
	if id == "CO" {
		kind = ententev1.MemberKind_MEMBER_KIND_COORDINATOR
	}
	body := &ententev1.RosterEntry{FederationId: f.id[:], Member: id, Name: "Invented " + id, Kind: kind, Number: number,
		TrustDomain: member.ID(id).TrustDomain(), CaCertificates: [][]byte{certificate(f.t, id).Raw}, Addresses: []string{"127.0.0.1:7443"},
		SigningKeys: []*ententev1.SigningKey{{PublicKey: vectorPublic("signing " + id), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT}},
		SignedAt:    timestamppb.New(newYear())}
	for _, edit := range edits {
		edit(body)
	}
	return member.SignDocument(member.TypeEntry, encoded(f.t, body), member.ID(id), vectorKey(f.root(id)))
}

// roster assembles a roster of these members, CO signing, its content changed by the edits before.
func (f *foundation) roster(number uint64, members []string, edits ...func(*ententev1.Roster)) *ententev1.SignedDocument {
	body := &ententev1.Roster{Genesis: f.genesis, Changes: f.changes, Number: number, Assembler: "CO",
		IssuedAt: timestamppb.New(newYear()), ExpiresAt: timestamppb.New(newYear().Add(30 * 24 * time.Hour))}
	for _, id := range members {
		body.Entries = append(body.Entries, f.entry(id, 1))
	}
	for _, edit := range edits {
		edit(body)
	}
	signer := body.GetAssembler()
	return member.SignDocument(member.TypeRoster, encoded(f.t, body), member.ID(signer), vectorKey("signing "+signer))
}

type rosterInput struct {
	Federation hexBytes `json:"federation"`
	Now        int64    `json:"now"`
	Held       hexBytes `json:"held"`
	Roster     hexBytes `json:"roster"`
}

type rosterOutput struct {
	Number    uint64         `json:"number"`
	Assembler string         `json:"assembler"`
	Members   []rosterMember `json:"members"`
}

type rosterMember struct {
	Member        string     `json:"member"`
	Active        bool       `json:"active"`
	CurrentKeys   []hexBytes `json:"current_keys"`
	VerifyingKeys []hexBytes `json:"verifying_keys"`
}

func rostersTopic() topic {
	return topic{
		file: "rosters",
		about: "Rosters (encoded SignedDocument) at a node that has pinned the federation, at the time now (Unix seconds), and that holds an older roster or none. " +
			"Active members are in good standing; current keys sign now, verifying keys include retired ones.",
		cases: func(t *testing.T) []vector { return append(soundRosters(t), refusedRosters(t)...) },
		shared: func(t *testing.T) any {
			f := founded(t)
			in := f.after(f.roster(1, founders()), f.genesis)
			return map[string]any{"federation": in.Federation, "now": in.Now, "held": in.Held}
		},
		judge: judgeRoster,
	}
}

func judgeRoster(input json.RawMessage) (any, error) {
	in, err := read[rosterInput](input)
	if err != nil {
		return nil, err
	}
	if len(in.Federation) != 32 {
		return nil, errors.New("the federation's id is not one")
	}
	now := time.Unix(in.Now, 0)
	held, err := openRoster(in.Held, in.Federation, nil, now)
	if err != nil {
		return nil, err
	}
	r, err := openRoster(in.Roster, in.Federation, held, now)
	if err != nil {
		return nil, err
	}
	out := rosterOutput{Number: r.Number(), Assembler: string(r.Assembler())}
	for _, id := range []member.ID{"CO", "XA", "XB", "XC", "XD"} {
		if _, known := r.Member(id); known {
			out.Members = append(out.Members, rosterMember{string(id), r.Active(id), keyList(r.CurrentKeys(id)), keyList(r.VerifyingKeys(id))})
		}
	}
	return out, nil
}

func keyList(keys []ed25519.PublicKey) []hexBytes {
	list := []hexBytes{}
	for _, key := range keys {
		list = append(list, hexBytes(key))
	}
	return list
}

// openRoster verifies an encoded roster; none where there is none.
func openRoster(b, federation hexBytes, held *member.Roster, now time.Time) (*member.Roster, error) {
	if len(b) == 0 {
		return nil, nil
	}
	doc, err := decoded(b, &ententev1.SignedDocument{})
	if err != nil {
		return nil, err
	}
	return member.VerifyRoster(doc, [32]byte(federation), held, now)
}

// founders are the members of the first roster, in order.
func founders() []string { return []string{"CO", "XA", "XB"} }

func (f *foundation) in(doc *ententev1.SignedDocument) rosterInput {
	return rosterInput{Federation: f.id[:], Now: newYear().Unix(), Roster: encoded(f.t, doc)}
}

// after is a roster that comes to a node which holds another.
func (f *foundation) after(held, doc *ententev1.SignedDocument) rosterInput {
	in := f.in(doc)
	in.Held = encoded(f.t, held)
	return in
}

// with replaces the entry of a member, or puts it in its place in the order.
func (f *foundation) with(id string, number uint64, edits ...func(*ententev1.RosterEntry)) func(*ententev1.Roster) {
	return func(r *ententev1.Roster) {
		doc := f.entry(id, number, edits...)
		at, found := slices.BinarySearchFunc(r.Entries, id, func(e *ententev1.SignedDocument, id string) int {
			return strings.Compare(e.GetSignatures()[0].GetMember(), id)
		})
		if found {
			r.Entries[at] = doc
			return
		}
		r.Entries = slices.Insert(r.Entries, at, doc)
	}
}

func soundRosters(t *testing.T) []vector {
	first := founded(t).roster(1, founders())
	admitted := founded(t).change(admission, "XC", "root XC", "XA", "XB")
	four := []string{"CO", "XA", "XB", "XC"}
	changed := founded(t).change(rootChange, "XB", "second root XB", "CO", "XA")
	suspended := founded(t).change(suspension, "XB", "", "CO", "XA")
	back := founded(t).change(suspension, "XB", "", "CO", "XA").change(reinstatement, "XB", "", "CO", "XA")
	left := founded(t).change(admission, "XC", "root XC", "XA", "XB").change(departure, "XC", "", "XC")
	removed := founded(t).change(admission, "XC", "root XC", "XA", "XB").change(removal, "XC", "", "XA", "CO")
	again := founded(t).change(admission, "XC", "root XC", "XA", "XB").change(departure, "XC", "", "XC").change(admission, "XC", "second root XC", "XA", "XB")
	f := founded(t)
	rotated := f.roster(2, founders(), f.with("XA", 2, func(e *ententev1.RosterEntry) {
		e.SigningKeys[0].State = ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED
		e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: vectorPublic("new signing XA"), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT})
	}))
	revoked := f.roster(2, founders(), f.with("XA", 2, func(e *ententev1.RosterEntry) {
		e.SigningKeys[0].State = ententev1.SigningKeyState_SIGNING_KEY_STATE_REVOKED
		e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: vectorPublic("new signing XA"), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT})
	}))
	return []vector{
		{"the first roster", f.in(first), ""},
		{"the same again", f.after(first, first), ""},
		{"assembled by another named signer", f.after(first, f.roster(2, founders(), func(r *ententev1.Roster) { r.Assembler = "XA" })), ""},
		{"XC is admitted by a quorum", admitted.after(first, admitted.roster(2, four)), ""},
		{"the root of XB is changed by a quorum", changed.after(first, changed.roster(2, founders(), changed.with("XB", 2))), ""},
		{"XB is suspended", suspended.after(first, suspended.roster(2, founders())), ""},
		{"XB is suspended and reinstated", back.after(first, back.roster(3, founders())), ""},
		{"XC has left by its own root", left.after(first, left.roster(2, four)), ""},
		{"XC has left and its entry is dropped", left.after(left.roster(2, four), left.roster(3, founders())), ""},
		{"XC is removed", removed.after(first, removed.roster(2, four)), ""},
		{"XC comes back with another root", again.after(first, again.roster(2, four)), ""},
		{"XA has rotated its signing key", f.after(first, rotated), ""},
		{"XA has revoked its signing key", f.after(first, revoked), ""},
		{"dated four minutes ahead", f.in(f.roster(1, founders(), func(r *ententev1.Roster) { r.IssuedAt = timestamppb.New(newYear().Add(4 * time.Minute)) })), ""},
	}
}

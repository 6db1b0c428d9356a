package policy

import (
	"testing"

	"entente.example/entente/proto/member"
)

func soundPermission() Permission {
	return Permission{
		Owner: "XA", Record: [16]byte{1}, Commitment: [32]byte{2}, Holder: "XB", Recipients: []member.ID{"XC"}, Export: true,
		Purpose: criminal, Until: 2_000,
	}
}

func TestFrees(t *testing.T) {
	type question struct {
		record     [16]byte
		owner      member.ID
		commitment [32]byte
		holder     member.ID
		use        Use
		now        int64
	}
	tests := []struct {
		name       string
		permission func(*Permission)
		question   func(*question)
		want       bool
	}{
		{"passing on to the recipient", func(*Permission) {}, func(*question) {}, true},
		{"an export", func(*Permission) {}, func(q *question) { q.use = Use{Export: true, Purpose: criminal} }, true},
		{"an export for the recipient", func(*Permission) {}, func(q *question) { q.use.Export = true }, true},
		{"an export for another", func(*Permission) {}, func(q *question) { q.use.Export, q.use.Recipient = true, "XD" }, false},
		{"an export that is not permitted", func(p *Permission) { p.Export = false }, func(q *question) { q.use = Use{Export: true, Purpose: criminal} }, false},
		{"an export for the recipient that is not permitted", func(p *Permission) { p.Export = false }, func(q *question) { q.use.Export = true }, false},
		{"passing on where exports are not permitted", func(p *Permission) { p.Export = false }, func(*question) {}, true},
		{"passing on to another", func(*Permission) {}, func(q *question) { q.use.Recipient = "XD" }, false},
		{"passing on to nobody", func(*Permission) {}, func(q *question) { q.use.Recipient = "" }, false},
		{"nobody among the recipients is nobody", func(p *Permission) { p.Recipients = []member.ID{""} }, func(q *question) { q.use.Recipient = "" }, false},
		{"another record", func(*Permission) {}, func(q *question) { q.record[0] = 9 }, false},
		{"another version", func(*Permission) {}, func(q *question) { q.commitment[0] = 9 }, false},
		{"another owner", func(*Permission) {}, func(q *question) { q.owner = "XD" }, false},
		{"another holder", func(*Permission) {}, func(q *question) { q.holder = "XC" }, false},
		{"no owner", func(p *Permission) { p.Owner = "" }, func(q *question) { q.owner = "" }, false},
		{"no holder", func(p *Permission) { p.Holder = "" }, func(q *question) { q.holder = "" }, false},
		{"no version", func(p *Permission) { p.Commitment = [32]byte{} }, func(q *question) { q.commitment = [32]byte{} }, false},
		{"a purpose that fits the permission's", func(*Permission) {}, func(q *question) { q.use.Purpose = 9 }, true},
		{"a purpose that does not", func(*Permission) {}, func(q *question) { q.use.Purpose = 7 }, false},
		{"no purpose", func(*Permission) {}, func(q *question) { q.use.Purpose = 0 }, false},
		{"a permission without purpose", func(p *Permission) { p.Purpose = 0 }, func(*question) {}, false},
		{"the second before its end", func(*Permission) {}, func(q *question) { q.now = 1_999 }, true},
		{"its end", func(*Permission) {}, func(q *question) { q.now = 2_000 }, false},
		{"no time", func(*Permission) {}, func(q *question) { q.now = 0 }, false},
		{"the first second of all", func(*Permission) {}, func(q *question) { q.now = 1 }, true},
		{"no permission", func(p *Permission) { *p = Permission{} }, func(*question) {}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := soundPermission()
			q := question{p.Record, p.Owner, p.Commitment, p.Holder, Use{Recipient: "XC", Purpose: criminal}, 1_000}
			test.permission(&p)
			test.question(&q)
			if got := p.Frees(q.record, q.owner, q.commitment, q.holder, q.use, q.now); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}

// madeOf makes a source an own one, which was made from another member's record.
func madeOf(handling HandlingSet, permissions ...Permission) func(*Source) {
	return func(s *Source) {
		label := soundLabel()
		label.RetainUntil, label.Handling = 3_000, handling
		for i := range permissions {
			permissions[i].Owner, permissions[i].Holder = "XD", "XA"
		}
		s.Holder = "XA"
		s.Made = append(s.Made, Made{Permissions: permissions, Source: Source{Owner: "XD", Holder: "XA", Record: [16]byte{1}, Commitments: [][32]byte{{2}}, Label: label, Readers: []member.ID{"XD", "XA"}}})
	}
}

func TestPassingOnAndExporting(t *testing.T) {
	label := soundLabel()
	label.RetainUntil = 3_000
	under := func(h HandlingSet) func(*Source) { return func(s *Source) { s.Label.Handling = h } }
	to := func(recipient member.ID) Use { return Use{Recipient: recipient, Purpose: criminal} }
	given := []Permission{{}, soundPermission()}
	plain := func(*Source) {}
	tests := []struct {
		name           string
		source         func(*Source)
		use            Use
		permissions    []Permission
		passes, export bool
	}{
		{"H0 to a reader", plain, to("XE"), nil, true, true},
		{"H0 to the owner", plain, to("XA"), nil, true, true},
		{"H0 to another member", plain, to("XD"), nil, false, false},
		{"H0 to another member who is not the permitted one", plain, to("XD"), given, false, false},
		{"H0 to the permitted member", plain, to("XC"), given, true, true},
		{"H0 to nobody", plain, Use{Purpose: criminal}, nil, false, true},
		{"H2 to a reader", under(handlingH2), to("XE"), nil, true, false},
		{"H2 to the owner", under(handlingH2), to("XA"), nil, true, false},
		{"H2 to another member", under(handlingH2), to("XC"), nil, false, false},
		{"H2 to the permitted member", under(handlingH2), to("XC"), given, true, true},
		{"H2 to nobody", under(handlingH2), Use{Purpose: criminal}, nil, false, false},
		{"H2 to nobody with a permission", under(handlingH2), Use{Purpose: criminal}, given, false, true},
		{"H1 and H3 to nobody", under(handlingH1 | handlingH3), Use{Purpose: criminal}, nil, false, true},
		{"unknown handling counts as H2", under(0), Use{Purpose: criminal}, nil, false, false},
		{"a purpose that does not fit the record", plain, Use{Recipient: "XE", Purpose: 7}, nil, false, false},
		{"a purpose that fits neither", plain, Use{Recipient: "XC", Purpose: 7}, given, false, false},
		{"no purpose", plain, Use{Recipient: "XE"}, given, false, false},
		{"a permission widens the purpose", func(s *Source) { s.Label.Purpose = 7 }, to("XC"), given, true, true},
		{"without one it does not fit", func(s *Source) { s.Label.Purpose = 7 }, to("XE"), given, false, false},
		{"what is not understood", func(s *Source) { s.Label.Unknown = true }, to("XC"), given, false, false},
		{"an informant's", func(s *Source) { s.Label.Status = 8 }, to("XC"), given, false, false},
		{"what is over", func(s *Source) { s.Label.RetainUntil = 1_000 }, to("XC"), given, false, false},
		{"another version than the permitted one", func(s *Source) { s.Commitments = [][32]byte{{7}} }, to("XC"), given, false, false},
		{"another record", func(s *Source) { s.Record = [16]byte{7} }, to("XC"), given, false, false},
		{"another holder", func(s *Source) { s.Holder = "XE" }, to("XC"), given, false, false},
		{"own H2 to nobody", func(s *Source) { s.Holder, s.Label.Handling = "XA", handlingH2 }, Use{Purpose: criminal}, nil, false, true},
		{"own H2 to another member", func(s *Source) { s.Holder, s.Label.Handling = "XA", handlingH2 }, to("XD"), nil, false, false},
		{"own H2 to a reader", func(s *Source) { s.Holder, s.Label.Handling = "XA", handlingH2 }, to("XE"), nil, true, true},
		{"own, made from H2", madeOf(handlingH2), Use{Purpose: criminal}, nil, false, false},
		{"own, made from H2 whose owner permits exports", madeOf(handlingH2, soundPermission()), Use{Purpose: criminal}, nil, false, true},
		{"own, made from H0", madeOf(handlingH0), Use{Purpose: criminal}, nil, false, true},
		{"own, made from H0 and H2", func(s *Source) { madeOf(handlingH0)(s); madeOf(handlingH2)(s) }, Use{Purpose: criminal}, nil, false, false},
		{"own, made from what is not held any more", func(s *Source) { s.Holder, s.Made = "XA", []Made{{}} }, Use{Purpose: criminal}, given, false, false},
		{"own, made from what is over", func(s *Source) { madeOf(handlingH0)(s); s.Made[0].Source.Label.RetainUntil = 1_000 }, Use{Purpose: criminal}, nil, false, false},
		{"own, made from what another purpose is for", func(s *Source) { madeOf(handlingH0)(s); s.Made[0].Source.Label.Purpose = 7 }, Use{Purpose: criminal}, nil, false, false},
		{"H2 of nobody held by nobody", func(s *Source) { s.Owner, s.Holder, s.Label.Handling = "", "", handlingH2 }, Use{Purpose: criminal}, nil, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := Source{Owner: "XA", Holder: "XB", Record: [16]byte{1}, Commitments: [][32]byte{{5}, {2}}, Label: label, Readers: []member.ID{"XA", "XB", "XE"}}
			s.Label.Handling = handlingH0
			test.source(&s)
			if got := MayPassOn(s, test.use, test.permissions, 1_000); got != test.passes {
				t.Errorf("passed on: want %v", test.passes)
			}
			if got := MayExport(s, test.use, test.permissions, 1_000); got != test.export {
				t.Errorf("exported: want %v", test.export)
			}
			exported := test.use
			exported.Export = true
			if MayPassOn(s, exported, test.permissions, 1_000) != test.export || MayExport(s, exported, test.permissions, 1_000) != test.export {
				t.Error("an export that is passed on is judged in another way than an export")
			}
		})
	}
}

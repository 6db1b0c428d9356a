package member_test

import (
	"strings"
	"testing"

	"entente.example/entente/proto/member"
)

func TestParseID(t *testing.T) {
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"two letters are an id":                {"XA", true},
		"one letter is an id":                  {"X", true},
		"digits and hyphens may follow":        {"XA-2", true},
		"32 characters are the most":           {strings.Repeat("X", 32), true},
		"33 characters are too many":           {strings.Repeat("X", 33), false},
		"nothing is no id":                     {"", false},
		"lower case is no id":                  {"xa", false},
		"a digit first is no id":               {"1A", false},
		"a hyphen first is no id":              {"-A", false},
		"a letter of another script is no id":  {"XÄ", false},
		"a dot would break the trust domain":   {"X.A", false},
		"a line break would break a log entry": {"XA\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := member.ParseID(c.in)
			if (err == nil) != c.ok {
				t.Fatalf("ParseID(%q): error %v, want ok %t", c.in, err, c.ok)
			}
			if c.ok && string(id) != c.in {
				t.Errorf("ParseID(%q) = %q", c.in, id)
			}
		})
	}
}

func TestTrustDomainIsTheLowerCaseIDUnderEntente(t *testing.T) {
	if got := member.ID("XA-2").TrustDomain(); got != "xa-2.entente" {
		t.Errorf("trust domain is %q", got)
	}
}

func TestParseIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want member.Identity
	}{
		"a node":      {"spiffe://xa.entente/node", member.Identity{Member: "XA", Kind: member.KindNode}},
		"a system":    {"spiffe://xa.entente/system/intake-1", member.Identity{Member: "XA", Kind: member.KindSystem, Name: "intake-1"}},
		"an officer":  {"spiffe://coord.entente/officer/j.doe", member.Identity{Member: "COORD", Kind: member.KindOfficer, Name: "j.doe"}},
		"an auditor":  {"spiffe://xb.entente/auditor/a_1", member.Identity{Member: "XB", Kind: member.KindAuditor, Name: "a_1"}},
		"an operator": {"spiffe://xb.entente/operator/op", member.Identity{Member: "XB", Kind: member.KindOperator, Name: "op"}},
	} {
		t.Run(name+" is read and written back", func(t *testing.T) {
			got, err := member.ParseIdentity(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.String() != c.in {
				t.Errorf("written back as %q, want %q", got.String(), c.in)
			}
		})
	}
	for name, in := range map[string]string{
		"nothing":                       "",
		"another scheme":                "https://xa.entente/node",
		"another federation's domain":   "spiffe://xa.example/node",
		"a domain below the member's":   "spiffe://a.xa.entente/node",
		"a domain without a member":     "spiffe://.entente/node",
		"a domain in capital letters":   "spiffe://XA.entente/node",
		"a domain that is no member id": "spiffe://1a.entente/node",
		"no path":                       "spiffe://xa.entente",
		"a kind that does not exist":    "spiffe://xa.entente/root/me",
		"a kind in capital letters":     "spiffe://xa.entente/Node",
		"a node with a name":            "spiffe://xa.entente/node/one",
		"an officer without a name":     "spiffe://xa.entente/officer",
		"an empty name":                 "spiffe://xa.entente/officer/",
		"a name of two segments":        "spiffe://xa.entente/officer/a/b",
		"a name that climbs":            "spiffe://xa.entente/officer/..",
		"a name that is a page":         "spiffe://xa.entente/officer/" + strings.Repeat("a", 65),
		"an escaped name":               "spiffe://xa.entente/officer/%61",
		"a query":                       "spiffe://xa.entente/node?x",
		"a port":                        "spiffe://xa.entente:1/node",
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			got, err := member.ParseIdentity(in)
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
		})
	}
}

func TestErrorsDoNotRepeatTheNameOfAnOfficer(t *testing.T) {
	for _, in := range []string{
		"spiffe://xa.entente/officer/jane.doe/x", "spiffe://xa.entente/officer/jane.doe!",
		"spiffe://xa.entente/oficer/jane.doe", "spiffe://xa.entente/node/jane.doe", "spiffe://xa.entente/officer/jane.doe?",
	} {
		_, err := member.ParseIdentity(in)
		if err == nil {
			t.Fatalf("%s: accepted", in)
		}
		if strings.Contains(err.Error(), "jane") {
			t.Errorf("error repeats the name: %v", err)
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	for _, seed := range []string{"spiffe://xa.entente/node", "spiffe://xa.entente/officer/j.doe", "spiffe://x-1.entente/system/a_b", "spiffe://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := member.ParseIdentity(in)
		if err != nil {
			return
		}
		if got.String() != in {
			t.Fatalf("%q is read as %q: two spellings of one identity", in, got.String())
		}
		_, err = member.ParseID(string(got.Member))
		if err != nil {
			t.Fatalf("%q names no member: %v", in, err)
		}
	})
}

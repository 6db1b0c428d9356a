package member_test

import (
	"crypto/tls"
	"testing"

	"entente.example/entente/proto/member"
)

func TestAllowClassicIsForTheMembersOwnPeopleAndNeverForNodes(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	strict := member.ServerTLS(f.certificate(node("XA")), always(roster), "XA")
	classic := func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} }
	system := member.Identity{Member: "XA", Kind: member.KindSystem, Name: "intake"}
	for _, ident := range []member.Identity{system, officer("XA"), {Member: "XA", Kind: member.KindOperator, Name: "op"}} {
		t.Run("the "+ident.Kind.String()+" may", func(t *testing.T) {
			out := connect(t, member.AllowClassic(strict), bare(f.certificate(ident), classic))
			if out.serverErr != nil || out.clientErr != nil || out.server.CurveID != tls.X25519 {
				t.Errorf("server: %v, client: %v, key exchange %v", out.serverErr, out.clientErr, out.server.CurveID)
			}
		})
	}
	for _, id := range []member.ID{"XA", "XB", "COORD"} {
		t.Run("the node of "+string(id)+" may not", func(t *testing.T) {
			out := connect(t, member.AllowClassic(strict), bare(f.certificate(node(id)), classic))
			out.wantRefused(t, member.ErrWrongPeer, "post-quantum")
		})
	}
	t.Run("an officer of another member may not", func(t *testing.T) {
		connect(t, member.AllowClassic(strict), bare(f.certificate(officer("XB")), classic)).wantRefused(t, member.ErrWrongPeer, "only nodes")
	})
	t.Run("whoever can still uses the hybrid exchange", func(t *testing.T) {
		out := connect(t, member.AllowClassic(strict), bare(f.certificate(node("XB"))))
		if out.serverErr != nil || out.clientErr != nil || out.server.CurveID != tls.X25519MLKEM768 {
			t.Errorf("server: %v, client: %v, key exchange %v", out.serverErr, out.clientErr, out.server.CurveID)
		}
	})
	t.Run("without it nobody may", func(t *testing.T) {
		connect(t, strict, bare(f.certificate(system), classic)).wantRefused(t, nil, "no key exchanges supported")
	})
}

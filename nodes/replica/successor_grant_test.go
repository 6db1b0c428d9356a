package replica

import (
	"testing"
	"time"

	"entente.example/entente/proto/member"
)

// TestANewcomerIsGrantedAStreamThatTakesBackWhatItNeverRead: after an unclean stop XA goes on in a successor, in which it
// takes back an entry of the stream before. That successor is then granted to XC, which knows nothing of its predecessor.
func TestANewcomerIsGrantedAStreamThatTakesBackWhatItNeverRead(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	site := w.open("XA", clean)
	site.push("early", 1, toAll())
	site.close()
	site = w.openFile("XA", site.path, unclean, time.Millisecond) // XB is not there to confirm
	site.push("later", 1, toAll())
	site.withdraw("early")
	eventually(t, "the successor takes back what the stream before brought", func() bool {
		infos := site.ledger.StreamsShared("XA", "XB")
		return len(infos) == 2 && infos[0].Closed && infos[1].Size == 3
	})
	seat, err := w.fed.Admit("XC")
	if err != nil {
		t.Fatal(err)
	}
	seat.Addresses = []string{at["XA"]}
	at = map[member.ID]string(listen(w))
	granted, err := site.ledger.Grant(t.Context(), site.ledger.StreamsShared("XA", "XB")[1].ID, "XC", false)
	if err != nil || granted.Sequence == 0 {
		t.Fatalf("grant: %v, %v", granted, err)
	}
	a, c := start(site, at["XA"]), start(w.open("XC", clean), at["XC"])
	eventually(t, "XC has what it was granted", func() bool {
		t.Log(c.status("XA").GetLastError())
		return same(a.site, c.site)
	}, c)
	if held, _ := c.payloads("XA"); held != 1 {
		t.Errorf("XC holds %d records", held)
	}
	a.close()
	c.close()
}

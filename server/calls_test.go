package server_test

import (
	"crypto/x509"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server"
)

// takenBack is a list of revoked certificates that grows while a node runs: all that name this system.
type takenBack struct{ name atomic.Value }

func (r *takenBack) Revoked(c *x509.Certificate) bool {
	name, _ := r.name.Load().(string)
	return name != "" && len(c.URIs) == 1 && c.URIs[0].String() == name
}
func (r *takenBack) Lists() []*ententev1.RevocationList { return nil }
func (r *takenBack) Count() int                         { return 0 }

func TestARevokedCertificateEndsItsOpenStreamsAndOpensNoCall(t *testing.T) {
	w := newWorld(t)
	revoked := &takenBack{}
	n := w.start("XA", func(c *server.Config) { c.Revocations = revoked })
	registry, customs := n.system("registry"), n.system("customs")
	subscription, err := ententev1.NewStreamServiceClient(registry).Subscribe(patient(t), everything())
	w.must(err)
	_, err = subscription.Recv()
	w.must(err)
	p, other := openPush(t, registry), openPush(t, customs)
	w.must(p.batch("before", 1))
	w.must(other.batch("other", 1))

	revoked.name.Store("spiffe://xa.entente/system/registry")
	n.DirectoryChanged()
	for err == nil { // what was pushed before may come first
		_, err = subscription.Recv()
	}
	wantCode(t, err, codes.Unauthenticated)
	wantCode(t, p.batch("after", 1), codes.Unauthenticated)
	wantCode(t, listOne(registry, patient(t)), codes.Unauthenticated)
	w.must(other.batch("other", 1))
	w.must(listOne(customs, patient(t)))
}

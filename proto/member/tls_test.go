package member_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// outcome is how a connection attempt over a real socket went on both sides.
type outcome struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

// connect makes one TLS connection on loopback. After the handshake the server sends a byte: under TLS 1.3 a client learns
// only by reading whether its certificate was accepted.
func connect(t *testing.T, server, client *tls.Config) outcome {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	var out outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		out.server, out.serverErr = serveOne(listener, server)
	}()
	out.client, out.clientErr = dialOne(listener.Addr().String(), client)
	<-done
	return out
}

func serveOne(listener net.Listener, config *tls.Config) (tls.ConnectionState, error) {
	raw, err := listener.Accept()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Server(raw, config)
	err = conn.Handshake()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = conn.Write([]byte{1})
	return conn.ConnectionState(), err
}

func dialOne(address string, config *tls.Config) (tls.ConnectionState, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = raw.Close() }()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, config)
	err = conn.Handshake()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState(), err
}

// wantRefused fails unless neither side has a working connection, and the named side says why.
func (o outcome) wantRefused(t *testing.T, by error, says string) {
	t.Helper()
	if o.serverErr == nil && o.clientErr == nil {
		t.Fatal("the connection stands, want a refusal")
	}
	both := errors.Join(o.serverErr, o.clientErr)
	if by != nil && !errors.Is(both, by) {
		t.Errorf("errors are %v, want %v", both, by)
	}
	if !strings.Contains(both.Error(), says) {
		t.Errorf("errors are %v, want them to say %q", both, says)
	}
}

// live is a federation at the present time, as certificates are checked against the system's clock.
func live(t *testing.T) *federation {
	t.Helper()
	return newFederation(t, time.Now())
}

// certificate is the source of a fresh certificate for an identity, issued by its own member's authority.
func (f *federation) certificate(ident member.Identity) member.CertificateSource {
	f.t.Helper()
	return f.certificateAt(ident, f.now, time.Hour)
}

func (f *federation) certificateAt(ident member.Identity, now time.Time, validFor time.Duration) member.CertificateSource {
	f.t.Helper()
	certPEM, keyPEM, err := f.parties[ident.Member].authority.Issue(ident, rand.Reader, now, validFor, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return must(member.FixedCertificate(certPEM, keyPEM))(f.t)
}

// forged is the source of a certificate that an authority of this package would not issue.
func forged(t *testing.T, signer *x509.Certificate, key crypto.Signer, edit func(*x509.Certificate), ids ...string) member.CertificateSource {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		// Go wants a name of some kind where no URI stands.
		DNSNames: []string{"node.example"},
	}
	for _, id := range ids {
		template.URIs = append(template.URIs, must(url.Parse(id))(t))
	}
	if edit != nil {
		edit(template)
	}
	leafKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must(x509.CreateCertificate(rand.Reader, template, signer, leafKey.Public(), key))(t)
	return func() (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leafKey}, nil
	}
}

func node(id member.ID) member.Identity { return member.Identity{Member: id, Kind: member.KindNode} }

func officer(id member.ID) member.Identity {
	return member.Identity{Member: id, Kind: member.KindOfficer, Name: "jane.doe"}
}

func always(r *member.Roster) func() *member.Roster { return func() *member.Roster { return r } }

// bare is a client that checks nothing, for attacks on the server: what it is refused, the server refuses.
func bare(cert member.CertificateSource, edits ...func(*tls.Config)) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert() }
	}
	for _, edit := range edits {
		edit(config)
	}
	return config
}

func TestWhoMayConnectToANode(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	server := member.ServerTLS(f.certificate(node("XA")), always(roster), "XA")
	for _, ident := range []member.Identity{
		node("XB"), node("COORD"), node("XA"), officer("XA"),
		{Member: "XA", Kind: member.KindSystem, Name: "intake"},
		{Member: "XA", Kind: member.KindAuditor, Name: "aud"},
		{Member: "XA", Kind: member.KindOperator, Name: "op"},
	} {
		t.Run("the "+ident.Kind.String()+" of "+string(ident.Member)+" may", func(t *testing.T) {
			client := member.OwnClientTLS(f.certificate(ident), f.parties["XA"].authority.Pool(), "XA")
			if ident.Kind == member.KindNode {
				client = member.NodeClientTLS(f.certificate(ident), always(roster), "XA")
			}
			out := connect(t, server, client)
			if out.serverErr != nil || out.clientErr != nil {
				t.Fatalf("server: %v, client: %v", out.serverErr, out.clientErr)
			}
			got, err := member.PeerIdentity(out.server)
			if err != nil || got != ident {
				t.Errorf("the server takes it for %+v, error %v", got, err)
			}
			if out.server.Version != tls.VersionTLS13 || out.server.CurveID != tls.X25519MLKEM768 || out.server.DidResume {
				t.Errorf("version %x, key exchange %s, resumed %t", out.server.Version, out.server.CurveID, out.server.DidResume)
			}
			if out.client.NegotiatedProtocol != "h2" {
				t.Errorf("protocol is %q", out.client.NegotiatedProtocol)
			}
		})
	}
}

func TestTheNodeOfAMemberThatDepartedMayStillConnectWhileItsEntryStands(t *testing.T) {
	f := live(t)
	f.depart("XC")
	r := f.verified(f.roster())
	server := member.ServerTLS(f.certificate(node("XA")), always(r), "XA")
	out := connect(t, server, bare(f.certificate(node("XC"))))
	if out.serverErr != nil || out.clientErr != nil {
		t.Errorf("its node: server: %v, client: %v", out.serverErr, out.clientErr)
	}
	out = connect(t, server, bare(f.certificate(officer("XC"))))
	out.wantRefused(t, member.ErrWrongPeer, "only nodes call nodes")
	left, _ := r.Member("XC")
	if !left.Left || !left.Departed || r.Active("XC") {
		t.Errorf("the roster says %+v", left)
	}
	without := f.verified(f.roster(func(body *ententev1.Roster) {
		body.Entries = slices.DeleteFunc(body.Entries, func(doc *ententev1.SignedDocument) bool {
			entry := &ententev1.RosterEntry{}
			decode(t, doc, entry)
			return entry.GetMember() == "XC"
		})
	}))
	out = connect(t, member.ServerTLS(f.certificate(node("XA")), always(without), "XA"), bare(f.certificate(node("XC"))))
	out.wantRefused(t, nil, "unknown authority")
}

func TestWhoMayNotConnectToANode(t *testing.T) {
	f := live(t)
	f.suspend("XB")
	f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL, "XC", nil, "XA", "COORD", "XC")
	r := f.verified(f.roster())
	xa, coord := f.parties["XA"].authority, f.parties["COORD"].authority
	for name, c := range map[string]struct {
		client *tls.Config
		is     error
		says   string
	}{
		"a client without a certificate": {bare(nil), nil, "didn't provide a certificate"},
		"an officer of another member":   {bare(f.certificate(officer("COORD"))), member.ErrWrongPeer, "only nodes call nodes, not the kind officer of COORD"},
		"a system of another member": {bare(f.certificate(member.Identity{Member: "COORD", Kind: member.KindSystem, Name: "s"})),
			member.ErrWrongPeer, "not the kind system of COORD"},
		"an operator of another member": {bare(f.certificate(member.Identity{Member: "COORD", Kind: member.KindOperator, Name: "o"})),
			member.ErrWrongPeer, "not the kind operator of COORD"},
		"a node of no member":                   {bare(f.certificate(node("XD"))), nil, "unknown authority"},
		"the node of a suspended member":        {bare(f.certificate(node("XB"))), nil, "unknown authority"},
		"the node of a member that was removed": {bare(f.certificate(node("XC"))), nil, "unknown authority"},
		"an expired certificate":                {bare(f.certificateAt(node("COORD"), f.now.Add(-2*time.Hour), time.Hour)), nil, "expired"},
		"a certificate that is not valid yet":   {bare(f.certificateAt(node("COORD"), f.now.Add(time.Hour), time.Hour)), nil, "not yet valid"},
		"a member's authority speaking for another": {bare(forged(t, coord.Certificate(), coord.PrivateKey(), nil, "spiffe://xa.entente/node")),
			member.ErrWrongPeer, "names XA but was not issued by an authority of XA"},
		"a member's authority speaking for this node's officer": {
			bare(forged(t, coord.Certificate(), coord.PrivateKey(), nil, "spiffe://xa.entente/officer/jane.doe")),
			member.ErrWrongPeer, "names XA but was not issued by an authority of XA"},
		"a member's authority speaking for a suspended one": {bare(forged(t, coord.Certificate(), coord.PrivateKey(), nil, "spiffe://xb.entente/node")),
			member.ErrWrongPeer, "XB is suspended"},
		"a certificate with two identities": {bare(forged(t, xa.Certificate(), xa.PrivateKey(), nil, "spiffe://xa.entente/node", "spiffe://xb.entente/node")),
			member.ErrWrongPeer, "2 URI names"},
		"a certificate without identity": {bare(forged(t, xa.Certificate(), xa.PrivateKey(), nil)), member.ErrWrongPeer, "0 URI names"},
		"an identity of another federation": {bare(forged(t, xa.Certificate(), xa.PrivateKey(), nil, "spiffe://xa.example/node")),
			member.ErrWrongPeer, "trust domain"},
		"a certificate that may sign others": {bare(forged(t, xa.Certificate(), xa.PrivateKey(), func(c *x509.Certificate) {
			c.KeyUsage |= x509.KeyUsageCertSign
		}, "spiffe://xa.entente/node")), member.ErrWrongPeer, "that of an authority"},
		"a certificate not for signatures": {bare(forged(t, xa.Certificate(), xa.PrivateKey(), func(c *x509.Certificate) {
			c.KeyUsage = x509.KeyUsageKeyAgreement
		}, "spiffe://xa.entente/node")), nil, ""},
		"a certificate for servers only": {bare(forged(t, xa.Certificate(), xa.PrivateKey(), func(c *x509.Certificate) {
			c.ExtKeyUsage = c.ExtKeyUsage[:1]
		}, "spiffe://xa.entente/node")), nil, "incompatible key usage"},
		"a client of TLS 1.2": {bare(f.certificate(node("COORD")), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), nil, "version"},
		"a client without post-quantum key exchange": {bare(f.certificate(node("COORD")), func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
		}), nil, "no key exchanges supported"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			out := connect(t, member.ServerTLS(f.certificate(node("XA")), always(r), "XA"), c.client)
			out.wantRefused(t, c.is, c.says)
			if strings.Contains(errors.Join(out.serverErr, out.clientErr).Error(), "jane") {
				t.Error("the error repeats the name of an officer")
			}
		})
	}
	t.Run("everybody is refused while there is no roster", func(t *testing.T) {
		out := connect(t, member.ServerTLS(f.certificate(node("XA")), always(nil), "XA"), bare(f.certificate(node("COORD"))))
		out.wantRefused(t, member.ErrNoRoster, "")
	})
	t.Run("the control is accepted", func(t *testing.T) {
		out := connect(t, member.ServerTLS(f.certificate(node("XA")), always(r), "XA"), bare(f.certificate(node("COORD"))))
		if out.serverErr != nil || out.clientErr != nil {
			t.Fatalf("server: %v, client: %v", out.serverErr, out.clientErr)
		}
	})
}

func TestASuspendedMembersOwnPeopleStillReachTheirNode(t *testing.T) {
	f := live(t)
	f.suspend("XB")
	roster := f.verified(f.roster())
	server := member.ServerTLS(f.certificate(node("XB")), always(roster), "XB")
	operator := member.Identity{Member: "XB", Kind: member.KindOperator, Name: "op"}
	out := connect(t, server, member.OwnClientTLS(f.certificate(operator), f.parties["XB"].authority.Pool(), "XB"))
	if out.serverErr != nil || out.clientErr != nil {
		t.Errorf("its operator: server %v, client %v", out.serverErr, out.clientErr)
	}
	out = connect(t, server, bare(f.certificate(node("XA"))))
	if out.serverErr != nil || out.clientErr != nil {
		t.Errorf("a member in good standing: server %v, client %v", out.serverErr, out.clientErr)
	}
}

func TestWhichServersAClientRefuses(t *testing.T) {
	f := live(t)
	f.suspend("XB")
	roster := f.verified(f.roster())
	coord := f.parties["COORD"].authority
	for name, c := range map[string]struct {
		server member.CertificateSource
		want   member.ID
		says   string
	}{
		"the node of another member":            {f.certificate(node("COORD")), "XA", "unknown authority"},
		"an officer in the place of the node":   {f.certificate(officer("XA")), "XA", "of kind officer of XA, not the node of XA"},
		"another authority speaking for it":     {forged(t, coord.Certificate(), coord.PrivateKey(), nil, "spiffe://xa.entente/node"), "XA", "unknown authority"},
		"its authority speaking for another":    {forged(t, coord.Certificate(), coord.PrivateKey(), nil, "spiffe://xa.entente/node"), "COORD", "of kind node of XA, not the node of COORD"},
		"an expired certificate":                {f.certificateAt(node("XA"), f.now.Add(-2*time.Hour), time.Hour), "XA", "expired"},
		"the node of a suspended member":        {f.certificate(node("XB")), "XB", "XB is suspended"},
		"the node of a stranger":                {f.certificate(node("XD")), "XD", "XD is suspended or not a member"},
		"a certificate without an identity":     {forged(t, coord.Certificate(), coord.PrivateKey(), nil), "COORD", "0 URI names"},
		"a certificate that is for client only": {forged(t, coord.Certificate(), coord.PrivateKey(), func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, "spiffe://coord.entente/node"), "COORD", "incompatible key usage"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			server := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.server() }, NextProtos: []string{"h2"}}
			client := member.NodeClientTLS(f.certificate(node("XC")), always(roster), c.want)
			connect(t, server, client).wantRefused(t, member.ErrWrongPeer, c.says)
		})
	}
	plain := func(edit func(*tls.Config)) *tls.Config {
		source := f.certificate(node("XA"))
		config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return source() }, NextProtos: []string{"h2"}}
		edit(config)
		return config
	}
	client := member.NodeClientTLS(f.certificate(node("XC")), always(roster), "XA")
	t.Run("a server of TLS 1.2 is refused", func(t *testing.T) {
		connect(t, plain(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), client).wantRefused(t, nil, "version")
	})
	t.Run("a server without post-quantum key exchange is refused", func(t *testing.T) {
		connect(t, plain(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }), client).wantRefused(t, nil, "")
	})
	t.Run("no server is called without a roster", func(t *testing.T) {
		none := member.NodeClientTLS(f.certificate(node("XC")), always(nil), "XA")
		connect(t, plain(func(*tls.Config) {}), none).wantRefused(t, member.ErrNoRoster, "")
	})
	t.Run("an own client refuses a foreign node", func(t *testing.T) {
		own := member.OwnClientTLS(f.certificate(officer("COORD")), coord.Pool(), "COORD")
		connect(t, plain(func(*tls.Config) {}), own).wantRefused(t, member.ErrWrongPeer, "unknown authority")
	})
	t.Run("the control is accepted", func(t *testing.T) {
		out := connect(t, plain(func(*tls.Config) {}), client)
		if out.serverErr != nil || out.clientErr != nil {
			t.Fatalf("server: %v, client: %v", out.serverErr, out.clientErr)
		}
	})
}

func TestARosterCountsFromTheNextHandshakeOn(t *testing.T) {
	f := live(t)
	var roster atomic.Pointer[member.Roster]
	roster.Store(f.verified(f.roster()))
	server := member.ServerTLS(f.certificate(node("XA")), roster.Load, "XA")
	joiner := bare(f.certificate(node("XD")))
	connect(t, server, joiner).wantRefused(t, nil, "unknown authority")

	f.admit("XD")
	entry := with(t, f.entry("XD", 1))
	roster.Store(f.verified(f.roster(entry)))
	out := connect(t, server, joiner)
	if out.serverErr != nil || out.clientErr != nil {
		t.Fatalf("after its admission: server %v, client %v", out.serverErr, out.clientErr)
	}

	f.suspend("XD")
	roster.Store(f.verified(f.roster(entry)))
	connect(t, server, joiner).wantRefused(t, nil, "unknown authority")
}

func TestARosterCountsFromTheNextCallOfAClientOn(t *testing.T) {
	f := live(t)
	var roster atomic.Pointer[member.Roster]
	first := f.verified(f.roster())
	roster.Store(first)
	client := member.NodeClientTLS(f.certificate(node("XC")), roster.Load, "XA")
	server := member.ServerTLS(f.certificate(node("XA")), always(first), "XA")
	if out := connect(t, server, client); out.serverErr != nil || out.clientErr != nil {
		t.Fatalf("server %v, client %v", out.serverErr, out.clientErr)
	}
	f.change(suspension, "XA", nil, "XB", "XC", "COORD")
	roster.Store(f.verified(f.roster()))
	connect(t, server, client).wantRefused(t, member.ErrWrongPeer, "XA is suspended")
}

func TestARenewedCertificateIsShownAtTheNextHandshake(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	var cert atomic.Pointer[tls.Certificate]
	renew := func() *tls.Certificate { return must(f.certificate(node("XA"))())(t) }
	cert.Store(renew())
	source := func() (*tls.Certificate, error) { return cert.Load(), nil }
	server := member.ServerTLS(source, always(roster), "XA")
	client := member.NodeClientTLS(f.certificate(node("XB")), always(roster), "XA")
	before := connect(t, server, client)
	cert.Store(renew())
	after := connect(t, server, client)
	if before.clientErr != nil || after.clientErr != nil {
		t.Fatalf("before: %v, after: %v", before.clientErr, after.clientErr)
	}
	if before.client.PeerCertificates[0].Equal(after.client.PeerCertificates[0]) {
		t.Error("the old certificate is still shown")
	}
}

// TestNoSessionIsResumed matters because a resumed session would not look at the roster again (golang/go#77217).
func TestNoSessionIsResumed(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	server := member.ServerTLS(f.certificate(node("XA")), always(roster), "XA")
	cache := tls.NewLRUClientSessionCache(4)
	client := bare(f.certificate(node("XB")), func(c *tls.Config) { c.ClientSessionCache, c.ServerName = cache, "xa" })
	for range 2 {
		out := connect(t, server, client)
		if out.serverErr != nil || out.clientErr != nil || out.client.DidResume {
			t.Fatalf("server %v, client %v, resumed %t", out.serverErr, out.clientErr, out.client.DidResume)
		}
	}
	if _, found := cache.Get("xa"); found {
		t.Error("the server gave out a session ticket")
	}
}

func TestPeerIdentityTrustsNoCertificateMerelyShown(t *testing.T) {
	f := live(t)
	shown := must(f.certificate(node("XA"))())(t)
	leaf := must(x509.ParseCertificate(shown.Certificate[0]))(t)
	_, err := member.PeerIdentity(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
	wantError(t, err, member.ErrWrongPeer, "no verified certificate")
	_, err = member.PeerIdentity(tls.ConnectionState{})
	wantError(t, err, member.ErrWrongPeer)
}

func TestASourceThatFailsFailsTheHandshake(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	broken := errors.New("no certificate today")
	source := func() (*tls.Certificate, error) { return nil, broken }
	connect(t, member.ServerTLS(source, always(roster), "XA"), bare(f.certificate(node("XB")))).wantRefused(t, broken, "")
	server := member.ServerTLS(f.certificate(node("XA")), always(roster), "XA")
	connect(t, server, member.NodeClientTLS(source, always(roster), "XA")).wantRefused(t, broken, "")
}

// TestTheSettingsWorkUnderGRPC makes sure of what gRPC adds on top: the protocol agreed by ALPN, the server name, and the
// identity that a handler reads.
func TestTheSettingsWorkUnderGRPC(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	var caller atomic.Pointer[member.Identity]
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(member.ServerTLS(f.certificate(node("XA")), always(roster), "XA"))),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			p, _ := peer.FromContext(ctx)
			identity, err := member.PeerIdentity(p.AuthInfo.(credentials.TLSInfo).State)
			if err != nil {
				return nil, err
			}
			caller.Store(&identity)
			return next(ctx, request)
		}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	call := func(config *tls.Config) error {
		conn := must(grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(config))))(t)
		defer func() { _ = conn.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	}
	err := call(member.NodeClientTLS(f.certificate(node("XB")), always(roster), "XA"))
	if err != nil || *caller.Load() != node("XB") {
		t.Errorf("a node's call: %v, caller %v", err, caller.Load())
	}
	err = call(member.OwnClientTLS(f.certificate(officer("XB")), f.parties["XA"].authority.Pool(), "XA"))
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a foreign officer's call: %v", err)
	}
	server.Stop()
	<-served
}

// TestARenewedAuthorityStandsBesideTheOld covers a rotation: certificates of both are good while both are in the entry.
func TestARenewedAuthorityStandsBesideTheOld(t *testing.T) {
	f := live(t)
	old := f.certificate(node("XB"))
	before := f.parties["XB"].authority.Certificate().Raw
	f.parties["XB"].authority = must(member.NewAuthority("XB", rand.Reader, f.now, time.Hour))(t)
	roster := f.verified(f.roster(with(t, f.entry("XB", 2, func(e *ententev1.RosterEntry) {
		e.CaCertificates = append(e.CaCertificates, before)
	}))))
	server := member.ServerTLS(f.certificate(node("XA")), always(roster), "XA")
	for name, source := range map[string]member.CertificateSource{"old": old, "new": f.certificate(node("XB"))} {
		if out := connect(t, server, bare(source)); out.serverErr != nil || out.clientErr != nil {
			t.Errorf("a certificate of the %s authority: server %v, client %v", name, out.serverErr, out.clientErr)
		}
	}
}

func TestEverySideHasTheSameFloor(t *testing.T) {
	for name, config := range map[string]*tls.Config{
		"server":     member.ServerTLS(nil, nil, "XA"),
		"node":       member.NodeClientTLS(nil, nil, "XA"),
		"own client": member.OwnClientTLS(nil, nil, "XA"),
	} {
		if config.MinVersion != tls.VersionTLS13 || !config.SessionTicketsDisabled || len(config.CurvePreferences) != 2 {
			t.Errorf("%s: version %x, tickets disabled %t, key exchanges %v", name, config.MinVersion, config.SessionTicketsDisabled, config.CurvePreferences)
		}
	}
}

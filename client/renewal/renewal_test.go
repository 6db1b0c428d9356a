package renewal_test

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/client/renewal"
)

// node answers calls as a node that accepts one certificate.
type node struct {
	mu       sync.Mutex
	accepts  string // the certificate of now
	shows    string // what is in the caller's file
	dialled  int
	closed   int
	code     codes.Code // of the refusal
	noSource bool
}

func (n *node) source() (*tls.Certificate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.noSource {
		return nil, errors.New("no file")
	}
	return &tls.Certificate{Certificate: [][]byte{[]byte(n.shows)}}, nil
}

func (n *node) dial() (renewal.Dialed, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled++
	return &connection{node: n, shown: n.shows}, nil
}

func (n *node) set(accepts, shows string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.accepts, n.shows = accepts, shows
}

func (n *node) counts() (dialled, closed int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialled, n.closed
}

// connection is one connection to it.
type connection struct {
	node  *node
	shown string
}

func (c *connection) decide() error {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	if c.shown != c.node.accepts {
		return status.Error(c.node.code, "refused")
	}
	return nil
}

// Invoke refuses or does nothing.
func (c *connection) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return c.decide()
}

// NewStream opens a stream that is refused at its next message.
func (c *connection) NewStream(_ context.Context, _ *grpc.StreamDesc, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &stream{connection: c}
	for _, o := range opts {
		finish, ok := o.(grpc.OnFinishCallOption)
		if ok {
			s.finish = finish.OnFinish
		}
	}
	return s, nil
}

// Close counts.
func (c *connection) Close() error {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	c.node.closed++
	return nil
}

type stream struct {
	grpc.ClientStream
	*connection
	finish func(error)
}

// RecvMsg gets nothing, or the refusal.
func (s *stream) RecvMsg(any) error {
	err := s.decide()
	if err != nil {
		s.finish(err)
	}
	return err
}

func TestACallRefusedOnAnOldCertificateIsMadeAgainWithTheNewOne(t *testing.T) {
	for name, tt := range map[string]struct {
		code     codes.Code
		shows    string // in the file when the node accepts only "new"
		noSource bool
		want     codes.Code
		dialled  int
	}{
		"the certificate is refused and another is there":        {codes.Unauthenticated, "new", false, codes.OK, 2},
		"its authority is refused and another is there":          {codes.PermissionDenied, "new", false, codes.OK, 2},
		"another is there that is refused too":                   {codes.Unauthenticated, "wrong", false, codes.Unauthenticated, 2},
		"no other is there":                                      {codes.Unauthenticated, "old", false, codes.Unauthenticated, 1},
		"the file cannot be read":                                {codes.Unauthenticated, "new", true, codes.Unauthenticated, 1},
		"a failure that no certificate mends, and another there": {codes.Unavailable, "new", false, codes.Unavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := &node{accepts: "old", shows: "old", code: tt.code}
			conn, err := renewal.New(n.source, n.dial)
			if err != nil {
				t.Fatal(err)
			}
			err = conn.Invoke(t.Context(), "/m", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			n.set("new", tt.shows)
			n.noSource = tt.noSource
			err = conn.Invoke(t.Context(), "/m", nil, nil)
			dialled, _ := n.counts()
			if status.Code(err) != tt.want || dialled != tt.dialled {
				t.Errorf("got %v by %d connections, want %v by %d", err, dialled, tt.want, tt.dialled)
			}
		})
	}
}

func TestALongCallRefusedOnAnOldCertificateSaysCallAgain(t *testing.T) {
	n := &node{accepts: "old", shows: "old", code: codes.PermissionDenied}
	conn, err := renewal.New(n.source, n.dial)
	if err != nil {
		t.Fatal(err)
	}
	first, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/m")
	if err != nil {
		t.Fatal(err)
	}
	second, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/m")
	if err != nil {
		t.Fatal(err)
	}
	n.set("new", "new")
	err = first.RecvMsg(nil)
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want to be told to call again", err)
	}
	third, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, "/m")
	if err != nil {
		t.Fatal(err)
	}
	err = third.RecvMsg(nil)
	if err != nil {
		t.Errorf("by the new connection: %v", err)
	}
	_, closed := n.counts()
	if closed != 0 {
		t.Error("the connection before was closed under a call")
	}
	err = second.RecvMsg(nil)
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the other one got %v, want to be told to call again", err)
	}
	err = conn.Invoke(t.Context(), "/m", nil, nil)
	dialled, closed := n.counts()
	if err != nil || dialled != 2 || closed != 1 {
		t.Errorf("%v: %d connections were made and %d closed, want 2 and 1", err, dialled, closed)
	}
	err = conn.Close()
	if err != nil {
		t.Error(err)
	}
	err = conn.Invoke(t.Context(), "/m", nil, nil)
	if status.Code(err) != codes.Canceled {
		t.Errorf("after Close: %v", err)
	}
}

func TestAConnectionThatCannotBeMadeIsAnError(t *testing.T) {
	n := &node{}
	_, err := renewal.New(n.source, func() (renewal.Dialed, error) { return nil, errors.New("no route") })
	if err == nil {
		t.Error("it was made")
	}
}

// Package renewal is a connection that survives the renewal of the certificate it was made with.
//
// # What it is for
//
// A certificate, or the authority behind it, is replaced while a program runs. New connections show the new certificate;
// one that is open goes on with the old one, until the node refuses what is called on it: the old authority stands in the
// roster no more, or the old certificate was revoked. A Conn then looks whether there is another certificate by now. If so,
// it makes a new connection and calls again, so nobody notices; a refusal happens before a call does anything.
//
//	conn, err := renewal.New(source, func() (renewal.Dialed, error) { return grpc.NewClient(...) })
//	client := ententev1.NewIntakeServiceClient(conn)
//
// # The invariant
//
// A call is made again once at most, only after a refusal, and only where the certificate has changed since. Calls under way
// on the connection before end by themselves; it is closed after the last of them, with the next call.
//
// # What it does not do
//
// It retries nothing else. A long call that has begun cannot be begun again here: it ends with UNAVAILABLE in place of the
// refusal, which says to its caller what is true: call again.
package renewal

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errRenewed ends a long call that was refused by the certificate of before.
var errRenewed = status.Error(codes.Unavailable, "the certificate of this connection counts no more, and there is a new one: call again")

// errClosed is for calls after Close.
var errClosed = status.Error(codes.Canceled, "the connection is closed")

// Dialed is what is dialled: a *grpc.ClientConn.
type Dialed interface {
	grpc.ClientConnInterface
	io.Closer
}

// Conn is the connection. It is safe for concurrent use.
type Conn struct {
	source func() (*tls.Certificate, error)
	dial   func() (Dialed, error)

	mu      sync.Mutex // covers all below
	current *made
	retired []*made // given up: each closes after its last call
	closed  bool
}

// made is one connection, with the certificate that there was when it was made.
type made struct {
	conn Dialed
	leaf []byte // DER

	mu    sync.Mutex // covers calls
	calls int        // under way
}

// New dials. source gives the certificate of now, as dial's own settings ask for it.
func New(source func() (*tls.Certificate, error), dial func() (Dialed, error)) (*Conn, error) {
	c := &Conn{source: source, dial: dial}
	first, err := c.make()
	if err != nil {
		return nil, err
	}
	c.current = first
	return c, nil
}

func (c *Conn) make() (*made, error) {
	leaf, err := c.leaf()
	if err != nil {
		leaf = nil // the handshake tells; what comes later is another one
	}
	conn, err := c.dial()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &made{conn: conn, leaf: leaf}, nil
}

func (c *Conn) leaf() ([]byte, error) {
	certificate, err := c.source()
	if err != nil {
		return nil, err
	}
	if len(certificate.Certificate) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return certificate.Certificate[0], nil
}

// Invoke makes a unary call.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	used, err := c.invoke(ctx, method, args, reply, opts)
	if !c.renew(used, err) {
		return err
	}
	_, err = c.invoke(ctx, method, args, reply, opts)
	return err
}

func (c *Conn) invoke(ctx context.Context, method string, args, reply any, opts []grpc.CallOption) (*made, error) {
	used, err := c.begin()
	if err != nil {
		return nil, err
	}
	defer used.end()
	return used, used.conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream begins a long call.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	used, err := c.begin()
	if err != nil {
		return nil, err
	}
	end := sync.OnceFunc(used.end)
	opts = append(opts[:len(opts):len(opts)], grpc.OnFinish(func(error) { end() }))
	stream, err := used.conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		end()
		return nil, c.told(used, err)
	}
	return &long{ClientStream: stream, conn: c, used: used}, nil
}

// long is a long call.
type long struct {
	grpc.ClientStream
	conn *Conn
	used *made
}

// RecvMsg receives a message, or why there is none.
func (l *long) RecvMsg(m any) error {
	err := l.ClientStream.RecvMsg(m)
	if err == nil {
		return nil
	}
	return l.conn.told(l.used, err)
}

// told is the error of a long call as its caller gets it.
func (c *Conn) told(used *made, err error) error {
	if c.renew(used, err) {
		return errRenewed
	}
	return err
}

// renew makes sure, after a refusal, that the next call is made with the certificate of now. It says whether that is another
// one than the refused call's.
func (c *Conn) renew(used *made, err error) bool {
	code := status.Code(err)
	if used == nil || code != codes.Unauthenticated && code != codes.PermissionDenied {
		return false
	}
	now, err := c.leaf()
	if err != nil || bytes.Equal(now, used.leaf) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.current != used {
		return true // another call has seen to it
	}
	next, err := c.make()
	if err != nil {
		return false
	}
	c.current, c.retired = next, append(c.retired, used)
	return true
}

// begin notes a call on the connection of now, and closes those before on which none is under way any more.
func (c *Conn) begin() (*made, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	c.retired = slices.DeleteFunc(c.retired, (*made).closeIfIdle)
	c.current.mu.Lock()
	defer c.current.mu.Unlock()
	c.current.calls++
	return c.current, nil
}

func (m *made) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls--
}

func (m *made) closeIfIdle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls > 0 {
		return false
	}
	m.conn.Close() // nothing is under way on it
	return true
}

// Current is the connection of now, for what only the caller's own kind of connection can do.
func (c *Conn) Current() Dialed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.conn
}

// Close ends the connection and all calls on it.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, old := range c.retired {
		old.conn.Close() // it was given up already
	}
	return c.current.conn.Close()
}

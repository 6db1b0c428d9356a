package national

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"entente.example/entente/client/renewal"
	"entente.example/entente/nodes/replica"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// dialer opens a connection to the node of a member at one address; it connects with the first call.
type dialer func(id member.ID, address string) (replica.Conn, error)

// forwarder is the connection to the coordinator. It follows the roster: another coordinator or other addresses, another
// connection; and it goes on to the next address when one does not answer.
type forwarder struct {
	prefer member.ID // empty: the first coordinator of the roster
	roster func() *member.Roster
	dial   dialer
	source member.CertificateSource // of the node, as dial shows it

	mu     sync.Mutex // covers all below
	conn   *renewal.Conn
	to     target
	next   int // index of the address to try next
	closed bool
}

// target is a node at an address.
type target struct {
	member  member.ID
	address string
}

// Network gives a client of the coordinator's view.
func (f *forwarder) Network(context.Context) (ententev1.NetworkServiceClient, error) {
	id, addresses, err := f.find()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("the node is stopping")
	}
	if f.conn != nil && f.usable(id, addresses) {
		return ententev1.NewNetworkServiceClient(reads{f.conn}), nil
	}
	f.drop()
	to := target{member: id, address: addresses[f.next%len(addresses)]}
	f.next++
	conn, err := renewal.New(f.source, func() (renewal.Dialed, error) { return f.dial(to.member, to.address) })
	if err != nil {
		return nil, fmt.Errorf("reach the coordinator: %w", err)
	}
	f.conn, f.to = conn, to
	return ententev1.NewNetworkServiceClient(reads{conn}), nil
}

// reads is a connection for calls that change nothing: one whose connection broke under it is made again, once, by a new
// connection. So a coordinator may renew its certificates, or be started anew, while officers ask.
type reads struct{ *renewal.Conn }

// Invoke makes a unary call.
func (r reads) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := r.Conn.Invoke(ctx, method, args, reply, opts...)
	if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
		return err
	}
	return r.Conn.Invoke(ctx, method, args, reply, opts...)
}

// usable says whether the connection goes where it should, and has not failed with another address left to try.
func (f *forwarder) usable(id member.ID, addresses []string) bool {
	known := false
	for _, address := range addresses {
		known = known || f.to == target{member: id, address: address}
	}
	conn, ok := f.conn.Current().(*grpc.ClientConn)
	failed := ok && conn.GetState() == connectivity.TransientFailure
	return known && !(failed && len(addresses) > 1)
}

// find names the coordinator and its addresses by the roster of now.
func (f *forwarder) find() (member.ID, []string, error) {
	roster := f.roster()
	if roster == nil {
		return "", nil, member.ErrNoRoster
	}
	id := f.prefer
	if id == "" {
		list := coordinators(roster)
		if len(list) == 0 {
			return "", nil, errors.New("there is no coordinator in the roster")
		}
		id = list[0]
	}
	entry, ok := roster.Member(id)
	if !ok || !roster.Active(id) || len(entry.Addresses) == 0 {
		return "", nil, fmt.Errorf("%s has no node in the roster", id)
	}
	return id, entry.Addresses, nil
}

// coordinators are those in good standing, sorted.
func coordinators(roster *member.Roster) []member.ID {
	var list []member.ID
	for _, id := range roster.Members() {
		entry, _ := roster.Member(id)
		if entry.Kind == ententev1.MemberKind_MEMBER_KIND_COORDINATOR {
			list = append(list, id)
		}
	}
	return list
}

func (f *forwarder) drop() {
	if f.conn != nil {
		f.conn.Close() // calls on it end; nothing to learn from a failure
		f.conn = nil
	}
}

// close ends the connection for good.
func (f *forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.drop()
}

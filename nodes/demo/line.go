package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// line is the way by which other members reach a node. It can be cut, and mended; the node and its own people notice
// nothing of that.
type line struct {
	public, node string // addresses

	mu       sync.Mutex // covers the rest
	listener net.Listener
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

// lay opens a line at a free address, to the address of a node.
func lay(ctx context.Context, node string) (*line, error) {
	l := &line{node: node, open: make(map[net.Conn]bool)}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay a line: %w", err)
	}
	l.public = listener.Addr().String()
	l.carry(listener)
	return l, nil
}

// carry takes calls until the line is cut.
func (l *line) carry(listener net.Listener) {
	l.mu.Lock()
	l.listener = listener
	l.mu.Unlock()
	l.running.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // cut
			}
			l.running.Go(func() { l.join(from) })
		}
	})
}

// join carries one connection, both ways, until either end closes it or the line is cut.
func (l *line) join(from net.Conn) {
	to, err := net.Dial("tcp", l.node)
	if err != nil {
		from.Close() // the node is not there: the caller hears so
		return
	}
	l.mu.Lock()
	cut := l.listener == nil
	l.open[from], l.open[to] = true, true
	l.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			if !cut {
				io.Copy(way[0], way[1]) // however it ends, it has ended
			}
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, from)
	delete(l.open, to)
}

// cut ends all connections and takes no more. Cutting twice is no error.
func (l *line) cut() error {
	l.mu.Lock()
	listener := l.listener
	l.listener = nil
	for conn := range l.open {
		conn.Close() // the copy ends by it
	}
	l.mu.Unlock()
	if listener == nil {
		return nil
	}
	err := listener.Close()
	l.running.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("cut a line: %w", err)
	}
	return nil
}

// mend opens a line that was cut, at the same address.
func (l *line) mend(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.public)
	if err != nil {
		return fmt.Errorf("mend a line: %w", err)
	}
	l.carry(listener)
	return nil
}
